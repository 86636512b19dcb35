"""Sections as translucent planes of tissue."""

__all__ = ["planes"]

from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from stlearnkit.geometry import Affine2D, pull
from stlearnkit.sections import Section
from stlearnkit.stacks import Stack
from stlearnkit.stains import tissue_mask

_MASK_PX = 500  # a thumbnail on which tissue can be told from glass
_MARGIN_UM = 250.0  # of tissue shown around the spots
_N_COLOURS = 8
_BELOW = 0.12  # of the distance of two sections, so that planes hide no spots


def planes(stack: Stack, side_px: int) -> list[dict[str, Any]]:
    """Return one surface of plotly for each section, tissue alone.

    H&E is a row of colours from dark violet to pale pink, nearly: brightness tells
    which. So a pixel is one number, and the colours of its brightness are sent once.
    """
    places = np.concatenate(stack.coords_3d_um())[:, :2]
    corner = places.min(axis=0) - _MARGIN_UM
    span = np.ptp(places, axis=0) + 2 * _MARGIN_UM
    step_um = float(span.max()) / side_px
    shape = tuple(np.ceil(span[::-1] / step_um).astype(int).tolist())
    origin = Affine2D.rigid(
        0.0, tuple((-corner).tolist()), source=stack.reference, target=stack.reference
    )
    gap = float(np.diff(stack.z_um).min()) if len(stack.z_um) > 1 else 0.0
    surfaces = []
    for section, z, to in zip(
        stack.sections, stack.z_um, stack.to_reference, strict=True
    ):
        image, tissue = _pulled(section, to.then(origin), shape, step_um)
        surface = _surface(image, tissue, z - _BELOW * gap)
        for axis, start, n in zip("xy", corner, shape[::-1], strict=True):
            surface[axis] = (start + (np.arange(n) + 0.5) * step_um).round().tolist()
        surfaces.append(surface)
    return surfaces


def _pulled(
    section: Section, to: Affine2D, shape: tuple[int, int], step_um: float
) -> tuple[UInt8[np.ndarray, "height width 3"], Bool[np.ndarray, "height width"]]:
    """Return a section and its tissue on a coarse grid."""
    slide = section.require_slide("to draw it in the volume")
    long_um = section.mpp * max(slide.height, slide.width)
    fine = slide.thumbnail(_MASK_PX)
    coarse = slide.thumbnail(max(1, round(long_um / step_um)))
    image, tissue = (
        pull(
            pixels,
            to,
            shape,
            step=long_um / max(pixels.shape[:2]),
            new_step=step_um,
            fill=fill,
        )
        for pixels, fill in ((coarse, 255.0), (tissue_mask(fine), 0.0))
    )
    return image, tissue


def _surface(
    image: UInt8[np.ndarray, "height width 3"],
    tissue: Bool[np.ndarray, "height width"],
    z_um: float,
) -> dict[str, Any]:
    """Return a plane with holes where there is no tissue."""
    brightness = image.mean(axis=2).round().astype(int)
    height = round(z_um, 1)
    return {
        "type": "surface",
        "z": [[height if here else None for here in row] for row in tissue.tolist()],
        "surfacecolor": brightness.astype(np.uint8),
        "colorscale": _colours(image[tissue], brightness[tissue]),
        "cmin": 0,
        "cmax": 255,
        "opacity": 0.6,
        "showscale": False,
        "hoverinfo": "skip",
        "contours": {axis: {"highlight": False} for axis in "xyz"},
        "lighting": {"ambient": 1.0, "diffuse": 0.0, "specular": 0.0},
    }


def _colours(
    pixels: UInt8[np.ndarray, "points 3"], brightness: Int[np.ndarray, " points"]
) -> list[list[Any]]:
    """Return the mean colour of pixels from dark to bright."""
    if len(pixels) == 0:
        return [[0.0, "rgb(255,255,255)"], [1.0, "rgb(255,255,255)"]]
    groups = np.array_split(np.argsort(brightness, kind="stable"), _N_COLOURS)
    means = {
        round(float(brightness[rows].mean()) / 255, 3): pixels[rows].mean(axis=0)
        for rows in groups
        if len(rows)
    }
    steps = [
        [at, "rgb({:.0f},{:.0f},{:.0f})".format(*colour)]
        for at, colour in sorted(means.items())
    ]
    return [[0.0, steps[0][1]], *steps, [1.0, steps[-1][1]]]
