"""HDF5 files from anywhere: looked at before anything is read into memory."""

__all__ = ["open_h5ad", "open_tenx"]

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stlearnkit._tables import check_unpacked, require_file

if TYPE_CHECKING:
    from anndata import AnnData

_PIECE = 2**24  # indices looked at together


def open_tenx(path: Path) -> "AnnData":
    """Read the counts of genes from a ``…_feature_bc_matrix.h5`` of 10x Genomics.

    Raises
    ------
    ValueError
        If it is no such file, is damaged, or unpacks to far too much.
    """
    import scanpy

    def read(path: Path) -> "AnnData":
        _check_tenx(path)
        return scanpy.read_10x_h5(path)

    expected = "counts as Space Ranger writes them, e.g. filtered_feature_bc_matrix.h5"
    return _read(path, read, expected)


def open_h5ad(path: Path) -> "AnnData":
    """Read an ``.h5ad`` file of AnnData.

    Raises
    ------
    ValueError
        If it is no such file, is damaged, or unpacks to far too much.
    """
    from anndata import read_h5ad

    return _read(path, read_h5ad, "an AnnData as adata.write_h5ad writes it")


def _check_tenx(path: Path) -> None:
    """Refuse counts that point beyond themselves: to slice them is to crash.

    Raises
    ------
    ValueError
        If they do, or parts are missing.
    """
    import h5py

    with h5py.File(path, "r") as file:
        if "matrix" not in file:
            raise ValueError(f"it has the groups {list(file)}, not 'matrix'")
        matrix = file["matrix"]
        genes, spots = (int(size) for size in matrix["shape"][:])
        starts, indices = matrix["indptr"][:], matrix["indices"]
        lengths = {
            "barcodes": (len(matrix["barcodes"]), spots),
            "features/id": (len(matrix["features/id"]), genes),
            "indptr": (len(starts), spots + 1),
            "data": (len(matrix["data"]), int(starts[-1])),
            "indices": (len(indices), int(starts[-1])),
        }
        for part, (found, expected) in lengths.items():
            if found != expected:
                raise ValueError(f"{part} has {found} entries, expected {expected}")
        inside = all(
            piece.min() >= 0 and piece.max() < genes
            for start in range(0, len(indices), _PIECE)
            if len(piece := indices[start : start + _PIECE])
        )
        if starts[0] != 0 or (np.diff(starts) < 0).any() or not inside:
            raise ValueError(f"its counts point beyond {genes} genes and {spots} spots")


def _read(path: Path, read: Any, expected: str) -> "AnnData":
    """Read a file once it is known not to burst.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    require_file(path, "HDF5 file")
    try:
        n_bytes = _unpacked_bytes(path)
        check_unpacked(path, n_bytes)
        with warnings.catch_warnings():  # what stands twice, the caller settles
            warnings.filterwarnings("ignore", ".* names are not unique")
            return read(path)
    except Exception as error:
        if str(path) in str(error) and isinstance(error, ValueError):
            raise
        raise ValueError(
            f"{path} cannot be read: {type(error).__name__}: {error}. Expected "
            f"{expected}. Check that it is the right file, and whole."
        ) from error


def _unpacked_bytes(path: Path) -> int:
    """Return how much memory all arrays of a file would take."""
    import h5py

    sizes: list[int] = []

    def measure(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            sizes.append(int(item.size or 0) * item.dtype.itemsize)

    with h5py.File(path, "r") as file:
        file.visititems(measure)
    return sum(sizes)
