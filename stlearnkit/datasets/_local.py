"""Files that a reader fetches himself: where they belong, and what to do without."""

__all__ = ["at_hand", "require_name"]

from collections.abc import Iterable
from pathlib import Path

from stlearnkit.downloads import data_dir, fetch, registry


def at_hand(dataset: str, path: str, source: str) -> Path:
    """Return the path of a file of a data set, verified where its hash is known.

    Nothing is downloaded that could not be verified: a file without a published hash
    must be put in its place by hand, and its reader checks that it holds together.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    key = f"{dataset}/{path}"
    if key in registry():
        return fetch(registry()[key])
    copy = data_dir() / key
    if not copy.is_file():
        raise FileNotFoundError(
            f"{key} is not in {data_dir()}. Nobody has published a hash of it, so it "
            f"is not downloaded unasked: fetch it once from {source}, to {copy}."
        )
    return copy


def require_name(name: str, names: Iterable[str], dataset: str) -> None:
    """Refuse a name that is not among `names`.

    Raises
    ------
    ValueError
        If so.
    """
    if name not in names:
        raise ValueError(
            f"name is {name!r}, but {dataset} has no such section. "
            f"Choose one of: {', '.join(names)}."
        )
