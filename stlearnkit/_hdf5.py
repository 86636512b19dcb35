"""HDF5 files from anywhere: looked at before anything is read into memory."""

__all__ = ["open_h5ad", "open_tenx"]

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stlearnkit._tables import check_unpacked, require_file

if TYPE_CHECKING:
    from anndata import AnnData


def open_tenx(path: Path) -> "AnnData":
    """Read the counts of genes from a ``…_feature_bc_matrix.h5`` of 10x Genomics.

    Raises
    ------
    ValueError
        If it is no such file, is damaged, or unpacks to far too much.
    """
    import scanpy

    def read(path: Path) -> "AnnData":
        with warnings.catch_warnings():  # genes of one symbol are settled by the caller
            warnings.filterwarnings("ignore", "Variable names are not unique")
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
