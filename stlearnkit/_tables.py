"""Text of files from anywhere: read whole, or refused in one sentence.

A file may be cut off, packed so as to burst, or not what its name says. Every message
names the file, what was found in it, what was expected, and what to do.
"""

__all__ = [
    "check_unique",
    "check_unpacked",
    "numbers",
    "read_json",
    "read_table",
    "read_text",
    "require_file",
]

import gzip
import io
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

_FREE_BYTES = 2**26  # what unpacks to less than this cannot hurt
_MOST_TIMES = 200  # tables of counts, mostly zeros, are packed 10 to 50 times
_PIECE_BYTES = 2**20


def require_file(path: Path, what: str, advice: str = "Check the path.") -> Path:
    """Return `path` if there is such a file.

    Raises
    ------
    FileNotFoundError
        If not.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {what} at {path}. {advice}")
    return path


def check_unpacked(path: Path, n_bytes: int, most_times: int = _MOST_TIMES) -> None:
    """Refuse a file that says so much more than it holds that it must be a trap.

    Raises
    ------
    ValueError
        If its content takes more than 64 MiB and `most_times` the file.
    """
    packed = path.stat().st_size
    if n_bytes > max(_FREE_BYTES, most_times * packed):
        raise ValueError(
            f"{path} has {packed:,} bytes and unpacks to {n_bytes:,} or more, expected "
            f"at most {most_times} times as many. It is damaged, or made to fill the "
            "memory: fetch it again from its source."
        )


def read_text(path: Path) -> str:
    """Return the text of a file, unpacked if its name ends in ``.gz``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, empty, no text, or unpacks to far too much.
    """
    require_file(path, "file")
    try:
        content = _unpacked(path) if path.suffix == ".gz" else path.read_bytes()
        text = content.decode("utf-8-sig")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is damaged or not complete: {error}. Fetch it again."
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8: {error.reason} at byte {error.start}. Check "
            "that it is the right file, or save it as UTF-8."
        ) from error
    if not text.strip():
        raise ValueError(f"{path} is empty, expected a text. Fetch it again.")
    return text


def _unpacked(path: Path) -> bytes:
    """Unpack a file piece by piece, and stop before it fills the memory."""
    pieces, n_bytes = [], 0
    with gzip.open(path) as packed:
        while piece := packed.read(_PIECE_BYTES):
            n_bytes += len(piece)
            check_unpacked(path, n_bytes)
            pieces.append(piece)
    return b"".join(pieces)


def read_table(
    path: Path, columns: Sequence[str], *, sep: str, header: bool = True
) -> pd.DataFrame:
    """Read a table of text that has `columns`.

    Parameters
    ----------
    path
        The file, perhaps packed as ``.gz``.
    columns
        Names that must be in its first line; or, without one, the names of all its
        columns in their order.
    sep
        What stands between two values.
    header
        Whether the first line holds names.

    Raises
    ------
    ValueError
        If it is no such table.
    """
    text = read_text(path)
    try:
        table = pd.read_csv(
            io.StringIO(text),
            sep=sep,
            header=0 if header else None,
            index_col=False,
            low_memory=False,
        )
    except ValueError as error:
        raise ValueError(
            f"{path} is no table: {error}. Expected columns {list(columns)}, "
            f"separated by {sep!r}. Check that it is the right file, and whole."
        ) from error
    return _with_columns(table, columns, path, header=header)


def _with_columns(
    table: pd.DataFrame, columns: Sequence[str], path: Path, *, header: bool
) -> pd.DataFrame:
    """Return a table that has `columns` and rows.

    Raises
    ------
    ValueError
        If it has not.
    """
    if not header and table.shape[1] == len(columns):
        table = table.set_axis(list(columns), axis=1)
    missing = [column for column in columns if column not in table]
    if missing:
        found = list(table.columns) if header else table.shape[1]
        raise ValueError(
            f"{path} has the columns {found}, expected {list(columns)}: {missing} "
            "missing. Check that it is the right file, and its separator."
        )
    if table.empty:
        raise ValueError(f"{path} has no rows below its names. Fetch it again.")
    return table


def numbers(
    table: pd.DataFrame, columns: Sequence[str], path: Path
) -> Float[np.ndarray, "values columns"]:
    """Return columns of a table as finite numbers.

    Raises
    ------
    ValueError
        If a value is none.
    """
    found = table[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    rows, at = np.nonzero(~np.isfinite(found))
    if len(rows):
        value = table[columns[at[0]]].iloc[rows[0]]
        raise ValueError(
            f"{path}: {len(rows)} values of {list(columns)} are not finite numbers, "
            f"first {str(value)!r} of column {columns[at[0]]!r} in row {rows[0] + 1}. "
            "Check that the columns stand under their names."
        )
    return found


def check_unique(names: pd.Index, what: str, path: Path) -> None:
    """Refuse names that stand twice.

    Raises
    ------
    ValueError
        If one does.
    """
    repeated = names[names.duplicated()]
    if len(repeated):
        raise ValueError(
            f"{path}: {len(repeated)} {what} stand more than once, first "
            f"{repeated[0]!r}, expected each once. Fetch the file again, or drop the "
            "copies."
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of names and values.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        content = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no JSON: {error}. Fetch it again, or check what wrote it."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, expected names and values, "
            '{"name": value}. Check that it is the right file.'
        )
    return content
