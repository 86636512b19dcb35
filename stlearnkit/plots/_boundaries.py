"""Boundaries: nuclei outlined on the H&E, and the edges beside it."""

__all__ = ["boundary_maps"]

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from skimage.segmentation import find_boundaries

from stlearnkit.boundaries import BoundaryMaps
from stlearnkit.sections import Section

_OUTLINE = (1.0, 0.9, 0.1, 1.0)  # yellow: neither dye is


def boundary_maps(
    section: Section,
    maps: BoundaryMaps,
    centre_px: Float[np.ndarray, "2"],
    *,
    side_um: float = 200.0,
) -> Figure:
    """Draw a piece of a section, its nuclei outlined, and its edge map beside it.

    Parameters
    ----------
    section
        A section with its slide.
    maps
        Its maps.
    centre_px
        Middle (x, y) of the piece, in full-resolution pixels, e.g. of a spot:
        ``section.coords_px[0]``.
    side_um
        Side of the piece; in more than about 500 µm outlines cannot be told apart.

    Raises
    ------
    SectionError
        If the section has no slide.
    ValueError
        If the side is not positive, or the piece lies outside the image.
    """
    slide = section.require_slide("to draw")
    if not (np.isfinite(side_um) and side_um > 0):
        raise ValueError(f"side_um is {side_um}, expected a length above 0 in µm.")
    left, top, right, bottom = _window(section, maps, centre_px, side_um)
    extent = tuple(maps.mpp * np.array([left, right, bottom, top], float))
    figure, axes = plt.subplots(
        1, 2, figsize=(9.5, 4.5), sharex=True, sharey=True, layout="compressed"
    )
    factor = maps.downsample
    first_x, first_y = int(left * factor), int(top * factor)
    last_x = min(int(right * factor), slide.width)
    last_y = min(int(bottom * factor), slide.height)
    piece = slide.crop(first_x, first_y, last_x - first_x, last_y - first_y)
    axes[0].imshow(piece, extent=extent)
    labels = maps.nuclei[top:bottom, left:right]
    overlay = np.zeros((*labels.shape, 4))
    overlay[find_boundaries(labels, mode="inner")] = _OUTLINE
    axes[0].imshow(overlay, extent=extent, interpolation="nearest")
    drawn = axes[1].imshow(
        maps.edges[top:bottom, left:right] / 255, "magma", vmin=0, vmax=1, extent=extent
    )
    figure.colorbar(drawn, ax=axes[1], label="strength of edges", shrink=0.8)
    n_nuclei = len(np.setdiff1d(labels, 0))
    axes[0].set(title=f"{section.name}: {n_nuclei} nuclei", ylabel="y (µm)")
    axes[1].set(title="edges")
    for ax in axes:
        ax.set(xlabel="x (µm)", xlim=extent[:2], ylim=extent[2:])
        ax.set_aspect("equal")
    return figure


def _window(
    section: Section,
    maps: BoundaryMaps,
    centre_px: Float[np.ndarray, "2"],
    side_um: float,
) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a piece in pixels of the maps.

    Raises
    ------
    ValueError
        If it holds none.
    """
    height, width = maps.edges.shape
    half_px = side_um / 2 / section.mpp
    corners = np.stack([centre_px - half_px, centre_px + half_px]) / maps.downsample
    first, last = np.clip(corners, 0, (width, height)).round().astype(int).tolist()
    if last[0] <= first[0] or last[1] <= first[1]:
        raise ValueError(
            f"centre_px is {centre_px.tolist()}, and {side_um} µm around it hold no "
            f"pixel of {section.name!r}. Give (x, y) in full-resolution pixels."
        )
    return first[0], first[1], last[0], last[1]
