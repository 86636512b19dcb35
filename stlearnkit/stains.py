"""The colours of H&E: where the tissue is, and how much of each dye lies there.

Light that passes a dye is weakened by a constant factor for each layer of it, so
that *optical density*, minus the logarithm of the light that arrives, adds up over
layers and over dyes (Beer and Lambert). In that space haematoxylin and eosin are two
directions; finding them, reading off the amounts and exchanging the directions is
all that stain separation and stain normalisation do.

Taught in the chapter "From slide to patches".
"""

__all__ = [
    "RUIFROK",
    "StainProfile",
    "compose",
    "estimate",
    "normalise",
    "optical_density",
    "separate",
    "tissue_mask",
]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import binary_fill_holes
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label
from skimage.morphology import isotropic_closing

_OF_BRIGHTNESS = np.log10(255 / np.maximum(np.arange(256), 1)).astype(np.float32)
_MIN_STAINED = 100  # pixels; percentiles of fewer mean little
_MIN_ANGLE_DEG = 5.0  # between the dyes; those of HER2ST lie 15 to 25 apart
_MIN_CONTRAST = 0.02  # optical density; blank but tinted glass stays below it


def _unit(vectors: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    """Scale each row to length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


RUIFROK = _unit(np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]]))
"""Haematoxylin and eosin of Ruifrok and Johnston (2001), one row each: the optical
density in red, green and blue of one unit of dye. Read-only."""
RUIFROK.flags.writeable = False


@dataclass(frozen=True, eq=False)
class StainProfile:
    """How one slide is stained: the colours of its two dyes, and how strongly.

    Parameters
    ----------
    vectors
        Rows: haematoxylin, eosin; columns: optical density in red, green, blue.
        Rows of length 1.
    strength
        Amount of each dye at the 99th percentile of stained pixels; above 0.

    Raises
    ------
    ValueError
        If the vectors do not have length 1, or a strength is not positive.
    """

    vectors: Float[np.ndarray, "2 3"]
    strength: Float[np.ndarray, "2"]

    def __post_init__(self) -> None:
        """Check lengths and signs.

        Raises
        ------
        ValueError
            As for the class.
        """
        lengths = np.linalg.norm(self.vectors, axis=1)
        if not np.allclose(lengths, 1.0, atol=1e-4):
            raise ValueError(
                f"vectors have lengths {lengths.round(3).tolist()}, expected 1. "
                "Divide each row by its length."
            )
        if not (np.isfinite(self.strength) & (self.strength > 0)).all():
            raise ValueError(
                f"strength is {self.strength.tolist()}, expected two amounts above 0. "
                "Take the profile from an image that shows both dyes: "
                "stains.estimate(image)."
            )


def tissue_mask(
    image: UInt8[np.ndarray, "height width 3"], *, min_fraction: float = 0.02
) -> Bool[np.ndarray, "height width"]:
    """Find the tissue on a thumbnail of a slide.

    Dyes absorb some colours more than others, while dust, the shadow of the slide's
    edge and printed fiducials darken all alike. So the channel to threshold is the
    spread of optical density over red, green and blue, not the brightness. It is
    split by the threshold of Otsu (1979), closed over gaps of up to 2 % of the longer
    side, and its holes are filled.

    Parameters
    ----------
    image
        A thumbnail: about 500 to 2000 px on its longer side, e.g.
        ``slide.thumbnail(1000)``. The closing scales with it.
    min_fraction
        Parts smaller than this fraction of the largest part are dropped; from 0 to 1.

    Returns
    -------
    mask
        True where there is tissue, at the thumbnail's resolution.

    Raises
    ------
    ValueError
        If `min_fraction` is not between 0 and 1, or nothing on the image is stained.

    Notes
    -----
    Fails where a coloured mark (pen, brown fiducials) is larger than `min_fraction`
    of the tissue: crop it away first. Wide gaps in the fat at the rim, which nothing
    encloses, are lost. Eosin that bled onto the glass is left out as long as it is
    clearly paler than the tissue; look at the mask.

    Examples
    --------
    >>> image = np.full((100, 100, 3), 240, np.uint8)
    >>> image[20:60, 30:70] = (150, 80, 160)
    >>> mask = tissue_mask(image)
    >>> bool(mask[40, 50]), bool(mask[80, 80])
    (True, False)
    """
    if not 0 <= min_fraction <= 1:
        raise ValueError(
            f"min_fraction is {min_fraction}, expected a fraction from 0 to 1 of the "
            "largest part's area."
        )
    side_px = max(image.shape[:2])
    # Hardly any blur: fat is thin strands, bled eosin is smooth and stays below them.
    spread = gaussian(optical_density(image).std(axis=2), sigma=side_px / 2000)
    # Otsu's threshold is the middle of a bin of 256: move it to the bin's upper edge.
    stained = spread > threshold_otsu(spread) + np.ptp(spread) / 512
    contrast = 0.0
    if stained.any():
        contrast = float(spread[stained].mean() - spread[~stained].mean())
    if contrast < _MIN_CONTRAST:
        raise ValueError(
            f"no tissue found: stained and unstained parts of the image differ by "
            f"{contrast:.3f} in optical density, expected at least {_MIN_CONTRAST}. "
            "The image may be blank, grey or not stained; look at it."
        )
    parts = label(binary_fill_holes(isotropic_closing(stained, side_px / 100)))
    areas = np.bincount(parts.ravel())
    areas[0] = 0  # the glass
    return (areas >= max(1.0, min_fraction * areas.max()))[parts]


def optical_density(
    image: UInt8[np.ndarray, "... 3"],
) -> Float[np.ndarray, "... 3"]:
    r"""Turn brightness into optical density, which is proportional to dye.

    :math:`D = -\log_{10}(I / 255)` for the brightness :math:`I` of each colour: from 0
    (255, no dye) to 2.41 (1, and 0, which cannot be told from it); float32.

    Examples
    --------
    >>> optical_density(np.array([[[255, 26, 0]]], np.uint8)).round(2)
    array([[[0.  , 0.99, 2.41]]], dtype=float32)
    """
    return _OF_BRIGHTNESS[image]


def separate(
    image: UInt8[np.ndarray, "... 3"], vectors: Float[np.ndarray, "2 3"] = RUIFROK
) -> Float[np.ndarray, "... 2"]:
    r"""Read off how much haematoxylin and eosin each pixel holds.

    Parameters
    ----------
    image
        One or many RGB images.
    vectors
        Colours of the two dyes, as in `StainProfile`.

    Returns
    -------
    amounts
        Last axis: haematoxylin, eosin; in optical density along the dye's vector,
        0 or more, float32. Nuclei are bright in the first, collagen and cytoplasm in
        the second.

    Raises
    ------
    ValueError
        If the two vectors point the same way.

    Notes
    -----
    Least squares for :math:`D \approx C V`, negative amounts set to 0. What lies
    outside the plane of the dyes (pigment, dirt) is lost. Under `RUIFROK` the eosin of
    HER2ST is nearly empty, as theirs is bluer: use ``estimate(image).vectors`` there.

    References
    ----------
    Ruifrok and Johnston (2001), Anal. Quant. Cytol. Histol. 23, 291–299.
    """
    if np.linalg.matrix_rank(vectors, tol=1e-3) < 2:
        raise ValueError(
            "vectors of the two dyes point the same way, so their amounts cannot be "
            "told apart. Use stains.RUIFROK or estimate them from another image."
        )
    unmix = np.linalg.pinv(vectors).astype(np.float32)
    return np.maximum(optical_density(image) @ unmix, 0)


def compose(
    amounts: Float[np.ndarray, "... 2"], vectors: Float[np.ndarray, "2 3"] = RUIFROK
) -> UInt8[np.ndarray, "... 3"]:
    """Paint an image from amounts of dye; the inverse of `separate`.

    Parameters
    ----------
    amounts
        Haematoxylin and eosin of each pixel, in optical density.
    vectors
        Colours of the two dyes, as in `StainProfile`.

    Examples
    --------
    >>> compose(np.array([[0.0, 0.0], [1.0, 0.0]])).tolist()
    [[255, 255, 255], [57, 51, 131]]
    """
    density = amounts.astype(np.float32, copy=False) @ vectors.astype(np.float32)
    return (255 * 10.0 ** -np.maximum(density, 0)).round().astype(np.uint8)


def estimate(
    image: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"] | None = None,
    *,
    min_density: float = 0.15,
    percentile: float = 1.0,
) -> StainProfile:
    """Find the two dyes of an image by the method of Macenko and others (2009).

    Stained pixels fan out in optical density between the directions of the two dyes;
    the edges of the fan are the dyes. Percentiles of the angle stand in for the
    edges, so that a few odd pixels do not decide.

    Parameters
    ----------
    image
        H&E at any resolution at which nuclei can be seen: about 4 µm per pixel or
        finer. Coarser pixels mix the dyes, and the fan closes.
    mask
        Pixels to look at, e.g. from `tissue_mask`; all by default.
    min_density
        A pixel counts as stained if its optical density is above this in every
        colour.
    percentile
        Share of pixels, in per cent, to leave beyond each edge of the fan; below 50.

    Raises
    ------
    ValueError
        If fewer than 100 pixels are stained, or all have one colour.

    Notes
    -----
    The plane of the fan is spanned by the first two eigenvectors of the covariance.
    It fails, without a way to notice, where a third colour (pen, pigment, DAB, blood)
    is common, or where one dye is all but absent, as in pure fat or in a lymph node:
    look at the two channels before trusting them.

    References
    ----------
    Macenko and others (2009), IEEE Int. Symp. Biomedical Imaging, 1107–1110.

    Examples
    --------
    >>> amounts = np.random.default_rng(0).uniform(0, 1.2, (60, 60, 2)) ** 2
    >>> profile = estimate(compose(amounts))
    >>> bool(np.abs(profile.vectors - RUIFROK).max() < 0.1)
    True
    """
    pixels = image.reshape(-1, 3) if mask is None else image[mask]
    density = optical_density(pixels).astype(float)
    density = density[(density > min_density).all(axis=1)]
    if len(density) < _MIN_STAINED:
        raise ValueError(
            f"image has {len(density)} stained pixels (optical density above "
            f"{min_density} in every colour), expected at least {_MIN_STAINED}. Choose "
            "a part with tissue, or lower min_density for a pale stain."
        )
    plane = np.linalg.eigh(np.cov(density, rowvar=False))[1][:, :0:-1]
    plane *= np.sign(plane.sum(axis=0))  # so that the fan lies around angle 0
    angles = np.arctan2(density @ plane[:, 1], density @ plane[:, 0])
    edges = np.percentile(angles, [percentile, 100 - percentile])
    if np.rad2deg(edges[1] - edges[0]) < _MIN_ANGLE_DEG:
        raise ValueError(
            f"image shows one colour only: its stained pixels lie within "
            f"{np.rad2deg(edges[1] - edges[0]):.1f} degrees, expected at least "
            f"{_MIN_ANGLE_DEG:.0f}. Choose a part with nuclei and with stroma, at a "
            "resolution at which nuclei can be seen."
        )
    vectors = np.column_stack([np.cos(edges), np.sin(edges)]) @ plane.T
    vectors = vectors[np.argsort(-vectors[:, 0])]  # haematoxylin absorbs more red
    amounts = density @ np.linalg.pinv(vectors)
    return StainProfile(_unit(vectors), np.percentile(amounts, 99, axis=0))


def normalise(
    image: UInt8[np.ndarray, "... 3"], source: StainProfile, target: StainProfile
) -> UInt8[np.ndarray, "... 3"]:
    """Repaint images of one slide in the colours and strength of another.

    Estimate `source` once for a whole slide, not for each patch: a patch of pure fat
    or pure nuclei has no fan to find, and would be blown up to look like the target.

    Parameters
    ----------
    image
        One or many images of the slide that `source` describes, e.g. its patches.
    source
        How the images are stained.
    target
        How they shall look.

    Notes
    -----
    Amounts are read with the source's vectors, scaled by the ratio of strengths, and
    painted with the target's vectors. What the two dyes cannot explain is lost. The
    tint of the glass is treated as if it were dye. Amounts of tissue differ between
    slides too, and a ratio of strengths cannot tell this from a stronger stain.

    Examples
    --------
    >>> pale = StainProfile(RUIFROK, np.array([0.5, 0.5]))
    >>> strong = StainProfile(RUIFROK, np.array([1.0, 1.0]))
    >>> image = compose(np.array([[[0.4, 0.1]]]))
    >>> separate(normalise(image, pale, strong)).round(1)
    array([[[0.8, 0.2]]], dtype=float32)
    """
    amounts = separate(image, source.vectors)
    ratio = (target.strength / source.strength).astype(np.float32)
    return compose(amounts * ratio, target.vectors)
