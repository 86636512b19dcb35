"""The twelve Visium sections of human cortex of Maynard et al. (2021)."""

__all__ = ["dlpfc"]

from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd

from stlearnkit import _tables
from stlearnkit.datasets._local import at_hand, require_name
from stlearnkit.downloads import registry
from stlearnkit.sections import Section
from stlearnkit.sections._assembly import PROVENANCE, Outputs, build
from stlearnkit.sections._positions import lattice_mpp, read_positions
from stlearnkit.sections._spaceranger import SPOT_UM, STEP_UM

_DONORS = MappingProxyType(
    {
        str(number): donor
        for donor, first in (("Br5292", 151507), ("Br5595", 151669), ("Br8100", 151673))
        for number in range(first, first + 4)
    }
)
_BUCKET = "https://spatial-dlpfc.s3.us-east-2.amazonaws.com"
_REPOSITORY = "https://raw.githubusercontent.com/LieberInstitute/HumanPilot/master"
_LAYERS = ["barcode", "section", "layer"]


def dlpfc(
    name: str, *, image: Literal["full", "hires", "lowres"] | None = "full"
) -> Section:
    """Load one section of human dorsolateral prefrontal cortex (Visium).

    Spots of 55 µm stand 100 µm apart. `obs` holds `array_row`, `array_col`, `in_tissue`
    and, as `label`, the cortical layer that was marked by hand: ``"L1"`` to ``"L6"`` or
    ``"WM"``, white matter; about 350 of 47,681 spots have none. Sections 151673 to
    151676 have `n_nuclei` too, the nuclei that were counted in the image.

    Parameters
    ----------
    name
        ``"151507"`` to ``"151510"``, ``"151669"`` to ``"151672"`` or ``"151673"`` to
        ``"151676"``; each four are of one donor, two pairs of neighbouring sections
        300 µm apart.
    image
        ``"full"`` for the full-resolution H&E image (0.72 µm per px), ``"hires"`` or
        ``"lowres"`` for copies of 2000 or 600 px, into whose pixels the centres of
        spots are then brought; or None.

    Raises
    ------
    ValueError
        If there is no such section, or no such image.
    FileNotFoundError
        If a file has to be fetched by hand; the message says from where.

    Notes
    -----
    Positions, layers and low-resolution images of 151673 to 151676 are downloaded and
    verified. Counts and larger images are published without a hash: they are read from
    ``dlpfc/h5/`` and ``dlpfc/images/`` of the data folder. Genes of one symbol are
    added up.

    References
    ----------
    Maynard et al. (2021), Nature Neuroscience 24:425-436; files as listed by
    github.com/LieberInstitute/HumanPilot.
    """
    require_name(name, _DONORS, "DLPFC")
    files = Outputs(
        at_hand(
            "dlpfc",
            f"h5/{name}_filtered_feature_bc_matrix.h5",
            f"{_BUCKET}/h5/{name}_filtered_feature_bc_matrix.h5",
        ),
        _from_repository(f"10X/{name}/tissue_positions_list.txt"),
        _from_repository(f"10X/{name}/scalefactors_json.json"),
    )
    positions = read_positions(files.positions)
    section = build(
        files,
        positions.join(_layers(name)).join(_nuclei(name)),
        name=name,
        patient=_DONORS[name],
        mpp=lattice_mpp(positions, STEP_UM, files.positions),
        spot_diameter_um=SPOT_UM,
        image=None if image is None else _image(name, image),
    )
    section.adata.uns[PROVENANCE]["dataset"] = "dlpfc"
    return section


def _from_repository(path: str) -> Path:
    """Return a file that stands in the authors' repository."""
    return at_hand("dlpfc", path, f"{_REPOSITORY}/{path}")


def _image(name: str, size: str) -> Path:
    """Return the image of a section in one of its sizes.

    Raises
    ------
    ValueError
        If there is no such size.
    """
    names = {
        "full": f"{name}_full_image.tif",
        "hires": f"{name}_tissue_hires_image.png",
        "lowres": f"{name}_tissue_lowres_image.png",
    }
    if size not in names:
        raise ValueError(f"image is {size!r}, expected one of {list(names)} or None.")
    verified = f"10X/{name}/tissue_lowres_image.png"
    if size == "lowres" and f"dlpfc/{verified}" in registry():
        return _from_repository(verified)
    return at_hand("dlpfc", f"images/{names[size]}", f"{_BUCKET}/images/{names[size]}")


def _layers(name: str) -> pd.Series:
    """Return the layer of each spot of a section that has one."""
    path = _from_repository("10X/barcode_level_layer_map.tsv")
    table = _tables.read_table(path, _LAYERS, sep="\t", header=False)
    rows = table[table["section"].astype(str) == name].set_index("barcode")
    _tables.check_unique(rows.index, "barcodes", path)
    return rows["layer"].rename("label").astype("category")


def _nuclei(name: str) -> pd.DataFrame:
    """Return the number of nuclei of each spot, of sections where it is published."""
    file = f"Analysis/Histology/{name}/tissue_spot_counts.csv"
    if f"dlpfc/{file}" not in registry():
        return pd.DataFrame(index=pd.Index([], dtype=object))
    path = _from_repository(file)
    table = _tables.read_table(path, ["barcode", "count"], sep=",")
    counted = _tables.numbers(table, ["count"], path)[:, 0].astype(np.int64)
    return pd.DataFrame({"n_nuclei": counted}, index=table["barcode"].to_numpy())
