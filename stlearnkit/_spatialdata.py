"""The layout in which sections and stacks become a `SpatialData`, and the way back.

Elements of section ``C2``: image ``C2_image`` (c, y, x), circles ``C2_spots`` with
the radius of a spot, table ``table`` that annotates the circles. All are stored in
full-resolution pixels and mapped to the coordinate system ``C2`` in µm by one scale.

A stack has these of all its sections, with a table ``C2_table`` for each. A second
coordinate system, named as the reference frame, is reached from the pixels by the same
scale and then the map of the section. The height stands in the table: column ``z_um``.
"""

__all__ = ["Part", "read", "read_stack", "write", "write_stack"]

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from anndata import AnnData

from stlearnkit.conventions import SPATIAL, FrameError, SectionError, frame_um
from stlearnkit.geometry import Affine2D
from stlearnkit.slides import Slide

if TYPE_CHECKING:
    from spatialdata import SpatialData

_REGION, _SPOT = "region", "spot"  # table columns that point at the circles
_ORIGIN, _HEIGHT = "stlearnkit", "z_um"


class Part(NamedTuple):
    """What a section is made of."""

    adata: AnnData
    slide: Slide | None
    name: str
    patient: str


def write(part: Part, mpp: float) -> "SpatialData":
    """Return a section as a `SpatialData`."""
    from spatialdata import SpatialData
    from spatialdata.transformations import Scale

    to = {part.name: Scale([mpp, mpp], axes=("x", "y"))}
    return SpatialData.init_from_elements(_elements(part, to, "table"))


def write_stack(
    parts: Sequence[Part],
    mpp: Sequence[float],
    z_um: Sequence[float],
    to_reference: Sequence[Affine2D],
) -> "SpatialData":
    """Return a stack as one `SpatialData`.

    Raises
    ------
    SectionError
        If two names differ by no more than capitals, or a table has a column of the
        name that the heights take.
    FrameError
        If the reference frame is called as a section's coordinate system.
    """
    from spatialdata import SpatialData
    from spatialdata.transformations import Affine, Scale
    from spatialdata.transformations import Sequence as Chain

    reference = to_reference[0].target
    _check_names([part.name for part in parts], reference)
    elements: dict[str, Any] = {}
    for part, one_mpp, z, transform in zip(parts, mpp, z_um, to_reference, strict=True):
        if _HEIGHT in part.adata.obs:
            raise SectionError(
                f"the table of section {part.name!r} has a column {_HEIGHT!r}, where "
                "the height in the stack is to be written. Rename it."
            )
        to_um = Scale([one_mpp, one_mpp], axes=("x", "y"))
        move = Affine(transform.matrix, input_axes=("x", "y"), output_axes=("x", "y"))
        to = {part.name: to_um, reference: Chain([to_um, move])}
        elements |= _elements(part, to, f"{part.name}_table", (reference, float(z)))
    return SpatialData.init_from_elements(elements)


def _check_names(names: list[str], reference: str) -> None:
    """Refuse names of which elements or coordinate systems could not be told apart.

    Raises
    ------
    SectionError
        If two sections have the same name, but for capitals.
    FrameError
        If the reference has the name of a section.
    """
    lower = [name.lower() for name in names]
    if len(set(lower)) < len(lower):
        raise SectionError(
            f"names of sections are {names}, expected each once, capitals aside: the "
            "elements of a SpatialData are named after them, also as files."
        )
    if reference in names:
        raise FrameError(
            f"the reference frame is called {reference!r}, and so is the coordinate "
            f"system of that section. Call it otherwise, e.g. {frame_um(reference)!r}."
        )


def _elements(
    part: Part,
    to: dict[str, Any],
    table_name: str,
    stacked: tuple[str, float] | None = None,
) -> dict[str, Any]:
    """Return image, circles and table of a section; `stacked`: reference and height."""
    from spatialdata.models import Image2DModel, ShapesModel, TableModel

    adata, slide, name, patient = part
    diameter_px = adata.uns[SPATIAL][name]["scalefactors"]["spot_diameter_fullres"]
    spots = ShapesModel.parse(
        np.asarray(adata.obsm[SPATIAL], float),
        geometry=0,
        radius=diameter_px / 2,
        index=adata.obs_names,
        transformations=to,
    )
    table = adata.copy()
    table.uns[_ORIGIN] = {"name": name, "patient": patient}
    if stacked is not None:
        table.uns[_ORIGIN] |= {"reference": stacked[0], _HEIGHT: stacked[1]}
        table.obs[_HEIGHT] = stacked[1]
    table.obs[_REGION] = f"{name}_spots"
    table.obs[_REGION] = table.obs[_REGION].astype("category")
    table.obs[_SPOT] = table.obs_names.to_numpy()
    elements: dict[str, Any] = {
        f"{name}_spots": spots,
        table_name: TableModel.parse(
            table, region=f"{name}_spots", region_key=_REGION, instance_key=_SPOT
        ),
    }
    if slide is not None:
        image = slide.crop(0, 0, slide.width, slide.height)
        elements[f"{name}_image"] = Image2DModel.parse(
            np.moveaxis(image, 2, 0), dims=("c", "y", "x"), transformations=to
        )
    return elements


def read(data: "SpatialData") -> Part:
    """Return the parts of the section that `write` stored.

    Raises
    ------
    SectionError
        If there is no table of that layout.
    """
    if "table" not in data.tables or _ORIGIN not in data.tables["table"].uns:
        raise SectionError(
            f"the SpatialData has tables {list(data.tables)}, expected one named "
            "'table' that Section.to_spatialdata wrote. Build the section with "
            "Section.build from its table, circles and image."
        )
    return _part(data, "table")


def read_stack(
    data: "SpatialData",
) -> tuple[list[Part], tuple[float, ...], tuple[Affine2D, ...]]:
    """Return parts, heights and maps of the stack that `write_stack` stored.

    Raises
    ------
    SectionError
        If there is no table of that layout, or the way to the reference is lost.
    """
    heights = {
        name: float(table.uns[_ORIGIN][_HEIGHT])
        for name, table in data.tables.items()
        if _HEIGHT in table.uns.get(_ORIGIN, {})
    }
    if not heights:
        raise SectionError(
            f"the SpatialData has tables {list(data.tables)}, expected those of a "
            "stack that Stack.to_spatialdata wrote. One section comes back with "
            "Section.from_spatialdata."
        )
    names = sorted(heights, key=lambda name: heights[name])
    return (
        [_part(data, name) for name in names],
        tuple(heights[name] for name in names),
        tuple(_map(data, data.tables[name].uns[_ORIGIN]) for name in names),
    )


def _part(data: "SpatialData", table_name: str) -> Part:
    """Return the section that a table belongs to."""
    from spatialdata.models import TableModel

    adata = data.tables[table_name].copy()
    origin = adata.uns.pop(_ORIGIN)
    adata.uns.pop(TableModel.ATTRS_KEY)
    added = [_REGION, _SPOT, *([_HEIGHT] if _HEIGHT in origin else [])]
    adata.obs = adata.obs.drop(columns=added)
    name = str(origin["name"])
    slide = None
    if f"{name}_image" in data.images:
        pixels = np.moveaxis(data.images[f"{name}_image"].to_numpy(), 0, 2)
        mpp = float(adata.uns[SPATIAL][name]["metadata"]["mpp"])
        slide = Slide.from_array(np.ascontiguousarray(pixels), mpp)
    return Part(adata, slide, name, str(origin["patient"]))


def _map(data: "SpatialData", origin: dict[str, Any]) -> Affine2D:
    """Return the map to the reference, as the circles have it now.

    Raises
    ------
    SectionError
        If the circles, or one of their coordinate systems, are gone.
    """
    from spatialdata.transformations import get_transformation

    name, reference = str(origin["name"]), str(origin["reference"])
    circles = data.shapes.get(f"{name}_spots")
    ways = {} if circles is None else get_transformation(circles, get_all=True)
    if not {name, reference} <= set(ways):
        raise SectionError(
            f"circles '{name}_spots' have the coordinate systems {list(ways)}, "
            f"expected {name!r} and {reference!r}. Keep the circles and both systems "
            "of each section, as Stack.to_spatialdata wrote them."
        )
    axes = ("x", "y")
    there, own = (ways[end].to_affine_matrix(axes, axes) for end in (reference, name))
    matrix = there @ np.linalg.inv(own)
    matrix[2] = (0.0, 0.0, 1.0)  # rounding must not make it projective
    return Affine2D(matrix, frame_um(name), reference)
