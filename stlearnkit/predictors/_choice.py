"""Several predictors as one: the best, chosen inside training, or the mean of all."""

__all__ = ["BestOf", "MeanOf", "Validated"]

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


@dataclass(frozen=True)
class MeanOf:
    r"""Fit several predictors and return the mean of what they predict.

    The mean errs less than its parts do on average, and the more so the less their
    errors have in common: predictors of different kinds may help each other more than
    as many that differ by chance alone.

    Parameters
    ----------
    parts
        Predictors of any kind.
    name
        As tables print it.

    Raises
    ------
    ValueError
        If there are no parts.

    Notes
    -----
    With predictions :math:`f_1, \dots, f_n` and their mean :math:`f`, at every spot

    .. math::
        (f - y)^2 = \frac{1}{n} \sum_i (f_i - y)^2 - \frac{1}{n} \sum_i (f_i - f)^2 ,

    so that the mean is better than the average part by how much the parts disagree.

    References
    ----------
    Krogh and Vedelsby, "Neural network ensembles, cross validation, and active
    learning", NeurIPS 1994.

    Examples
    --------
    >>> from stlearnkit.predictors import MeanPredictor, RidgePredictor
    >>> MeanOf((MeanPredictor(), RidgePredictor()), name="half a ridge").name
    'half a ridge'
    """

    parts: Sequence[Predictor]
    name: str = "the mean of several"

    def __post_init__(self) -> None:
        """Refuse the mean of nothing.

        Raises
        ------
        ValueError
            See the class.
        """
        if not self.parts:
            raise ValueError("parts is empty: give at least one predictor.")

    def fit(self, task: Task, seed: int) -> "FittedMeanOf":
        """Fit all parts.

        Parameters
        ----------
        task
            Of one fold.
        seed
            Given to each part.
        """
        return FittedMeanOf(tuple(part.fit(task, seed) for part in self.parts))


@dataclass(frozen=True, eq=False)
class FittedMeanOf:
    """The parts that `MeanOf` fitted."""

    parts: tuple[FittedPredictor, ...]

    @property
    def seen(self) -> tuple[str, ...]:
        """All sections that any part saw."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.seen))

    def predict(self, section: Section) -> Float[np.ndarray, "spots genes"]:
        """Return the mean of what the parts predict."""
        return np.mean([part.predict(section) for part in self.parts], axis=0)
