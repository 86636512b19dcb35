"""Public files: where they come from, where they are kept, and that they are whole.

Every file is known by its address and by a hash, in the registry that ships with
the package. `fetch` returns a path to a verified copy: one that is on this machine
already, or else one it downloads. A file gets its name only after its content has
been verified, in one atomic step; so a download that is cut off or killed leaves
nothing behind that could be taken for the file, and two processes may fetch the
same file at once.

Taught in the chapter "What a section is".
"""

__all__ = ["RemoteFile", "data_dir", "fetch", "registry"]

import csv
import hashlib
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from uuid import uuid4

import pooch
from requests import RequestException

_log = logging.getLogger(__name__)

_VARIABLE = "STLEARNKIT_DATA"
_WAITS_S = (1.0, 2.0)  # before the second and the third attempt
_TIMEOUT_S = (5.0, 30.0)  # to connect; between two pieces
_ORPHAN_AGE_S = 3600.0  # a part not written to for so long has lost its process


@dataclass(frozen=True)
class RemoteFile:
    r"""A public file: its address, and how to tell that a copy is whole.

    Parameters
    ----------
    dataset
        Name of the dataset, the first folder of the copy.
    path
        Path within the dataset, as in its source repository.
    url
        Address to download it from.
    licence
        Terms its source states.
    n_bytes
        Size, or None if the source does not tell.
    sha256
        SHA-256 of the content in hexadecimal, or None if only `git_blob` is known.
    git_blob
        Git's blob id in hexadecimal: the SHA-1 of ``blob <n_bytes>\0`` and the
        content. Used where `sha256` is None.

    Raises
    ------
    ValueError
        If the path leaves the dataset's folder, or there is no hash.

    Examples
    --------
    >>> hello = RemoteFile("toy", "a/hello.txt", "https://example.org/hello.txt",
    ...                    git_blob="b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0")
    >>> hello.key
    'toy/a/hello.txt'
    """

    dataset: str
    path: str
    url: str
    licence: str = "not stated"
    n_bytes: int | None = None
    sha256: str | None = None
    git_blob: str | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be stored safely or verified.

        Raises
        ------
        ValueError
            See the class.
        """
        inside = PurePosixPath(self.key)
        if inside.is_absolute() or ".." in inside.parts:
            raise ValueError(
                f"path {self.key!r} leaves the data folder. Give a relative path "
                "without '..'."
            )
        if self.sha256 is None and self.git_blob is None:
            raise ValueError(
                f"{self.key} has neither sha256 nor git_blob, so a copy could not be "
                "verified. Give one of them."
            )

    @property
    def key(self) -> str:
        """The path of a copy below the data folder."""
        return f"{self.dataset}/{self.path}"

    @property
    def size(self) -> str:
        """The size in words, for messages."""
        return "size unknown" if self.n_bytes is None else f"{self.n_bytes:,} bytes"

    def fault(self, copy: Path) -> str | None:
        """Say in which way `copy` is not this file, or return None if it is."""
        n_bytes = copy.stat().st_size
        if self.sha256 is not None:
            kind, digest = "sha256", hashlib.sha256()
        else:
            header = f"blob {n_bytes}\0".encode()
            kind, digest = "git blob id", hashlib.sha1(header, usedforsecurity=False)
        expected = self.sha256 or self.git_blob
        with copy.open("rb") as content:
            found = hashlib.file_digest(content, lambda: digest).hexdigest()
        if found == expected:
            return None
        return (
            f"its {kind} is {found} ({n_bytes:,} bytes), expected {expected} "
            f"({self.size})"
        )


@lru_cache(maxsize=1)
def registry() -> Mapping[str, RemoteFile]:
    """Return every public file the library knows, by its path below the data folder.

    Examples
    --------
    >>> registry()["her2st/data/ST-cnts/C2.tsv.gz"].size
    '821,408 bytes'
    """
    table = resources.files("stlearnkit").joinpath("registry.tsv")
    with table.open(encoding="utf-8") as lines:
        files = [
            RemoteFile(
                row["dataset"],
                row["path"],
                row["url"],
                row["licence"],
                n_bytes=int(row["bytes"]) if row["bytes"] else None,
                sha256=row["sha256"] or None,
                git_blob=row["git_blob_sha1"] or None,
            )
            for row in csv.DictReader(lines, delimiter="\t")
        ]
    return MappingProxyType({file.key: file for file in files})


def data_dir() -> Path:
    """Return the folder that files are looked for in first.

    It is the one the environment variable ``STLEARNKIT_DATA`` names, laid out as
    ``<dataset>/<path in the source repository>``, else the cache of this user.
    """
    named = os.environ.get(_VARIABLE)
    return Path(named).expanduser().absolute() if named else _user_cache()


def fetch(remote: RemoteFile) -> Path:
    """Return the path of a verified copy of `remote`, downloading it where needed.

    Copies are looked for in `data_dir()`, then in the cache of this user, and hashed
    each time: 4 MB take about 10 ms. A damaged copy is named in the log and fetched
    again. A download goes to the first of the two folders that can be written to.

    Parameters
    ----------
    remote
        The file, e.g. out of `registry()`.

    Raises
    ------
    ConnectionError
        If no whole copy is at hand and none can be downloaded.
    PermissionError
        If neither folder can be written to.
    """
    copies = [folder / remote.key for folder in (data_dir(), _user_cache())]
    for copy in dict.fromkeys(copies):
        if copy.is_file():
            fault = remote.fault(copy)
            if fault is None:
                return copy
            _log.warning("%s is damaged and left aside: %s.", copy, fault)
    for copy in copies:
        if _is_writable(copy.parent):
            _download(remote, copy)
            return copy
    raise PermissionError(
        f"{remote.key} cannot be stored: neither {copies[0].parent} nor "
        f"{copies[1].parent} can be written to. Set {_VARIABLE} to a folder that can."
    )


def _user_cache() -> Path:
    """Return the folder the operating system reserves for such files."""
    return Path(pooch.os_cache("stlearnkit"))


def _is_writable(folder: Path) -> bool:
    """Tell whether files may be made in `folder`, or it in its nearest parent.

    A folder marked read-only is left alone even by root, who could write to it.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    marked = bool(existing.stat().st_mode & 0o222)
    return existing.is_dir() and marked and os.access(existing, os.W_OK)


def _download(remote: RemoteFile, target: Path) -> None:
    """Download to a part beside `target` and rename it once it is verified.

    Raises
    ------
    ConnectionError
        If no attempt brought the whole file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep_parts(target)
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    fault: str | None = None
    try:
        for wait_s in (0.0, *_WAITS_S):
            time.sleep(wait_s)
            fault = _attempt(remote, part)
            if fault is None:
                part.replace(target)
                return
            _log.info("attempt to download %s failed: %s", remote.url, fault)
    finally:
        part.unlink(missing_ok=True)
    raise ConnectionError(
        f"{remote.key} ({remote.size}) is not in {data_dir()} and cannot be downloaded "
        f"from {remote.url}. Either set {_VARIABLE} to a folder that holds it under "
        "that path, or run this once where there is a network; it is then kept in "
        f"{target.parent}. What went wrong, after {1 + len(_WAITS_S)} attempts: {fault}"
    )


def _attempt(remote: RemoteFile, part: Path) -> str | None:
    """Download once into `part`; return what went wrong, or None."""
    download = pooch.HTTPDownloader(progressbar=True, timeout=_TIMEOUT_S)
    try:
        download(remote.url, str(part), None)
    except RequestException as error:
        return f"{type(error).__name__}: {error}"
    return remote.fault(part)


def _sweep_parts(target: Path) -> None:
    """Remove the parts that killed downloads of `target` have left."""
    for part in target.parent.glob(f".{target.name}.*.part"):
        with suppress(FileNotFoundError):  # another process may sweep too
            if time.time() - part.stat().st_mtime > _ORPHAN_AGE_S:
                part.unlink()
