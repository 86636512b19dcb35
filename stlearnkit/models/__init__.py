"""Models, one room each: every file holds the whole of its model.

The first is taught in the chapter "Features and the linear baseline".
"""

__all__ = ["baselines", "cnn", "attention"]

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stlearnkit.models import attention, baselines, cnn
else:

    def __getattr__(name):
        """Load a model's room on first use, as torch is slow to import.

        Raises
        ------
        AttributeError
            If there is no such room.
        """
        if name in __all__:
            return import_module(f"stlearnkit.models.{name}")
        raise AttributeError(
            f"module 'stlearnkit.models' has no room {name!r}. Rooms: "
            f"{', '.join(__all__)}."
        )
