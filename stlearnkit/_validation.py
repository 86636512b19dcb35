"""What `Section.validate` checks, one function for each kind of thing.

Every message says what was found, what was expected and what to do.
"""

__all__ = [
    "check_coords",
    "check_counts",
    "check_inside",
    "check_matrix",
    "check_spots",
]

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from stlearnkit.conventions import COUNTS, SPATIAL, SectionError
from stlearnkit.slides import Slide


def check_spots(names: pd.Index) -> None:
    """Refuse tables without spots or with repeated names.

    Raises
    ------
    SectionError
        If there are no spots or a name stands twice.
    """
    if len(names) == 0:
        raise SectionError(
            "the section has no spots. Check that spot names of counts and positions "
            "are written alike, and that not all spots were filtered out."
        )
    repeated = names[names.duplicated()]
    if len(repeated):
        raise SectionError(
            f"{len(repeated)} spot names are repeated, first: {repeated[0]!r}. "
            "Drop the copies or call adata.obs_names_make_unique()."
        )


def check_matrix(counts: Any) -> None:
    """Refuse a sparse matrix that points beyond itself: to use it is to crash.

    Raises
    ------
    SectionError
        If it does.
    """
    if not sparse.issparse(counts) or counts.format not in ("csr", "csc"):
        return
    try:
        counts.check_format(full_check=True)
    except ValueError as error:
        raise SectionError(
            f"counts is a sparse matrix that is damaged: {error}. Fetch the file that "
            "it is from again."
        ) from error


def check_counts(adata: AnnData) -> None:
    """Refuse counts that no sequencer can have given.

    Raises
    ------
    SectionError
        If counts are missing, negative, not finite or not whole.
    """
    if COUNTS not in adata.layers:
        raise SectionError(
            f"adata.layers[{COUNTS!r}] is missing. Store the raw counts there before "
            "normalising: adata.layers['counts'] = adata.X.copy()."
        )
    layer = adata.layers[COUNTS]
    values = layer.data if sparse.issparse(layer) else np.asarray(layer)
    bad = ~np.isfinite(values) | (values < 0) | (values != np.round(values))
    if bad.any():
        raise SectionError(
            f"{int(bad.sum())} entries of adata.layers[{COUNTS!r}] are not counts, "
            f"first: {values[bad].flat[0]}; expected whole numbers from 0. These look "
            "like normalised values: store the raw counts."
        )


def check_coords(adata: AnnData) -> None:
    """Refuse missing or non-finite spot centres.

    Raises
    ------
    SectionError
        If the centres are missing, not (spots, 2) or not finite.
    """
    if SPATIAL not in adata.obsm:
        raise SectionError(
            f"adata.obsm[{SPATIAL!r}] is missing. Store the spot centres (x, y) there, "
            "in full-resolution pixels."
        )
    coords = np.asarray(adata.obsm[SPATIAL])
    if coords.ndim != 2 or coords.shape[1] != 2:
        raise SectionError(
            f"adata.obsm[{SPATIAL!r}] has shape {coords.shape}, expected (spots, 2): "
            "one (x, y) per spot."
        )
    missing = ~np.isfinite(np.asarray(coords, float)).all(axis=1)
    if missing.any():
        raise SectionError(
            f"{int(missing.sum())} of {adata.n_obs} spot centres are not finite, "
            f"first: spot {adata.obs_names[missing][0]!r}. Drop these spots: "
            "adata[np.isfinite(adata.obsm['spatial']).all(axis=1)]."
        )


def check_inside(adata: AnnData, slide: Slide) -> None:
    """Refuse centres outside the image, and tell swapped axes from a wrong scale.

    Raises
    ------
    SectionError
        If a centre lies outside the image.
    """
    x, y = np.asarray(adata.obsm[SPATIAL], float).T
    outside = (x < 0) | (y < 0) | (x >= slide.width) | (y >= slide.height)
    if not outside.any():
        return
    found = (
        f"{int(outside.sum())} of {adata.n_obs} spot centres lie outside the image of "
        f"{slide.width} x {slide.height} px; first: spot "
        f"{adata.obs_names[outside][0]!r}"
    )
    swapped_fits = (y >= 0) & (x >= 0) & (y < slide.width) & (x < slide.height)
    if swapped_fits.all():
        raise SectionError(
            f"{found}. With x and y swapped all lie inside: adata.obsm['spatial'] must "
            "be (x, y), not (row, col). Use coords[:, ::-1]."
        )
    raise SectionError(
        f"{found}. Check that adata.obsm['spatial'] is in full-resolution pixels of "
        "this image, not of a thumbnail or in µm."
    )
