"""Nuclei: dark for where they are, and split where two touch."""

__all__ = ["nuclei"]

import numpy as np
from jaxtyping import Float, Int, Int32, UInt8
from scipy import ndimage
from skimage.segmentation import watershed

from stlearnkit.boundaries._stain import Overview, check_mpp, haematoxylin, shrink

AREA_UM2 = (12.0, 400.0)  # a small lymphocyte cut off-centre; a large tumour nucleus
_GRAIN_UM = 0.7  # blur that chromatin, noise and JPEG's blocks do not survive
_HILL_BLUR_UM = 1.0  # merges the peaks of a ragged outline
_APART_UM = 2.5  # half the side of the square in which there is one peak; < a radius
# Distance to the outline counts up to here: within a clump whose outline is far,
# the nuclei's own darkness decides.
_DEEP_UM = 4.0
# A pixel is dark if it holds more than 0.9 of what lies around it and 0.2 more; but
# 0.4 is always too little, and 2.2 always enough, as in a clump that is dark
# throughout. All but the first in units of `Overview.typical`.
_SHARE, _ABOVE, _LEAST, _ENOUGH = 0.9, 0.2, 0.4, 2.2
_OF_PEAK = 0.4  # of its darkest pixel: with less, blur, not nucleus
# No pixel has a say further away than this: the longest nucleus and all blurs.
REACH_UM = 40.0


def nuclei(
    image: UInt8[np.ndarray, "height width 3"],
    mpp: float,
    *,
    vectors: Float[np.ndarray, "2 3"] | None = None,
    area_um2: tuple[float, float] = AREA_UM2,
) -> Int32[np.ndarray, "height width"]:
    """Find the nuclei of one image, touching ones apart.

    For a whole section use `detect`, which judges every part by the whole.

    Parameters
    ----------
    image
        H&E.
    mpp
        µm per pixel, at most 2.2.
    vectors
        As for `edge_map`.
    area_um2
        Smallest and largest area of a nucleus; what is smaller or larger is dropped.

    Returns
    -------
    labels
        The number of the nucleus in each pixel, from 1, row by row;
        0 between them.

    Raises
    ------
    ValueError
        If `mpp` is not a scale at which nuclei can be seen, or no area is allowed.

    Notes
    -----
    1. Haematoxylin, blurred by 0.7 µm, is compared with its mean around the pixel
       (Gaussian, 12 µm) and with Otsu's (1979) threshold of the whole image: a pixel
       is dark if it stands out *here*, unless it is pale anywhere, or dark anywhere.
    2. Hills: the distance to the outline, up to 4 µm, plus the darkness. Every peak is
       a nucleus; a watershed divides the dark pixels between them.
    3. Each keeps the pixels that hold 0.4 or more of what its darkest one holds, so
       that dark and pale nuclei are outlined alike.

    Nuclei that lie over one another in a thick section cannot be told apart, long
    ones are sometimes cut in two, and grains of dirt are taken for nuclei.

    Examples
    --------
    >>> image = np.full((60, 60, 3), 230, np.uint8)
    >>> y, x = np.mgrid[:60, :60]
    >>> for centre in (24, 34):
    ...     image[(x - centre) ** 2 + (y - 30) ** 2 <= 36] = (90, 80, 150)
    >>> int(nuclei(image, 1.0).max())
    2
    """
    check_mpp(mpp)
    check_area(area_um2)
    small, small_mpp = shrink(image, mpp)
    overview = Overview.of(small, small_mpp, None, vectors)
    amount = haematoxylin(image, overview.profile)
    shape = image.shape[:2]
    background = overview.background_at(0, 0, shape, shape)
    labels, peaks = segment(amount, background, overview.typical, mpp)
    return renumber(labels, sized(labels, len(peaks), mpp, area_um2), peaks)


def segment(
    amount: Float[np.ndarray, "height width"],
    background: Float[np.ndarray, "height width"],
    typical: float,
    mpp: float,
) -> tuple[Int32[np.ndarray, "height width"], Int[np.ndarray, "points 2"]]:
    """Label all that may be a nucleus; return the (row, column) of each peak too."""
    smooth = ndimage.gaussian_filter(amount, _GRAIN_UM / mpp, mode="nearest")
    enough = np.clip(
        _SHARE * background + _ABOVE * typical, _LEAST * typical, _ENOUGH * typical
    )
    dark = smooth > enough
    if not dark.any():
        return np.zeros(amount.shape, np.int32), np.zeros((0, 2), int)
    depth_um = ndimage.distance_transform_edt(dark).astype(np.float32) * mpp
    hills = np.minimum(depth_um, _DEEP_UM) + smooth / typical
    hills = ndimage.gaussian_filter(hills, _HILL_BLUR_UM / mpp, mode="nearest")
    side = 2 * max(1, round(_APART_UM / mpp)) + 1
    is_peak = (hills == ndimage.maximum_filter(hills, side, mode="nearest")) & dark
    markers, n_peaks = ndimage.label(is_peak, np.ones((3, 3)))
    labels = watershed(-hills, markers, mask=dark).astype(np.int32)
    darkest = np.zeros(n_peaks + 1, np.float32)
    np.maximum.at(darkest, labels[dark], smooth[dark])
    labels[smooth < _OF_PEAK * darkest[labels]] = 0
    row, column = np.nonzero(is_peak)
    peaks = np.zeros((n_peaks, 2), int)
    # Last written wins: of a flat top the first pixel.
    peaks[markers[row, column][::-1] - 1] = np.column_stack([row, column])[::-1]
    return labels, peaks


def sized(
    labels: Int32[np.ndarray, "height width"],
    n_labels: int,
    mpp: float,
    area_um2: tuple[float, float],
) -> Int[np.ndarray, " values"]:
    """Return the labels whose area is that of a nucleus."""
    area = np.bincount(labels.ravel(), minlength=n_labels + 1)[1:] * mpp**2
    return 1 + np.flatnonzero((area >= area_um2[0]) & (area <= area_um2[1]))


def renumber(
    labels: Int32[np.ndarray, "height width"],
    kept: Int[np.ndarray, " values"],
    peaks: Int[np.ndarray, "_ 2"],
) -> Int32[np.ndarray, "height width"]:
    """Give the labels `kept` new numbers: by the places of their peaks, row by row."""
    order = np.lexsort(peaks[kept - 1].T[::-1])
    number = np.zeros(len(peaks) + 1, np.int32)
    number[kept[order]] = np.arange(1, len(kept) + 1)
    return number[labels]


def check_area(area_um2: tuple[float, float]) -> None:
    """Refuse limits between which nothing lies.

    Raises
    ------
    ValueError
        If so.
    """
    smallest, largest = area_um2
    if not 0 <= smallest < largest:
        raise ValueError(
            f"area_um2 is {area_um2}, expected the smallest and the largest area of a "
            f"nucleus in µm², e.g. {AREA_UM2}. Check their order and their unit."
        )
