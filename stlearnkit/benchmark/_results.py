"""Results of a benchmark on disk, which no kill can leave half written.

Three files for each fold, predictor and seed: the scores and the predicted expression,
both Parquet, and ``.b2``, their checksums, as ``b2sum -c`` reads them. Each is written
under another name and renamed when whole, the checksums last: without them, or if they
do not fit, there is no result.
"""

__all__ = ["Results"]

import glob
import hashlib
import io
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from stlearnkit._store import replace_file

_log = logging.getLogger("stlearnkit")

_FORMAT = 2  # of the files; raise it when they change
_KINDS = ("predictions", "scores")


@dataclass(frozen=True)
class Results:
    """The folder of one benchmark."""

    folder: Path

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Compare with the settings stored here, then store both.

        Values that are mappings may gain entries, such as another predictor; what
        stands in both must be the same, if there are results of it.

        Raises
        ------
        ValueError
            If something differs, or what is stored is damaged.
        OSError
            If the folder cannot be written.
        """
        file = self.folder / "settings.json"
        wanted = json.loads(json.dumps({"format": _FORMAT, **settings}))
        stored = self._read_settings(file)
        for key, value in wanted.items():
            before = stored.get(key, value)
            if not isinstance(value, dict):
                self._require_same(key, before, value)
                continue
            before = {name: was for name, was in before.items() if self._has(key, name)}
            for name in sorted(set(before) & set(value)):
                self._require_same(f"{key} {name!r}", before[name], value[name])
            self._require_distinct(key, before, value)
            wanted[key] = {**before, **value}
        _write(file, json.dumps(wanted, indent=1, ensure_ascii=False).encode())

    def _read_settings(self, file: Path) -> dict[str, Any]:
        """Return the settings stored; none if there are no results of them.

        Raises
        ------
        ValueError
            If they are damaged.
        """
        if not file.exists() or not self._has("folds", None):
            return {}
        try:
            return dict(json.loads(file.read_text("utf-8")))
        except ValueError as error:
            raise ValueError(
                f"{file} is damaged, so that nobody knows what the results beside it "
                "are of. Choose another folder."
            ) from error

    def _has(self, key: str, name: str | None) -> bool:
        """Tell if there are results of a fold or predictor, or, without name, any."""
        part = "*" if name is None else glob.escape(_quote(name))
        folders = f"{part}/*" if key == "folds" else f"*/{part}"
        return any(self.folder.glob(f"{folders}/*.parquet"))

    def _require_distinct(
        self, what: str, before: Iterable[str], now: Iterable[str]
    ) -> None:
        """Refuse names that differ from stored ones in their case alone.

        Raises
        ------
        ValueError
            If so: on some systems they would share a folder.
        """
        stored = {name.casefold(): name for name in before}
        for name in now:
            other = stored.get(name.casefold(), name)
            if other != name:
                raise ValueError(
                    f"folder {self.folder} holds results of other settings: {what} "
                    f"{other!r} is there, now {name!r}. Names must differ in more than "
                    "their case."
                )

    def _require_same(self, what: str, before: Any, now: Any) -> None:
        """Refuse a setting that differs from the one stored.

        Raises
        ------
        ValueError
            If so.
        """
        if before != now:
            raise ValueError(
                f"folder {self.folder} holds results of other settings: {what} was "
                f"{before}, now {now}. Choose another folder, another name, or the "
                "settings of before."
            )

    def write(
        self, key: tuple[str, str, int], scores: pd.DataFrame, predicted: pd.DataFrame
    ) -> None:
        """Store the result of one fold, predictor and seed.

        Raises
        ------
        OSError
            If the folder cannot be written.
        """
        contents = {
            self._file(key, kind): _parquet(table)
            for kind, table in zip(_KINDS, (predicted, scores), strict=True)
        }
        for file, content in contents.items():
            _write(file, content)
        _write(self._checksums(key), _checksums(contents))

    def scores(self, key: tuple[str, str, int]) -> pd.DataFrame | None:
        """Return the stored scores, or None if a file is missing or damaged."""
        return self._read(key, "scores")

    def predictions(self, key: tuple[str, str, int]) -> pd.DataFrame | None:
        """Return the stored predictions, or None if a file is missing or damaged."""
        return self._read(key, "predictions")

    def _file(self, key: tuple[str, str, int], kind: str) -> Path:
        """Name a file; words are quoted, so that any name is a file name."""
        fold, predictor, seed = key
        folder = self.folder / _quote(fold) / _quote(predictor)
        return folder / f"seed_{seed}.{kind}.parquet"

    def _checksums(self, key: tuple[str, str, int]) -> Path:
        """Name the file of checksums."""
        return self._file(key, "").with_name(f"seed_{key[2]}.b2")

    def _read(self, key: tuple[str, str, int], kind: str) -> pd.DataFrame | None:
        """Read one table of a whole result; say so if the result is damaged."""
        files = [self._file(key, some) for some in _KINDS]
        expected = self._checksums(key)
        if not all(file.exists() for file in (*files, expected)):
            return None
        contents = {file: file.read_bytes() for file in files}
        if _checksums(contents) != expected.read_bytes():
            _log.warning("%s is damaged and will be computed again.", expected)
            return None
        return pd.read_parquet(io.BytesIO(contents[self._file(key, kind)]))


def _parquet(table: pd.DataFrame) -> bytes:
    """Return a table as a Parquet file."""
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()


def _checksums(contents: Mapping[Path, bytes]) -> bytes:
    """Return what ``b2sum`` prints for some files."""
    lines = [
        f"{hashlib.blake2b(content).hexdigest()}  {file.name}\n"
        for file, content in contents.items()
    ]
    return "".join(lines).encode()


def _write(file: Path, content: bytes) -> None:
    """Store a file; the final name never holds half of it.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    try:
        replace_file(file, content)
    except OSError as error:
        raise OSError(
            f"cannot write to {file.parent}: {error}. Give a folder that can be "
            "written and has room; results that are there already are kept."
        ) from error


def _quote(name: str) -> str:
    """Return a name as a folder's name, one to one."""
    return quote(name, safe=" ,()").replace(".", "%2E")
