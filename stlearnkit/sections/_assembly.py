"""A section from the counts and the positions of Visium."""

__all__ = ["PROVENANCE", "Outputs", "build"]

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from stlearnkit import _hdf5, _tables
from stlearnkit.conventions import SPATIAL, SectionError
from stlearnkit.sections._positions import pixels
from stlearnkit.sections._section import Section
from stlearnkit.slides import Slide

_log = logging.getLogger(__name__)

PROVENANCE = "provenance"
"""`adata.uns` key of the record of what was settled how."""

_SMALLER = {"tissue_hires_image": "hires", "tissue_lowres_image": "lowres"}


class Outputs(NamedTuple):
    """The files of one section."""

    counts: Path
    positions: Path
    factors: Path


def build(
    files: Outputs,
    positions: pd.DataFrame,
    *,
    name: str,
    patient: str,
    mpp: float,
    spot_diameter_um: float,
    image: Path | str | None,
) -> Section:
    """Make a section of the files of Visium.

    Parameters
    ----------
    files
        Counts and scale factors; positions are given as read.
    positions
        As `read_positions` gives them; further columns are kept in `obs`.
    name, patient
        As for `Section`.
    mpp
        µm per px of the full-resolution image.
    spot_diameter_um
        For drawing.
    image
        The full-resolution image or a copy that Space Ranger made smaller, or None.

    Notes
    -----
    Kept are spots in tissue that have counts, in the order of the counts.
    """
    counts, doubled = read_tenx(files.counts)
    kept, record = _settle(counts.obs_names, positions, files)
    _log.info("%s: %s", name, {key: len(found) for key, found in record.items()})
    spots = positions.loc[kept]
    factor = 1.0 if image is None else _factor(Path(image), files.factors)
    section = Section.build(
        counts[kept].X,
        list(counts.var_names),
        list(kept),
        pixels(spots) * factor,
        name=name,
        patient=patient,
        slide=None if image is None else Slide.open(image, mpp / factor),
        mpp=mpp,
        spot_diameter_um=spot_diameter_um,
        obs=_columns(spots),
    )
    section.adata.uns[PROVENANCE] = record | {"doubled_genes": doubled}
    if image is None:
        _add_thumbnails(section, files.factors)
    return section


def _columns(spots: pd.DataFrame) -> pd.DataFrame:
    """Return what `obs` keeps of the positions, in whole numbers where they are."""
    kept = spots.drop(columns=["pxl_row_in_fullres", "pxl_col_in_fullres"])
    whole = ["in_tissue", "array_row", "array_col"]
    return kept.astype(dict.fromkeys(whole, int))


def _settle(
    barcodes: pd.Index, positions: pd.DataFrame, files: Outputs
) -> tuple[pd.Index, dict[str, list[str]]]:
    """Match counts and positions; return the spots kept, and what was left out.

    Raises
    ------
    SectionError
        If none is left.
    """
    tissue = positions.index[positions["in_tissue"] == 1]
    kept = barcodes[barcodes.isin(tissue)]
    if kept.empty:
        raise SectionError(
            f"none of {len(barcodes)} barcodes of {files.counts}, first "
            f"{[*barcodes[:1]]}, is among the {len(tissue)} in tissue of "
            f"{files.positions}, first {[*tissue[:1]]}. Take both files from one run "
            "of Space Ranger, and of one size of bins."
        )
    return kept, {
        "spots_without_counts": sorted(tissue.difference(barcodes)),
        "counts_without_spots": sorted(barcodes.difference(positions.index)),
        "counts_out_of_tissue": sorted(
            barcodes.intersection(positions.index.difference(tissue))
        ),
    }


def read_tenx(path: Path) -> tuple[AnnData, list[str]]:
    """Read counts, spots × genes; return also the symbols of several genes.

    The columns of such a symbol are added up under it.

    Raises
    ------
    ValueError
        If it is no such file.
    """
    adata = _hdf5.open_tenx(path)
    _tables.check_unique(adata.obs_names, "barcodes", path)
    names = adata.var_names
    symbols = names.unique()
    if len(symbols) == len(names):
        return adata, []
    doubled = sorted(names[names.duplicated()].unique())
    joins = sparse.csr_matrix(
        (np.ones(len(names)), (np.arange(len(names)), symbols.get_indexer(names)))
    )
    summed = sparse.csr_matrix(adata.X) @ joins
    return AnnData(summed, adata.obs, pd.DataFrame(index=symbols)), doubled


def _factor(image: Path, factors: Path) -> float:
    """Return how many pixels of `image` make one of the full-resolution image.

    Raises
    ------
    ValueError
        If it is one of the smaller copies and its scale is not stated.
    """
    copies = [size for stem, size in _SMALLER.items() if image.stem.endswith(stem)]
    return _stated_factor(factors, copies[0]) if copies else 1.0


def _stated_factor(path: Path, size: str) -> float:
    """Return the scale of a smaller copy of the image.

    Raises
    ------
    ValueError
        If it is not stated.
    """
    key = f"tissue_{size}_scalef"
    found = _tables.read_json(path).get(key)
    if not isinstance(found, int | float) or not 0 < found <= 1:
        raise ValueError(
            f"{path} states {key} {found!r}, expected a number above 0 and at most 1. "
            "Fetch it again."
        )
    return float(found)


def _add_thumbnails(section: Section, factors: Path) -> None:
    """Put the smaller copies of the image, if any, where scanpy looks for them."""
    slot: dict[str, Any] = section.adata.uns[SPATIAL][section.name]
    for stem, size in _SMALLER.items():
        copy = factors.parent / f"{stem}.png"
        if copy.is_file():
            slide = Slide.open(copy)
            slot["images"][size] = slide.crop(0, 0, slide.width, slide.height)
            slot["scalefactors"][f"tissue_{size}_scalef"] = _stated_factor(
                factors, size
            )
