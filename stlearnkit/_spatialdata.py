"""The layout in which a section becomes a `SpatialData`, and the way back.

Elements of section ``C2``: image ``C2_image`` (c, y, x), circles ``C2_spots`` with
the radius of a spot, table ``table`` that annotates the circles. All are stored in
full-resolution pixels and mapped to the coordinate system ``C2`` in µm by one scale.
"""

__all__ = ["read", "write"]

from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData

from stlearnkit.conventions import SPATIAL, SectionError
from stlearnkit.slides import Slide

if TYPE_CHECKING:
    from spatialdata import SpatialData

_REGION, _SPOT = "region", "spot"  # table columns that point at the circles


def write(
    adata: AnnData, slide: Slide | None, name: str, patient: str, mpp: float
) -> "SpatialData":
    """Return the parts of a section as a `SpatialData`."""
    from spatialdata import SpatialData
    from spatialdata.models import Image2DModel, ShapesModel, TableModel
    from spatialdata.transformations import Scale

    to_um = {name: Scale([mpp, mpp], axes=("x", "y"))}
    diameter_px = adata.uns[SPATIAL][name]["scalefactors"]["spot_diameter_fullres"]
    spots = ShapesModel.parse(
        np.asarray(adata.obsm[SPATIAL], float),
        geometry=0,
        radius=diameter_px / 2,
        index=adata.obs_names,
        transformations=to_um,
    )
    table = adata.copy()
    table.uns["stlearnkit"] = {"name": name, "patient": patient}
    table.obs[_REGION] = f"{name}_spots"
    table.obs[_REGION] = table.obs[_REGION].astype("category")
    table.obs[_SPOT] = table.obs_names.to_numpy()
    elements: dict[str, Any] = {
        f"{name}_spots": spots,
        "table": TableModel.parse(
            table, region=f"{name}_spots", region_key=_REGION, instance_key=_SPOT
        ),
    }
    if slide is not None:
        image = slide.crop(0, 0, slide.width, slide.height)
        elements[f"{name}_image"] = Image2DModel.parse(
            np.moveaxis(image, 2, 0), dims=("c", "y", "x"), transformations=to_um
        )
    return SpatialData.init_from_elements(elements)


def read(data: "SpatialData") -> tuple[AnnData, Slide | None, str, str]:
    """Return the parts of the section that `write` stored.

    Raises
    ------
    SectionError
        If there is no table of that layout.
    """
    from spatialdata.models import TableModel

    if "table" not in data.tables or "stlearnkit" not in data.tables["table"].uns:
        raise SectionError(
            f"the SpatialData has tables {list(data.tables)}, expected one named "
            "'table' that Section.to_spatialdata wrote. Build the section with "
            "Section.build from its table, circles and image."
        )
    adata = data.tables["table"].copy()
    origin = adata.uns.pop("stlearnkit")
    adata.uns.pop(TableModel.ATTRS_KEY)
    adata.obs = adata.obs.drop(columns=[_REGION, _SPOT])
    name = origin["name"]
    slide = None
    if f"{name}_image" in data.images:
        pixels = np.moveaxis(data.images[f"{name}_image"].to_numpy(), 0, 2)
        mpp = float(adata.uns[SPATIAL][name]["metadata"]["mpp"])
        slide = Slide.from_array(np.ascontiguousarray(pixels), mpp)
    return adata, slide, name, origin["patient"]
