"""Predict gene expression from tissue images: a library that is also a book.

The rooms are loaded when first used, so that ``import stlearnkit`` is quick.

>>> import stlearnkit as stk
>>> stk.geometry.Affine2D.identity("C2/um", "C3/um").target
'C3/um'

`stlearnkit` is not related to the package `stLearn`, which is imported as `st`.
"""

__version__ = "0.1.0"

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = [
    "benchmark",
    "batches",
    "conventions",
    "datasets",
    "downloads",
    "encoders",
    "environment",
    "expression",
    "folds",
    "geometry",
    "graphs",
    "metrics",
    "models",
    "patches",
    "plots",
    "predictors",
    "reports",
    "sections",
    "slides",
    "stacks",
    "stains",
    "symmetries",
    "synthetic",
    "training",
]

if TYPE_CHECKING:
    from stlearnkit import (
        batches,
        benchmark,
        conventions,
        datasets,
        downloads,
        encoders,
        environment,
        expression,
        folds,
        geometry,
        graphs,
        metrics,
        models,
        patches,
        plots,
        predictors,
        reports,
        sections,
        slides,
        stacks,
        stains,
        symmetries,
        synthetic,
        training,
    )
else:

    def __getattr__(name):
        """Load a room on first use.

        Raises
        ------
        AttributeError
            If there is no such room.
        """
        if name in __all__:
            return import_module(f"stlearnkit.{name}")
        raise AttributeError(
            f"module 'stlearnkit' has no room {name!r}. Rooms: {', '.join(__all__)}."
        )

    def __dir__():
        """List the rooms, loaded or not."""
        return sorted([*globals(), *__all__])
