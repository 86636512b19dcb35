"""Rooms that are loaded when first used, so that an import is quick."""

__all__ = ["loaded_when_used"]

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType


def loaded_when_used(
    package: str, rooms: Sequence[str]
) -> tuple[Callable[[str], ModuleType], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package, which load and list rooms.

    Parameters
    ----------
    package
        Its name.
    rooms
        Names of the modules in it.
    """

    def load(name: str) -> ModuleType:
        """Load a room on first use.

        Raises
        ------
        AttributeError
            If there is no such room.
        """
        if name in rooms:
            return import_module(f"{package}.{name}")
        raise AttributeError(
            f"module {package!r} has no room {name!r}. Rooms: {', '.join(rooms)}."
        )

    def names() -> list[str]:
        """List the rooms, loaded or not."""
        return sorted({*vars(sys.modules[package]), *rooms})

    return load, names
