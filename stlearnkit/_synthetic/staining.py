"""The slide of a simulated section: stains laid on a scene, seen through light.

Haematoxylin and eosin are painted as amounts and turned into colours by the law of
Beer and Lambert, with the stain vectors of Ruifrok and Johnston.
"""

__all__ = ["shift_stains", "stain"]

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from PIL import Image
from scipy import ndimage

from stlearnkit._synthetic.nuclei import footprints
from stlearnkit._synthetic.tissue import PAINT_UM, Scene
from stlearnkit.stains import RUIFROK

_GLASS = np.array(
    [243.0, 239.0, 238.0], np.float32
)  # light that an empty slide lets through
# How much of each stain a region takes up: everywhere, where it is grainy, at the
# membranes of fat cells, with collagen. One row per region, in the order of REGIONS.
_HAEMATOXYLIN = np.array(
    [
        [0.00, 0.00, 0.00, 0.00],
        [0.42, 0.07, 0.00, 0.00],
        [0.08, 0.00, 0.00, 0.30],
        [0.00, 0.00, 0.14, 0.00],
        [0.30, 0.06, 0.00, 0.00],
    ],
    np.float32,
)
_EOSIN = np.array(
    [
        [0.00, 0.00, 0.00, 0.00],
        [0.27, 0.04, 0.00, 0.00],
        [0.00, 0.00, 0.00, 1.00],
        [0.01, 0.00, 0.38, 0.00],
        [0.20, 0.04, 0.00, 0.00],
    ],
    np.float32,
)
_DARKEST = 1.55  # haematoxylin in a nucleus of darkness 1


def stain(
    scene: Scene,
    nuclei: pd.DataFrame,
    mpp: float,
    stains: Float[np.ndarray, "2 3"],
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "height width 3"]:
    r"""Return the H&E image of a scene and its nuclei.

    Notes
    -----
    .. math:: I_c = I_{0,c}\, \exp(-h\, s_{H,c} - e\, s_{E,c})

    for the amounts :math:`h, e` of the stains in a pixel and colour :math:`c`, and
    noise of two grey levels at most.

    References
    ----------
    Ruifrok and Johnston, Quantification of histochemical staining by color
    deconvolution, Anal. Quant. Cytol. Histol. 23 (2001).
    """
    side_px = round(len(scene.regions) * PAINT_UM / mpp)
    painted = [Image.fromarray(amount) for amount in _paint(scene, rng)]
    stamped = _stamp(nuclei, side_px, mpp, rng)
    image = np.empty((side_px, side_px, 3), np.uint8)
    for top in range(0, side_px, 32):  # in strips that fit the processor's cache
        rows = slice(top, min(top + 32, side_px))
        haematoxylin, eosin = (_strip(amount, rows, side_px) for amount in painted)
        amounts = np.stack([np.maximum(haematoxylin, stamped[rows]), eosin])
        light = np.exp(-stains.T.astype(np.float32) @ amounts.reshape(2, -1))
        light *= _GLASS[:, None]
        noise = np.frombuffer(rng.bytes(light.size), np.uint8).reshape(light.shape)
        light += (noise >> 6) - np.float32(1)  # above -1, so that 0 is the darkest
        image[rows] = np.moveaxis(light.reshape(3, -1, side_px), 0, 2)
    return image


def shift_stains(spread: float, rng: np.random.Generator) -> Float[np.ndarray, "2 3"]:
    """Vary amount and colour of the stains, as from one day to another."""
    amounts = np.exp(spread * rng.standard_normal((2, 1)))
    colours = np.exp(0.5 * spread * rng.standard_normal((2, 3)))
    return amounts * colours * RUIFROK


def _stamp(
    nuclei: pd.DataFrame, side_px: int, mpp: float, rng: np.random.Generator
) -> Float[np.ndarray, "side side"]:
    """Return the haematoxylin of the nuclei: soft at the edge, mottled, dark rims."""
    stamped = np.zeros((side_px, side_px), np.float32)
    mottle = _tile(rng, 256, 1.2 / mpp)
    softness = np.maximum(0.9 * nuclei["minor_px"].to_numpy(np.float32), 0.8)
    darkness = _DARKEST * nuclei["darkness"].to_numpy(np.float32)
    for rows, pixels, squared in footprints(nuclei, stamped.shape):
        cover = np.clip((1 - np.sqrt(squared)) * softness[rows] + 0.5, 0, 1)
        line, column = np.divmod(pixels, side_px)
        chromatin = 0.86 + 0.22 * squared + 0.13 * mottle[line % 256, column % 256]
        np.maximum.at(stamped.reshape(-1), pixels, cover * chromatin * darkness[rows])
    return stamped


def _strip(
    amount: Image.Image, rows: slice, side_px: int
) -> Float[np.ndarray, "height width"]:
    """Bring some rows of a scene to the pixels of the slide."""
    scale = amount.height / side_px
    box = (0, rows.start * scale, amount.width, rows.stop * scale)
    size = (side_px, rows.stop - rows.start)
    return np.asarray(amount.resize(size, Image.Resampling.BILINEAR, box))


def _paint(
    scene: Scene, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "height width"], Float[np.ndarray, "height width"]]:
    """Return haematoxylin and eosin of all that is not a nucleus."""
    fields, regions = scene.fields, scene.regions.astype(np.intp)
    grain = _mosaic(_tile(rng, 256, 1.5) + _tile(rng, 256, 3.0), regions.shape)
    loose = np.clip(fields["oedema"] + 0.3, 0, 1.6)
    cleft = fields["bundle"] + 0.35 * fields["fibre"] < 0.45 * loose - 1.5
    cleft |= np.abs(fields["tumour"] + 0.10) < 0.07 * loose  # nests shrink away
    collagen = 0.42 + 0.09 * fields["fibre"] + 0.11 * fields["bundle"] - 0.14 * loose
    collagen = np.clip(collagen, 0.08, None)
    collagen[cleft] = 0.03
    rim = np.exp(-((scene.rims / 1.7) ** 2))
    textures = (1, grain, rim, collagen)
    haematoxylin, eosin = (
        sum(
            uptake.take(regions) * texture
            for uptake, texture in zip(table.T, textures, strict=True)
        )
        for table in (_HAEMATOXYLIN, _EOSIN)
    )
    blur_px = 0.7
    return (
        ndimage.gaussian_filter(haematoxylin, blur_px, truncate=3),
        ndimage.gaussian_filter(eosin, blur_px, truncate=3),
    )


def _tile(
    rng: np.random.Generator, side: int, sigma: float
) -> Float[np.ndarray, "side side"]:
    """Draw a square of smooth noise, of deviation 1, that can be repeated."""
    white = rng.standard_normal((side, side), dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, sigma, mode="wrap")
    return smooth / smooth.std()


def _mosaic(tile: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Repeat a tile over an image."""
    times = [-(-length // len(tile)) for length in shape]
    return np.tile(tile, times)[: shape[0], : shape[1]]
