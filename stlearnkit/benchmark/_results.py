"""Results of a benchmark on disk, which no kill can leave half written.

One pair of Parquet files for each fold, predictor and seed: the scores, and the
predicted expression. Files are written under another name and renamed when whole, the
scores last; both carry checksums.
"""

__all__ = ["Results"]

import io
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from stlearnkit._store import replace_file

_log = logging.getLogger("stlearnkit")

_FORMAT = 1  # of the files; raise it when they change


@dataclass(frozen=True)
class Results:
    """The folder of one benchmark."""

    folder: Path

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Compare with the settings stored here, then store both.

        Values that are mappings may gain entries, such as another predictor; what
        stands in both must be the same.

        Raises
        ------
        ValueError
            If something differs.
        OSError
            If the folder cannot be written.
        """
        file = self.folder / "settings.json"
        wanted = json.loads(json.dumps({"format": _FORMAT, **settings}))
        stored = json.loads(file.read_text()) if file.exists() else {}
        for key, value in wanted.items():
            before = stored.get(key, value)
            if not isinstance(value, dict):
                self._require_same(key, before, value)
                continue
            for name in sorted(set(before) & set(value)):
                self._require_same(f"{key} {name!r}", before[name], value[name])
            wanted[key] = {**before, **value}
        _write(file, json.dumps(wanted, indent=1, ensure_ascii=False).encode())

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
        _write(self._file(key, "predictions"), _parquet(predicted))
        _write(self._file(key, "scores"), _parquet(scores))

    def scores(self, key: tuple[str, str, int]) -> pd.DataFrame | None:
        """Return the stored scores, or None if a file is missing or damaged."""
        whole = self._read(key, "predictions") is not None
        return self._read(key, "scores") if whole else None

    def predictions(self, key: tuple[str, str, int]) -> pd.DataFrame | None:
        """Return the stored predictions, or None if they are missing or damaged."""
        return self._read(key, "predictions")

    def _file(self, key: tuple[str, str, int], kind: str) -> Path:
        """Name a file; words are quoted, so that any name is a file name."""
        fold, predictor, seed = key
        folder = self.folder / _quote(fold) / _quote(predictor)
        return folder / f"seed_{seed}.{kind}.parquet"

    def _read(self, key: tuple[str, str, int], kind: str) -> pd.DataFrame | None:
        """Read a file; say so if it is damaged."""
        from pyarrow import parquet

        file = self._file(key, kind)
        if not file.exists():
            return None
        try:
            table = parquet.read_table(file, page_checksum_verification=True)
        except (OSError, ValueError):  # what pyarrow raises for bytes that do not fit
            _log.warning("%s is damaged and will be computed again.", file)
            return None
        return table.to_pandas()


def _parquet(table: pd.DataFrame) -> bytes:
    """Return a table as a Parquet file with checksums."""
    import pyarrow as pa
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pandas(table), buffer, write_page_checksum=True)
    return buffer.getvalue()


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
