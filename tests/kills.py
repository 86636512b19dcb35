"""Kills between two writes: for tests that a run stopped at any moment goes on well."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Killed(BaseException):
    """Stands for a kill: nothing in the library catches it."""


@contextmanager
def killed_after(n_writes: int) -> Iterator[None]:
    """Let so many files take their place, and kill who writes one more."""
    whole_replace = Path.replace
    writes_left = n_writes

    def replace(source: Path, target: Path) -> Path:
        nonlocal writes_left
        if writes_left == 0:
            raise Killed
        writes_left -= 1
        return whole_replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        yield
