"""Sums of cubic B-splines on a grid of whole numbers."""

__all__ = ["spline", "spline_slopes"]

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates


def spline(
    coefficients: Float[np.ndarray, "height width 2"],
    places: Float[np.ndarray, "points 2"],
) -> Float[np.ndarray, "points 2"]:
    """Return the sum at `places` (column, row); nodes beyond the grid are 0."""
    components = [
        map_coordinates(
            component, places.T[::-1], order=3, prefilter=False, mode="grid-constant"
        )
        for component in np.moveaxis(coefficients, 2, 0)
    ]
    return np.column_stack(components)


def spline_slopes(
    coefficients: Float[np.ndarray, "height width 2"],
    places: Float[np.ndarray, "points 2"],
) -> Float[np.ndarray, "points 2 2"]:
    """Return the derivatives of both components (rows) along column and row."""
    height, width = coefficients.shape[:2]
    padded = np.pad(coefficients, ((3, 3), (3, 3), (0, 0)))
    # Beyond two steps from the grid all is 0, as it is at two steps.
    x, y = np.clip(places, -2.0, np.array([width, height]) + 1.0).T
    left, top = (np.minimum(np.floor(x), width), np.minimum(np.floor(y), height))
    columns, rows = left.astype(int) + 2, top.astype(int) + 2
    across, down = _weights(x - left), _weights(y - top)
    across_slopes, down_slopes = _slopes(x - left), _slopes(y - top)
    slopes = np.zeros((len(places), 2, 2))
    for i in range(4):
        for j in range(4):
            node = padded[rows + i, columns + j]
            slopes[:, :, 0] += (down[i] * across_slopes[j])[:, None] * node
            slopes[:, :, 1] += (down_slopes[i] * across[j])[:, None] * node
    return slopes


def _weights(t: Float[np.ndarray, " points"]) -> Float[np.ndarray, "4 points"]:
    """Return the cubic B-splines of the four nodes around, `t` beyond the second."""
    weights = [
        (1 - t) ** 3,
        3 * t**3 - 6 * t**2 + 4,
        -3 * t**3 + 3 * t**2 + 3 * t + 1,
        t**3,
    ]
    return np.stack(weights) / 6


def _slopes(t: Float[np.ndarray, " points"]) -> Float[np.ndarray, "4 points"]:
    """Return the derivatives of `_weights`."""
    slopes = [-((1 - t) ** 2), 3 * t**2 - 4 * t, -3 * t**2 + 2 * t + 1, t**2]
    return np.stack(slopes) / 2
