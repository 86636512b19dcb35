"""Pieces: what a step makes, one at a time, so that no kill costs more than one.

A piece is one or several files that are made together. Beside them stands a hidden
ledger, written last: what the piece was made of, and the checksums of its files. A
piece whose ledger fits is there; any other is made.
"""

__all__ = ["Piece", "make", "plan"]

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stlearnkit._store import remove_stale, replace_file


@dataclass(frozen=True)
class Piece:
    """Files that are made together."""

    files: tuple[Path, ...]
    """In one folder."""
    of: Mapping[str, Any]
    """All that decides their content."""
    make: Callable[[], Sequence[bytes]]
    """Returns their contents."""

    @property
    def ledger(self) -> Path:
        """Where it is written down that the files are whole."""
        first = self.files[0]
        return first.with_name(f".{first.name}.made")

    @property
    def is_there(self) -> bool:
        """Whether all files are whole and made of the same."""
        try:
            contents = [file.read_bytes() for file in self.files]
            return self.ledger.read_bytes() == self._entry(contents)
        except OSError:
            return False

    def write(self) -> None:
        """Make the files; the ledger comes last.

        Raises
        ------
        OSError
            If they cannot be written.
        """
        contents = self.make()
        for file, content in zip(self.files, contents, strict=True):
            replace_file(file, content)
        replace_file(self.ledger, self._entry(contents))

    def _entry(self, contents: Sequence[bytes]) -> bytes:
        """Return the ledger of some contents."""
        sums = [blake2b(content, digest_size=16).hexdigest() for content in contents]
        names = [file.name for file in self.files]
        words = {
            "stlearnkit": version("stlearnkit"),
            "of": self.of,
            "files": dict(zip(names, sums, strict=True)),
        }
        return json.dumps(words, indent=1, ensure_ascii=False).encode()


def plan(pieces: Sequence[Piece], home: Path) -> list[str]:
    """Return a line for each piece: whether it is there or would be made."""
    return [
        f"{'is there' if piece.is_there else 'to make '}  {file.relative_to(home)}"
        for piece in pieces
        for file in piece.files
    ]


def make(pieces: Sequence[Piece], step: str) -> int:
    """Make the pieces that are not there, and return how many those were."""
    for folder in {file.parent for piece in pieces for file in piece.files}:
        remove_stale(folder)  # what a killed run left, also where all is there
    missing = [piece for piece in pieces if not piece.is_there]
    for piece in tqdm(missing, desc=step, unit="piece", disable=None):
        piece.write()
    return len(missing)
