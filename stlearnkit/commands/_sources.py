"""Where sections come from: the one place where further readers plug in."""

__all__ = ["identity", "load", "stamp"]

from collections.abc import Callable
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path

from stlearnkit import datasets, synthetic
from stlearnkit.commands._errors import JobError, SettingsError
from stlearnkit.sections import Section, read_spatialdata

_AT_ONCE = 8  # sections kept in memory, with their slides


def load(address: str, folder: Path) -> Section:
    """Return the section of an address.

    Parameters
    ----------
    address
        ``"data set:name"``, or a path to a ``.zarr`` that
        `Section.to_spatialdata` was written to.
    folder
        From where paths are seen.

    Raises
    ------
    SettingsError
        If there is no such data set or section, or the path is none of these.
    JobError
        If the section has another name than the file.
    """
    return _loaded(address, folder)


@lru_cache(_AT_ONCE)
def _loaded(address: str, folder: Path) -> Section:
    """Load a section once, as steps ask for it again and again.

    Raises
    ------
    SettingsError
        As for `load`.
    """
    source, colon, name = address.rpartition(":")
    if address.endswith(".zarr"):
        return _from_zarr(folder / address)
    if source not in _SETS or not colon:
        raise SettingsError(
            f"sections has {address!r}, expected a data set of {', '.join(_SETS)} and "
            "a name, such as 'her2st:C2', or a path that ends in .zarr, to which "
            "section.to_spatialdata().write(path) wrote."
        )
    try:
        return _SETS[source](name)
    except ValueError as error:
        raise SettingsError(f"sections has {address!r}: {error}") from error


def identity(address: str, folder: Path) -> str:
    """Return words that change when what stands at an address does."""
    path = folder / address
    if not address.endswith(".zarr") or not path.is_dir():
        return address
    return f"{address} {stamp(path)}"


def stamp(folder: Path) -> str:
    """Return a word that changes when a file of a folder does."""
    digest = blake2b(digest_size=16)
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            about = file.stat()
            place = file.relative_to(folder).as_posix()
            digest.update(f"{place} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _from_zarr(path: Path) -> Section:
    """Read a section from SpatialData.

    Raises
    ------
    SettingsError
        If there is no such folder, or it holds no section.
    JobError
        If its section has another name.
    """
    if not path.is_dir():
        raise SettingsError(
            f"sections has {path}, where no folder is. Write one with "
            "section.to_spatialdata().write(path), or correct the path."
        )
    try:
        section = read_spatialdata(path)
    except ValueError as error:
        raise SettingsError(f"sections has {path}: {error}") from error
    if section.name != path.stem:
        raise JobError(
            f"{path} holds section {section.name!r}, expected {path.stem!r}. Rename "
            f"the folder {section.name}.zarr."
        )
    return section


def _synthetic(name: str) -> Section:
    """Return a section of a small block of synthetic tissue.

    Raises
    ------
    ValueError
        If there is no such section.
    """
    block = _block()
    if name not in block:
        raise ValueError(f"synthetic tissue has sections {', '.join(block)}.")
    return block[name]


@cache
def _block() -> dict[str, Section]:
    """Grow the tissue, small enough to try every step on in seconds."""
    grown = synthetic.stack(4, n_spots=60, n_genes=100, mpp=2.0).stack.sections
    return {section.name: section for section in grown}


_SETS: dict[str, Callable[[str], Section]] = {
    "her2st": datasets.her2st,
    "mob2k": datasets.mob2k,
    "dlpfc": datasets.dlpfc,
    "st_data": datasets.st_data,
    "synthetic": _synthetic,
}
