"""Where spots of Visium lie: tables of positions, and the scale they give."""

__all__ = ["POSITIONS", "lattice_mpp", "pixels", "read_positions"]

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from stlearnkit import _tables
from stlearnkit.conventions import SectionError
from stlearnkit.geometry import Affine2D

POSITIONS = (
    "barcode",
    "in_tissue",
    "array_row",
    "array_col",
    "pxl_row_in_fullres",
    "pxl_col_in_fullres",
)
"""Columns of a table of positions, in the order of all versions."""

_MOST_STRETCH = 1.05  # images are to scale within less
_MOST_ERROR = 0.25  # of a step, root of the mean square


def read_positions(path: Path) -> pd.DataFrame:
    """Read where spots lie, as any version writes it; the index is the barcode.

    Raises
    ------
    ValueError
        If it is no such table, or a barcode stands twice.
    """
    if path.suffix == ".parquet":
        table = _read_parquet(path)
    else:
        header = _tables.read_text(path).startswith(POSITIONS[0])
        table = _tables.read_table(path, POSITIONS, sep=",", header=header)
    values = _tables.numbers(table, POSITIONS[1:], path)
    barcodes = pd.Index(table[POSITIONS[0]].astype(str), name=None)
    _tables.check_unique(barcodes, "barcodes", path)
    return pd.DataFrame(values, index=barcodes, columns=list(POSITIONS[1:]))


def _read_parquet(path: Path) -> pd.DataFrame:
    """Read the positions of Visium HD.

    Raises
    ------
    ValueError
        If the file is no such table.
    """
    try:
        return pd.read_parquet(path, columns=list(POSITIONS))
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as positions: {error}. Expected a parquet table "
            f"with the columns {list(POSITIONS)}. Fetch it again."
        ) from error


def lattice_mpp(
    positions: pd.DataFrame, step_um: Float[np.ndarray, "2"], path: Path
) -> float:
    """Return µm per px from the least-squares lattice through all spots.

    Parameters
    ----------
    positions
        As `read_positions` gives them.
    step_um
        How far apart two columns and two rows are printed.
    path
        Where the positions are from, for messages.

    Raises
    ------
    SectionError
        If they are no such lattice, turned and scaled but not stretched.
    """
    grid_um = positions[["array_col", "array_row"]].to_numpy() * step_um
    places_px = pixels(positions)
    try:
        fitted = Affine2D.fit(grid_um, places_px, source="array/um", target="array/px")
    except ValueError as error:
        message = f"{path}: its spots give no scale: {error}"
        raise SectionError(message) from error
    long, short = np.linalg.svd(fitted.matrix[:2, :2], compute_uv=False)
    off_px = np.sqrt(((fitted(grid_um) - places_px) ** 2).sum(axis=1).mean())
    if long > _MOST_STRETCH * short or off_px > _MOST_ERROR * step_um.min() * short:
        raise SectionError(
            f"{path}: the {len(positions)} spots do not lie on the lattice of this "
            f"array, columns {step_um[0]:.1f} µm and rows {step_um[1]:.1f} µm apart: "
            f"they are {off_px:.1f} px off it, and it is stretched {long:.3g} to "
            f"{short:.3g}. Check that the columns are in the order {list(POSITIONS)}."
        )
    return float(1 / np.sqrt(long * short))


def pixels(positions: pd.DataFrame) -> Float[np.ndarray, "spots 2"]:
    """Return the centres (x, y) in pixels of the full-resolution image."""
    return positions[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(float)
