"""Tables of Spatial Transcriptomics arrays: how they are read and made a section.

Such an array prints its spots on a known grid. The tables name a spot by its place
on that grid, ``XxY``; the grid's known pitch gives the image its scale.

What a published table leaves open is settled here, by the rules that `assemble`
states.
"""

__all__ = [
    "PROVENANCE",
    "assemble",
    "read_counts",
    "read_labels",
    "read_spots",
    "spot_names",
]

import logging
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Real

from stlearnkit._tables import check_unique, numbers, read_table, read_text
from stlearnkit.geometry import Affine2D
from stlearnkit.sections import Section
from stlearnkit.sections._assembly import PROVENANCE
from stlearnkit.slides import Slide

_log = logging.getLogger(__name__)

_SPOT_DIAMETER_UM = 100.0
_PLACES = ["x", "y", "new_x", "new_y", "pixel_x", "pixel_y", "selected"]


def spot_names(table: pd.DataFrame) -> pd.Index:
    """Name spots as the sources do, by their place on the array: ``XxY``."""
    places = table[["x", "y"]].round().astype(int).astype(str)
    return pd.Index(places["x"] + "x" + places["y"])


def read_spots(path: Path) -> pd.DataFrame:
    """Read a spot table: places on the array, in the image, and whether in tissue.

    Raises
    ------
    ValueError
        If it is no such table.
    """
    table = read_table(path, _PLACES, sep="\t")
    table[_PLACES] = numbers(table, _PLACES, path)
    names = spot_names(table)
    check_unique(names, "spots", path)
    return table.set_index(names)


def read_labels(path: Path) -> pd.Series:
    """Read what a pathologist saw; the places are off the array's by up to 0.3.

    Raises
    ------
    ValueError
        If it is no such table.
    """
    table = read_table(path, ["x", "y", "label"], sep="\t").dropna(subset=["x", "y"])
    table[["x", "y"]] = numbers(table, ["x", "y"], path)
    names = spot_names(table)
    check_unique(names, "spots", path)
    return table.set_index(names)["label"].astype("category")


def read_counts(path: Path) -> pd.DataFrame:
    """Read a count table, spots × genes.

    The header is split by hand because pandas renames repeated columns; NumPy reads
    the numbers five times as fast.

    Raises
    ------
    ValueError
        If it is no such table.
    """
    header, *lines = read_text(path).removesuffix("\n").split("\n")
    genes = header.rstrip("\r").split("\t")[1:]
    rows = [line.partition("\t") for line in lines]
    spots = pd.Index([spot for spot, *_ in rows])
    check_unique(spots, "spots", path)
    counts = [_whole(text, len(genes), spot, path) for spot, _, text in rows]
    if not genes or not counts:
        raise ValueError(
            f"{path} has {len(counts)} spots and {len(genes)} genes, expected one of "
            "each or more: genes in the first line, then a line for each spot, "
            "separated by tabs. Check that it is the right file."
        )
    return pd.DataFrame(np.array(counts), index=spots, columns=genes)


def _whole(text: str, n_genes: int, spot: str, path: Path) -> Int[np.ndarray, " genes"]:
    """Return the counts in one line.

    Raises
    ------
    ValueError
        If they are not whole numbers, or not one for each gene.
    """
    values = _numbers(text)
    if len(values) != n_genes or not _are_counts(values):
        raise ValueError(
            f"{path}: the line of spot {spot!r} holds {text[:40]!r}…, expected "
            f"{n_genes} counts, whole numbers from 0 separated by tabs. Check that it "
            "is a table of raw counts, and whole."
        )
    return values.astype(np.int32)


def _numbers(text: str) -> Real[np.ndarray, " values"]:
    """Return the numbers of a line, none if one is no number."""
    for kind in (np.int64, np.float64):  # the first is twice as fast
        with suppress(DeprecationWarning, ValueError), warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # of what is no number
            return np.fromstring(text, kind, sep="\t")
    return np.empty(0)


def _are_counts(values: Real[np.ndarray, " genes"]) -> bool:
    """Tell whether all are whole numbers from 0 that fit into 32 bits."""
    fit = (values >= 0) & (values <= np.iinfo(np.int32).max)
    return bool((fit & (values == np.round(values))).all())


def _sum_doubled(counts: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Add up the columns of one gene; return the table and the genes concerned.

    Columns are of one gene if they have one name, or if one is the other's with
    ``.1``, ``.2`` … behind it, as tables are written that must not repeat a name.
    """
    names = counts.columns
    stems = names.str.replace(r"\.\d+$", "", regex=True)
    genes = names.where(~stems.isin(names), stems)
    doubled = genes[genes.duplicated()].unique()
    if doubled.empty:
        return counts, []
    first = ~genes.duplicated()
    summed = counts.loc[:, first].set_axis(genes[first], axis=1)
    for gene in doubled:
        summed[gene] = counts.loc[:, genes == gene].sum(axis=1)
    return summed, sorted(doubled)


def _mpp(spots: pd.DataFrame, step_um: float, name: str) -> float:
    """Return µm per px from the least-squares grid through the spots."""
    grid = Affine2D.fit(
        spots[["new_x", "new_y"]].to_numpy(float),
        _pixels(spots),
        source=f"{name}/array",
        target=f"{name}/px",
    )
    return step_um / abs(grid.area_scale) ** 0.5


def _pixels(spots: pd.DataFrame) -> Float[np.ndarray, "spots 2"]:
    """Return the spot centres (x, y) in pixels of the image."""
    return spots[["pixel_x", "pixel_y"]].to_numpy(float)


def _settle(
    counts: pd.DataFrame, spots: pd.DataFrame, *, name: str, dataset: str
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Match counts and spots; return both in one order, and what was settled how."""
    counts, doubled = _sum_doubled(counts)
    in_tissue = spots["selected"] == 1
    tissue = spots[in_tissue]
    kept = tissue[tissue.index.isin(counts.index)]
    record = {
        "spots_without_counts": sorted(tissue.index.difference(counts.index)),
        "counts_without_spots": sorted(counts.index.difference(spots.index)),
        "spots_out_of_tissue": sorted(spots.index[~in_tissue]),
        "doubled_genes": doubled,
    }
    found = ", ".join(f"{len(names)} {kind}" for kind, names in record.items())
    _log.info("%s %s: %s", dataset, name, found.replace("_", " "))
    return counts.loc[kept.index], kept, {"dataset": dataset, **record}


def assemble(
    counts: pd.DataFrame,
    spots: pd.DataFrame,
    image: Path | None,
    *,
    name: str,
    patient: str,
    dataset: str,
    step_um: float,
) -> Section:
    """Make a section of the tables of an array.

    Parameters
    ----------
    counts
        As `read_counts` gives them.
    spots
        As `read_spots` gives them; a column `label` is kept.
    image
        The H&E image, or None to do without.
    name, patient
        As for `Section`.
    dataset
        Where it is from, for the record.
    step_um
        Distance of two places whose numbers on the array differ by 1 along an axis.

    Notes
    -----
    Kept are spots that are selected as tissue and have counts, in the order of
    `spots`. Columns of one gene are added up. `adata.uns["provenance"]` lists the
    selected spots without counts, the counts that belong to no spot of the array,
    the spots out of tissue, and the genes that had several columns.
    """
    mpp = _mpp(spots, step_um, name)
    counts, spots, record = _settle(counts, spots, name=name, dataset=dataset)
    obs = pd.DataFrame(
        {"in_tissue": 1, "array_row": spots["y"], "array_col": spots["x"]},
        index=spots.index,
    )
    section = Section.build(
        counts.to_numpy(),
        list(counts.columns),
        list(counts.index),
        _pixels(spots),
        name=name,
        patient=patient,
        slide=None if image is None else Slide.open(image, mpp),
        mpp=mpp,
        spot_diameter_um=_SPOT_DIAMETER_UM,
        obs=obs.join(spots[["label"]]) if "label" in spots else obs,
    )
    section.adata.uns[PROVENANCE] = record
    return section
