"""Maps: sections and what was measured or predicted on them."""

__all__ = ["compare_maps", "label_map", "section_image", "spot_map"]

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stlearnkit.conventions import SPATIAL
from stlearnkit.sections import Section

_COLOURS = sns.color_palette("colorblind")


def section_image(section: Section, ax: Axes, *, max_side_px: int = 1000) -> Axes:
    """Draw the H&E of a section with axes in µm, y downwards.

    Parameters
    ----------
    section
        A section with a slide.
    ax
        Where to draw.
    max_side_px
        Longer side of the thumbnail drawn.

    Raises
    ------
    SectionError
        If the section has no slide.
    """
    slide = section.require_slide("to draw")
    width_um, height_um = slide.width * section.mpp, slide.height * section.mpp
    ax.imshow(slide.thumbnail(max_side_px), extent=(0, width_um, height_um, 0))
    _label_axes(ax, section)
    return ax


def spot_map(
    section: Section,
    values: Float[np.ndarray, " spots"],
    ax: Axes,
    *,
    label: str = "",
    norm: Normalize | None = None,
    cmap: str = "viridis",
    over_image: bool = True,
) -> Axes:
    """Colour each spot, drawn at its true size, by a value.

    Parameters
    ----------
    section
        The section.
    values
        One value per spot.
    ax
        Where to draw.
    label
        Of the colour bar: the quantity and its unit.
    norm
        Colour scale; without it, from the lowest to the highest value.
    cmap
        Matplotlib colour map. For signed values take a diverging one.
    over_image
        Draw the faded H&E below, where there is one.

    Raises
    ------
    ValueError
        If there is not one value per spot.
    """
    if len(values) != section.n_spots:
        raise ValueError(
            f"values has {len(values)} entries, but section {section.name!r} has "
            f"{section.n_spots} spots. Give one value per spot, in the table's order."
        )
    if over_image and section.slide is not None:
        section_image(section, ax)
        ax.images[-1].set_alpha(0.35)
    circles = _circles(section, ax)
    circles.set_array(np.asarray(values, float))
    circles.set_cmap(cmap)
    circles.set_norm(norm or Normalize(np.min(values), np.max(values)))
    ax.figure.colorbar(circles, ax=ax, label=label, shrink=0.8)
    _zoom_to_spots(ax, section)
    return ax


def label_map(section: Section, labels: pd.Series, ax: Axes) -> Axes:
    """Colour each spot by its class, with a legend.

    Parameters
    ----------
    section
        The section.
    labels
        Class of each spot, indexed by spot name.
    ax
        Where to draw.

    Raises
    ------
    ValueError
        If a spot has no class.
    """
    found = labels.reindex(section.adata.obs_names)
    if found.isna().any():
        raise ValueError(
            f"labels lacks {int(found.isna().sum())} of {section.n_spots} spots, "
            f"first: {found.index[found.isna()][0]!r}. Fill them: "
            "labels.fillna('unknown')."
        )
    classes = sorted(found.astype(str).unique())
    if section.slide is not None:
        section_image(section, ax)
        ax.images[-1].set_alpha(0.35)
    colour = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(classes)}
    _circles(section, ax).set_facecolor([colour[str(name)] for name in found])
    ax.legend(
        handles=[
            Line2D([], [], marker="o", ls="", color=colour[name], label=name)
            for name in classes
        ],
        bbox_to_anchor=(1.02, 1),
        loc="upper left",
        frameon=False,
    )
    _zoom_to_spots(ax, section)
    return ax


def compare_maps(
    section: Section,
    measured: Float[np.ndarray, " spots"],
    predictions: Mapping[str, Float[np.ndarray, " spots"]],
    *,
    gene: str,
) -> Figure:
    """Draw one gene as measured and as predicted, all on one colour scale.

    The scale spans what was measured. Predictions of noisy values are flatter than
    the values, and on one scale that shows.

    Parameters
    ----------
    section
        The section.
    measured
        Measured expression of the gene.
    predictions
        Title of each map, and the values predicted.
    gene
        Its name, for the title.
    """
    n_maps = 1 + len(predictions)
    figure, axes = plt.subplots(
        1,
        n_maps,
        figsize=(4.2 * n_maps, 4.0),
        sharex=True,
        sharey=True,
        layout="compressed",
        squeeze=False,
    )
    norm = Normalize(float(np.min(measured)), float(np.max(measured)))
    maps = {"measured": measured, **predictions}
    for ax, (title, values) in zip(axes[0], maps.items(), strict=True):
        section_values = np.asarray(values, float)
        if section.slide is not None:
            section_image(section, ax)
            ax.images[-1].set_alpha(0.35)
        circles = _circles(section, ax)
        circles.set(array=section_values, cmap="viridis", norm=norm)
        ax.set_title(title)
        _zoom_to_spots(ax, section)
        ax.label_outer()
    figure.colorbar(
        circles,
        ax=axes[0].tolist(),
        label=f"{gene}, ln(1 + counts per 10⁴)",
    )
    return figure


def _circles(section: Section, ax: Axes) -> EllipseCollection:
    """Add the spots as circles of their true diameter in µm."""
    factors = section.adata.uns[SPATIAL][section.name]["scalefactors"]
    diameter_um = factors["spot_diameter_fullres"] * section.mpp
    diameters = np.full(section.n_spots, diameter_um)
    circles = EllipseCollection(
        diameters,
        diameters,
        np.zeros(section.n_spots),
        units="xy",
        offsets=section.coords_um,
        offset_transform=ax.transData,
    )
    ax.add_collection(circles)
    return circles


def _zoom_to_spots(ax: Axes, section: Section, margin_um: float = 250.0) -> None:
    """Show the spots and a little around them, y downwards, without distortion."""
    low = section.coords_um.min(axis=0) - margin_um
    high = section.coords_um.max(axis=0) + margin_um
    ax.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]))
    _label_axes(ax, section)


def _label_axes(ax: Axes, section: Section) -> None:
    """Say what the axes are."""
    ax.set(xlabel="x (µm)", ylabel="y (µm)", title=ax.get_title() or section.name)
    ax.set_aspect("equal")
