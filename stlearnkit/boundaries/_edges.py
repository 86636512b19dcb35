"""Edges: how sharply the amount of haematoxylin changes, at the scales of nuclei."""

__all__ = ["edge_lines", "edge_map", "strength"]

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import gaussian_gradient_magnitude
from skimage.morphology import skeletonize

from stlearnkit.boundaries._stain import Overview, check_mpp, haematoxylin, shrink

# A membrane in focus is about 0.7 µm wide; twice that, for nuclei out of focus.
SIGMAS_UM = (0.7, 1.4)
PERCENTILE = 99.0  # of the tissue's pixels; what is sharper counts as 1
THRESHOLD = 0.3  # of that; below it lie the grain of cytoplasm, and fibres
DENSEST = 4.0  # optical density; more than 8 bits can show
STEPS = 65535  # in which `detect` keeps strengths; what is less than one is none


def edge_map(
    image: UInt8[np.ndarray, "height width 3"],
    mpp: float,
    *,
    vectors: Float[np.ndarray, "2 3"] | None = None,
) -> Float[np.ndarray, "height width"]:
    r"""Map how sharply the amount of haematoxylin changes, from 0 to 1.

    For one image. Two images are scaled each by its own percentile, so that their maps
    cannot be compared; `detect` scales a whole section as one.

    Parameters
    ----------
    image
        H&E.
    mpp
        µm per pixel, at most 2.2.
    vectors
        Colours of the dyes, as in `stains.StainProfile`. Without them they are
        estimated from the image; where that fails, they are `stains.RUIFROK`.

    Returns
    -------
    edges
        1 at the 99th percentile of the image's pixels and above, so that edges which
        are rarer than that are all 1; float32.

    Raises
    ------
    ValueError
        If `mpp` is not a scale at which nuclei can be seen.

    Notes
    -----
    For the haematoxylin :math:`h` blurred by a Gaussian :math:`G` of width
    :math:`\sigma`,

    .. math:: e = \max_\sigma \sigma \, |\nabla (G_\sigma * h)|,
        \quad \sigma \in \{0.7, 1.4\} \text{ µm}.

    The factor :math:`\sigma` makes scales comparable (Lindeberg 1998): the gradient of
    a blurred step falls as 1/σ.

    References
    ----------
    Lindeberg (1998), Int. J. Computer Vision 30, 117–154.

    Examples
    --------
    >>> from stlearnkit.stains import RUIFROK
    >>> image = np.full((40, 40, 3), 240, np.uint8)
    >>> image[:, 20:] = (90, 80, 150)
    >>> edges = edge_map(image, 1.0, vectors=RUIFROK)
    >>> edges[20].argmax() in (19, 20), float(edges[20, 5])
    (True, 0.0)
    """
    check_mpp(mpp)
    small, small_mpp = shrink(image, mpp)
    profile = Overview.of(small, small_mpp, None, vectors).profile
    raw = strength(haematoxylin(image, profile), mpp)
    least = DENSEST / STEPS
    top = max(float(np.percentile(raw, PERCENTILE)), least)
    return np.where(raw < least, 0, np.minimum(raw / top, 1))


def edge_lines(
    edges: UInt8[np.ndarray, "height width"] | Float[np.ndarray, "height width"],
    *,
    threshold: float = THRESHOLD,
) -> Bool[np.ndarray, "height width"]:
    """Thin an edge map to lines one pixel wide.

    Parameters
    ----------
    edges
        From `edge_map`, 0 to 1; or of a `BoundaryMaps`, 0 to 255.
    threshold
        Weaker edges are left out; a fraction of the strongest, above 0 and below 1.

    Raises
    ------
    ValueError
        If the threshold is no such fraction.

    Examples
    --------
    >>> edges = np.zeros((5, 9))
    >>> edges[:, 3:6] = 0.8
    >>> edge_lines(edges)[2].nonzero()[0]
    array([4])
    """
    if not 0 < threshold < 1:
        raise ValueError(
            f"threshold is {threshold}, expected a fraction of the strongest edge, "
            f"above 0 and below 1. The default is {THRESHOLD}."
        )
    top = 255 if edges.dtype == np.uint8 else 1
    return skeletonize(edges >= threshold * top)


def strength(
    amount: Float[np.ndarray, "height width"], mpp: float
) -> Float[np.ndarray, "height width"]:
    """Return the gradient of an amount at the sharper scale, in its own unit."""
    scales = [sigma_um / mpp for sigma_um in SIGMAS_UM]
    gradients = [
        sigma * gaussian_gradient_magnitude(amount, sigma, mode="nearest")
        for sigma in scales
    ]
    return np.maximum(*gradients)
