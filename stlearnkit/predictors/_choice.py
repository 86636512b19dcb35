"""The best of several predictors, chosen inside training."""

__all__ = ["BestOf", "Validated"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from stlearnkit.predictors._task import FittedPredictor, Predictor, Task
from stlearnkit.sections import Section


@runtime_checkable
class Validated(FittedPredictor, Protocol):
    """A fitted predictor that knows how well it does on training sections set aside."""

    @property
    def validation_error(self) -> float:
        """Mean squared error on sections that it did not learn its weights from."""
        ...


@dataclass(frozen=True)
class BestOf:
    """Fit several predictors and keep the one with the least validation error.

    This is how settings are chosen without the test: learning rates, sizes of patches,
    stages to freeze are candidates of one `BestOf`, and every fold chooses its own.

    Parameters
    ----------
    candidates
        Predictors that, once fitted, have a `validation_error`: networks and ridges.
    name
        As tables print it.

    Raises
    ------
    ValueError
        If there are no candidates.

    Examples
    --------
    >>> from stlearnkit.encoders import tutorial_encoder
    >>> from stlearnkit.patches import Scale
    >>> from stlearnkit.predictors import RidgePredictor
    >>> sizes = [(Scale("near", 112.0),), (Scale("wide", 560.0),)]
    >>> ridges = tuple(RidgePredictor(tutorial_encoder, scales=s) for s in sizes)
    >>> BestOf(ridges, name="ridge at its best scale").name
    'ridge at its best scale'
    """

    candidates: Sequence[Predictor]
    name: str = "the best of several"

    def __post_init__(self) -> None:
        """Refuse to choose among nothing.

        Raises
        ------
        ValueError
            See the class.
        """
        if not self.candidates:
            raise ValueError("candidates is empty: give at least one predictor.")

    def fit(self, task: Task, seed: int) -> "FittedBest":
        """Fit all candidates and return the one with the least validation error.

        Parameters
        ----------
        task
            Of one fold.
        seed
            Given to each candidate.

        Raises
        ------
        TypeError
            If a candidate does not say how well it did in validation.
        """
        fitted: list[Validated] = []
        for candidate in self.candidates:
            result = candidate.fit(task, seed)
            if not isinstance(result, Validated):
                raise TypeError(
                    f"candidate {candidate.name!r} has no validation_error to choose "
                    "by. Give networks or ridges, or add the attribute to what its "
                    "fit returns."
                )
            fitted.append(result)
        best = min(fitted, key=lambda result: result.validation_error)
        # Those that lost had a part in the choice, and so had what they saw.
        seen = dict.fromkeys(name for result in fitted for name in result.seen)
        return FittedBest(best, tuple(seen))


@dataclass(frozen=True, eq=False)
class FittedBest:
    """The candidate that `BestOf` kept, and all sections that any of them saw."""

    best: Validated
    seen: tuple[str, ...]

    @property
    def validation_error(self) -> float:
        """Mean squared error of the one kept, on training sections set aside."""
        return self.best.validation_error

    def predict(self, section: Section) -> Float[np.ndarray, "spots genes"]:
        """Return what the candidate kept predicts."""
        return self.best.predict(section)
