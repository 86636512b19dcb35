"""The 68 breast tumour sections of He et al. (2020)."""

__all__ = ["st_data"]

from pathlib import Path

import pandas as pd

from stlearnkit import _tables
from stlearnkit._arrays import PROVENANCE, assemble, read_counts
from stlearnkit.datasets._local import at_hand, require_name
from stlearnkit.sections import Section

_PAGE = "https://data.mendeley.com/datasets/29ntw7sh4r"
_COLUMNS = [
    "patient",
    "replicate",
    "type",
    "histology_image",
    "spot_coordinates",
    "count_matrix",
    "tumor_annotation",
]
_FILES = _COLUMNS[3:]


def st_data(name: str, *, image: bool = True) -> Section:
    """Load one section of a breast tumour of the ST-Net cohort.

    Spots of 100 µm stand 200 µm apart. `obs` holds `array_row`, `array_col`,
    `in_tissue` and the pathologist's `label`, ``"tumor"`` or ``"non"``. The record in
    ``uns["provenance"]`` has the tumour's subtype. Genes are Ensembl identifiers.

    Parameters
    ----------
    name
        Patient and replicate as ``metadata.csv`` has them, e.g. ``"BC23287_C1"``.
    image
        Whether to load the H&E image too.

    Raises
    ------
    ValueError
        If there is no such section, or a file is not what it should be.
    FileNotFoundError
        If the data set is not at hand; the message says where it belongs.

    Notes
    -----
    The archive (68 sections of 23 patients, 273 files, 0.76 GB) is unpacked into the
    folder ``st_data`` of the data folder, so that ``st_data/metadata.csv`` is there.
    That table names the files of each section, which are not called alike. Kept are
    spots with a place in the image and with counts; µm per px is that of the array's
    own grid.

    References
    ----------
    He et al. (2020), Nature Biomedical Engineering 4:827-834; Mendeley Data,
    doi:10.17632/29ntw7sh4r.5.
    """
    metadata = _metadata()
    require_name(name, metadata.index, "ST-Data")
    row = metadata.loc[name]
    counts, places = (_file(row[key]) for key in ("count_matrix", "spot_coordinates"))
    spots = _spots(places)
    labels = _labels(_file(row["tumor_annotation"]))
    section = assemble(
        read_counts(counts),
        spots.join(labels),
        _file(row["histology_image"]) if image else None,
        name=name,
        patient=str(row["patient"]),
        dataset="st_data",
        step_um=200.0,
    )
    section.adata.uns[PROVENANCE]["subtype"] = str(row["type"])
    return section


def _metadata() -> pd.DataFrame:
    """Return the table of sections, by patient and replicate.

    Raises
    ------
    ValueError
        If it is not whole, or a name in it leads out of the folder.
    """
    path = _file("metadata.csv")
    table = _tables.read_table(path, _COLUMNS, sep=",")[_COLUMNS]
    if table.isna().to_numpy().any():
        raise ValueError(
            f"{path} has rows that break off, expected a value for each of {_COLUMNS}. "
            f"Fetch it again from {_PAGE}."
        )
    table = table.astype(str)
    table.index = pd.Index(table["patient"] + "_" + table["replicate"])
    _tables.check_unique(table.index, "sections", path)
    for file in table[_FILES].to_numpy().ravel():
        if Path(file).name != file or file == "..":
            raise ValueError(
                f"{path} names the file {file!r}, expected a name without folders. "
                f"Fetch it again from {_PAGE}."
            )
    return table


def _file(name: str) -> Path:
    """Return a file of the archive."""
    return at_hand("st_data", name, f"{_PAGE} (version 5, unpacked)")


def _spots(path: Path) -> pd.DataFrame:
    """Read the places of spots: in the image, and by their name on the array."""
    table = _tables.read_table(path, ["X", "Y"], sep=",")
    names = table.iloc[:, 0].astype(str)
    places = names.str.extract(r"^(\d+)x(\d+)$")
    x, y = _tables.numbers(places.set_axis(["x", "y"], axis=1), ["x", "y"], path).T
    pixel_x, pixel_y = _tables.numbers(table, ["X", "Y"], path).T
    index = pd.Index(names.to_numpy())
    _tables.check_unique(index, "spots", path)
    columns = {"x": x, "y": y, "new_x": x, "new_y": y}
    columns |= {"pixel_x": pixel_x, "pixel_y": pixel_y, "selected": 1}
    return pd.DataFrame(columns, index=index).astype({"x": int, "y": int})


def _labels(path: Path) -> pd.Series:
    """Read what a pathologist saw.

    Its first line has four names for five columns, and lines end as those of old Macs.

    Raises
    ------
    ValueError
        If a line has not five columns, or a spot stands twice.
    """
    text = _tables.read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    rows = [line.split("\t") for line in text.splitlines()[1:] if line.strip()]
    if not rows or {len(row) for row in rows} != {5}:
        raise ValueError(
            f"{path} has lines of {sorted({len(row) for row in rows})} columns, "
            "expected 5: spot, x, y, a number and tumor or non. Fetch it again."
        )
    table = pd.DataFrame(rows, columns=["spot", "x", "y", "number", "label"])
    x, y = _tables.numbers(table, ["x", "y"], path).round().astype(int).T
    names = pd.Index([f"{across}x{down}" for across, down in zip(x, y, strict=True)])
    _tables.check_unique(names, "spots", path)
    labels = table["label"].str.strip().replace("", None)
    return pd.Series(labels.to_numpy(), names, name="label").astype("category")
