"""Scores of maps against a truth: nuclei by their centres, edges by their lines."""

__all__ = ["edge_scores", "nuclei_scores"]

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree


def nuclei_scores(
    found_um: Float[np.ndarray, "_ 2"],
    true_um: Float[np.ndarray, "_ 2"],
    *,
    tolerance_um: float = 3.0,
) -> pd.Series:
    """Compare centres of nuclei that were found with the true ones.

    The closest pair is matched first, then the closest of those left, and so on; each
    nucleus is matched at most once. Rarely another pairing matches one pair more.

    Parameters
    ----------
    found_um, true_um
        Centres (x, y) in µm.
    tolerance_um
        Largest distance of a pair; less than a radius, about 3 µm for lymphocytes.

    Returns
    -------
    scores
        `precision`: share of those found that are true; `recall`: share of the true
        that were found; NaN where there is nothing to take a share of. `f1`: their
        harmonic mean; 0 if nothing matches, also because nothing was found, and NaN
        only if there is nothing on either side.

    Raises
    ------
    ValueError
        If the tolerance is not positive.

    Examples
    --------
    >>> found = np.array([[0.0, 0.0], [1.0, 0.0], [50.0, 0.0]])
    >>> true = np.array([[0.0, 0.0], [20.0, 0.0]])
    >>> nuclei_scores(found, true).round(2).to_dict()
    {'precision': 0.33, 'recall': 0.5, 'f1': 0.4}
    """
    _check_tolerance(tolerance_um)
    n_matched = 0
    if len(found_um) and len(true_um):
        pairs = cKDTree(found_um).sparse_distance_matrix(
            cKDTree(true_um), tolerance_um, output_type="ndarray"
        )
        pairs.sort(order=["v", "i", "j"])
        free_found = np.ones(len(found_um), bool)
        free_true = np.ones(len(true_um), bool)
        for i, j in zip(pairs["i"], pairs["j"], strict=True):
            if free_found[i] and free_true[j]:
                free_found[i] = free_true[j] = False
                n_matched += 1
    return _shares(n_matched, len(found_um), n_matched, len(true_um))


def edge_scores(
    found: Bool[np.ndarray, "height width"],
    true: Bool[np.ndarray, "height width"],
    mpp: float,
    *,
    tolerance_um: float = 1.5,
) -> pd.Series:
    """Compare lines that were found with the true ones.

    Parameters
    ----------
    found, true
        Lines one pixel wide, e.g. from `edge_lines`; outlines of labels from
        ``skimage.segmentation.find_boundaries(labels, mode="inner")``.
    mpp
        µm per pixel.
    tolerance_um
        A pixel is matched if the other lines come as near as this.

    Returns
    -------
    scores
        `precision`: share of found pixels near a true one; `recall`: share of true
        pixels near a found one; `f1`. NaN and 0 as for `nuclei_scores`.

    Raises
    ------
    ValueError
        If the tolerance or `mpp` is not positive, or the two differ in size.

    Notes
    -----
    As in the Berkeley benchmark (Martin, Fowlkes and Malik 2004), but without its
    one-to-one assignment: thick lines are not punished, so thin them first.

    References
    ----------
    Martin, Fowlkes and Malik (2004), IEEE Trans. PAMI 26, 530–549.

    Examples
    --------
    >>> found, true = np.zeros((2, 5, 5), bool)
    >>> found[:, 2] = true[:3, 3] = True
    >>> edge_scores(found, true, 1.0, tolerance_um=1.0).round(2).to_dict()
    {'precision': 0.6, 'recall': 1.0, 'f1': 0.75}
    """
    _check_tolerance(tolerance_um)
    if not (np.isfinite(mpp) and mpp > 0):
        raise ValueError(f"mpp is {mpp}, expected µm per pixel above 0.")
    if found.shape != true.shape:
        raise ValueError(
            f"found has shape {found.shape}, but true {true.shape}: expected lines on "
            "the same pixels. Draw both at one scale."
        )
    reach_px = tolerance_um / mpp + 1e-9  # a diagonal is not lost to rounding
    n_found = _n_near(found, true, reach_px)
    n_true = _n_near(true, found, reach_px)
    return _shares(n_found, int(found.sum()), n_true, int(true.sum()))


def _n_near(
    these: Bool[np.ndarray, "height width"],
    those: Bool[np.ndarray, "height width"],
    reach_px: float,
) -> int:
    """Count the pixels of these lines that come near those."""
    if not (these.any() and those.any()):
        return 0
    return int((distance_transform_edt(~those)[these] <= reach_px).sum())


def _shares(hits: int, n_found: int, recalled: int, n_true: int) -> pd.Series:
    """Return precision, recall and their harmonic mean."""
    precision = hits / n_found if n_found else np.nan
    recall = recalled / n_true if n_true else np.nan
    if hits and recalled:
        f1 = 2 * precision * recall / (precision + recall)
    else:  # a detector that is blind must not drop out of a mean over sections
        f1 = 0.0 if n_found or n_true else np.nan
    return pd.Series({"precision": precision, "recall": recall, "f1": f1})


def _check_tolerance(tolerance_um: float) -> None:
    """Refuse tolerances that are no distance.

    Raises
    ------
    ValueError
        If so.
    """
    if not (np.isfinite(tolerance_um) and tolerance_um > 0):
        raise ValueError(
            f"tolerance_um is {tolerance_um}, expected a distance above 0 in µm, less "
            "than the radius of a nucleus."
        )
