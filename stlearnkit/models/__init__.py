"""Models, one room each: every file holds the whole of its model.

The first is taught in the chapter "Features and the linear baseline".
"""

__all__ = [
    "asign",
    "attention",
    "baselines",
    "cnn",
    "kriging",
    "propagation",
    "triplex",
]

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stlearnkit.models import (
        asign,
        attention,
        baselines,
        cnn,
        kriging,
        propagation,
        triplex,
    )
else:  # torch is slow to import
    from stlearnkit._rooms import loaded_when_used

    __getattr__, __dir__ = loaded_when_used(__name__, __all__)
