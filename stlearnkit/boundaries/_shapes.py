"""Size and form of every nucleus of a label image, in one pass over its pixels."""

__all__ = ["describe"]

import numpy as np
import pandas as pd
from jaxtyping import Float, Int32
from scipy.spatial import cKDTree

_BAND_PX = 512  # rows worked on at a time


def describe(
    labels: Int32[np.ndarray, "height width"], mpp: float, downsample: float
) -> pd.DataFrame:
    """Return the table that `BoundaryMaps.shapes` explains."""
    number, (n_pixels, x, y, xx, yy, xy) = _moments(labels)
    centre_x, centre_y = x / n_pixels, y / n_pixels
    spread_x = xx / n_pixels - centre_x**2
    spread_y = yy / n_pixels - centre_y**2
    across = xy / n_pixels - centre_x * centre_y
    # Eigenvalues of the covariance: squared half axes of the ellipse, up to a factor.
    middle = (spread_x + spread_y) / 2
    apart = np.hypot((spread_x - spread_y) / 2, across)
    longest = np.maximum(middle + apart, 1e-12)  # 0 for a single pixel
    return pd.DataFrame(
        {
            "x_px": (centre_x + 0.5) * downsample,
            "y_px": (centre_y + 0.5) * downsample,
            "area_um2": n_pixels * mpp**2,
            "eccentricity": np.sqrt(np.minimum(2 * apart / longest, 1)),
            "nearest_um": _nearest(np.column_stack([centre_x, centre_y])) * mpp,
        },
        index=pd.Index(number, name="nucleus"),
    )


def _moments(
    labels: Int32[np.ndarray, "height width"],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels, and sums of 1, x, y, x², y² and xy over each one's pixels."""
    numbers = _numbers(labels)
    has_gaps = len(numbers) < labels.max(initial=0)
    sums = np.zeros((6, len(numbers)))
    for top in range(0, len(labels), _BAND_PX):
        row, column = np.nonzero(labels[top : top + _BAND_PX] > 0)
        number = labels[top + row, column]
        which = np.searchsorted(numbers, number) if has_gaps else number - 1
        x, y = column.astype(float), (top + row).astype(float)
        for order, weight in enumerate((None, x, y, x * x, y * y, x * y)):
            sums[order] += np.bincount(which, weight, minlength=len(numbers))
    return numbers, sums


def _numbers(
    labels: Int32[np.ndarray, "height width"],
) -> Int32[np.ndarray, " values"]:
    """Return the labels that occur, in order; they may be large, and have gaps."""
    starts = [np.zeros(0, np.int32)]
    for top in range(0, len(labels), _BAND_PX):
        band = labels[top : top + _BAND_PX].ravel()
        is_start = np.diff(band, prepend=0) != 0  # of a run of one number
        starts.append(np.unique(band[is_start]))
    numbers = np.unique(np.concatenate(starts))
    return numbers[numbers > 0]


def _nearest(centres: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, " points"]:
    """Return the distance of each point to the nearest other one."""
    if len(centres) < 2:
        return np.full(len(centres), np.nan)
    return cKDTree(centres).query(centres, k=[2])[0][:, 0]
