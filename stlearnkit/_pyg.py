"""PyTorch Geometric, imported without a word."""

__all__ = ["quiet_import"]

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_import() -> Iterator[None]:
    """Silence what PyTorch Geometric does at import that PyTorch calls outdated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated")
        yield
