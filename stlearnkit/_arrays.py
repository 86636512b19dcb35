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

import gzip
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from stlearnkit.geometry import Affine2D
from stlearnkit.sections import Section
from stlearnkit.sections._assembly import PROVENANCE
from stlearnkit.slides import Slide

_log = logging.getLogger(__name__)

_SPOT_DIAMETER_UM = 100.0


def spot_names(table: pd.DataFrame) -> pd.Index:
    """Name spots as the sources do, by their place on the array: ``XxY``."""
    places = table[["x", "y"]].round().astype(int).astype(str)
    return pd.Index(places["x"] + "x" + places["y"])


def read_spots(path: Path) -> pd.DataFrame:
    """Read a spot table: places on the array, in the image, and whether in tissue."""
    table = pd.read_csv(path, sep="\t")
    return table.set_index(spot_names(table))


def read_labels(path: Path) -> pd.Series:
    """Read what a pathologist saw; the places are off the array's by up to 0.3."""
    table = pd.read_csv(path, sep="\t").dropna(subset=["x", "y"])
    return table.set_index(spot_names(table))["label"].astype("category")


def read_counts(path: Path) -> pd.DataFrame:
    """Read a count table, spots × genes.

    The header is split by hand because pandas renames repeated columns; NumPy reads
    the numbers five times as fast.
    """
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        genes = next(lines).rstrip("\n").split("\t")[1:]
        rows = [line.partition("\t") for line in lines]
    return pd.DataFrame(
        np.array([np.fromstring(counts, np.int32, sep="\t") for *_, counts in rows]),
        index=[spot for spot, *_ in rows],
        columns=genes,
    )


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
