"""Predict gene expression from tissue images: a library that is also a book.

The rooms are loaded when first used, so that ``import stlearnkit`` is quick.

>>> import stlearnkit as stk
>>> stk.geometry.Affine2D.identity("C2/um", "C3/um").target
'C3/um'

`stlearnkit` is not related to the package `stLearn`, which is imported as `st`.
"""

__version__ = "0.1.0"

from typing import TYPE_CHECKING

__all__ = [
    "benchmark",
    "batches",
    "boundaries",
    "commands",
    "conventions",
    "course",
    "datasets",
    "downloads",
    "encoders",
    "environment",
    "expression",
    "folds",
    "geometry",
    "graphs",
    "imputation",
    "intervals",
    "landmark_sets",
    "landmarks",
    "metrics",
    "models",
    "patches",
    "plots",
    "predictors",
    "recipes",
    "registration",
    "reports",
    "sections",
    "slides",
    "stacks",
    "stains",
    "suites",
    "symmetries",
    "synthetic",
    "training",
    "volumes",
]

if TYPE_CHECKING:
    from stlearnkit import (
        batches,
        benchmark,
        boundaries,
        commands,
        conventions,
        course,
        datasets,
        downloads,
        encoders,
        environment,
        expression,
        folds,
        geometry,
        graphs,
        imputation,
        intervals,
        landmark_sets,
        landmarks,
        metrics,
        models,
        patches,
        plots,
        predictors,
        recipes,
        registration,
        reports,
        sections,
        slides,
        stacks,
        stains,
        suites,
        symmetries,
        synthetic,
        training,
        volumes,
    )
else:
    from stlearnkit._rooms import loaded_when_used

    __getattr__, __dir__ = loaded_when_used(__name__, __all__)
