"""Arrays kept on disk so that no kill, crash or bad disk can make them wrong.

A file is a plain ``.npy``, which `numpy.load` reads, followed by a checksum. It is
written under another name and renamed when whole.
"""

__all__ = ["read", "remove_stale", "replace_file", "user_folder", "write"]

import hashlib
import io
import logging
import os
import time
from pathlib import Path
from typing import IO
from uuid import uuid4

import numpy as np
import pooch
from jaxtyping import Shaped

try:
    import fcntl
except ModuleNotFoundError:  # on Windows
    fcntl = None  # type: ignore[assignment]

_VARIABLE = "STLEARNKIT_CACHE"
_CHECKSUM_BYTES = 16
_STALE_AFTER_S = 3600.0
_HELD_AFTER_S = 2.0  # between opening a file and holding it

_log = logging.getLogger("stlearnkit")


def user_folder(kind: str) -> Path:
    """Return the folder `kind` in `STLEARNKIT_CACHE`, else in the user's cache."""
    return Path(os.environ.get(_VARIABLE) or pooch.os_cache("stlearnkit")) / kind


def read(file: Path) -> Shaped[np.ndarray, "..."] | None:
    """Return what `write` stored, or None, saying so, if it is not there or damaged."""
    try:
        stored = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    content, checksum = stored[:-_CHECKSUM_BYTES], stored[-_CHECKSUM_BYTES:]
    if checksum != _checksum(content):
        _log.warning("%s is damaged and will be computed again.", file)
        return None
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except ValueError:  # no array, or one of objects, which are never unpickled
        _log.warning("%s is no plain array and will be computed again.", file)
        return None


def write(file: Path, array: Shaped[np.ndarray, "..."]) -> None:
    """Store an array; the final name never holds half a file.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    content = buffer.getvalue()
    try:
        replace_file(file, content + _checksum(content))
    except OSError as error:
        raise OSError(
            f"cannot write to {file.parent}: {error}. Set {_VARIABLE} to a folder "
            "that can be written and has room."
        ) from error


def replace_file(file: Path, content: bytes) -> None:
    """Write a file under another name and rename it when it is whole.

    Raises
    ------
    OSError
        If it cannot be written; what the file held before, it still holds.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(file.parent)
    unfinished = file.with_name(f"{file.stem}.{uuid4().hex}.tmp")
    try:
        with unfinished.open("wb") as stream:
            _try_lock(stream)  # a killed process loses it: that is how one knows
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            if fcntl is not None:
                unfinished.replace(file)
        if fcntl is None:  # Windows renames no open file
            unfinished.replace(file)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def _checksum(content: bytes) -> bytes:
    """Return the hash that a file ends with."""
    return hashlib.blake2b(content, digest_size=_CHECKSUM_BYTES).digest()


def remove_stale(folder: Path) -> None:
    """Remove what killed processes left; what a running one writes is held or young."""
    for leftover in folder.glob(f"*.{'?' * 32}.tmp"):  # others' files are not ours
        try:
            age_s = time.time() - leftover.stat().st_mtime
            if age_s > _STALE_AFTER_S or (
                age_s > _HELD_AFTER_S and _is_let_go(leftover)
            ):
                leftover.unlink()
        except FileNotFoundError:
            continue  # another process was quicker


def _is_let_go(unfinished: Path) -> bool:
    """Tell whether no process holds a file any more."""
    with unfinished.open("rb") as stream:
        return _try_lock(stream)


def _try_lock(stream: IO[bytes]) -> bool:
    """Hold an open file until it is closed, if that can be done here and now."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by another process, or the disk knows no locks
        return False
    return True
