"""What a predictor is given, and what it must be able to do."""

__all__ = ["FittedPredictor", "Predictor", "Task", "mean_profile", "require_training"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from stlearnkit.expression import Panel, log_normalised
from stlearnkit.folds import Fold
from stlearnkit.sections import Section


@dataclass(frozen=True, eq=False)
class Task:
    """All that a predictor may learn from in one fold.

    Parameters
    ----------
    train
        Training sections, with their counts.
    observed
        Measured sections of the patients to be tested, with their counts; often none.
    panel
        The genes to predict, in the order of the columns.
    inner
        Splits of the training sections, to choose settings with; see
        `folds.inner_folds`.
    """

    train: tuple[Section, ...]
    observed: tuple[Section, ...]
    panel: Panel
    inner: tuple[Fold, ...] = ()


@runtime_checkable
class FittedPredictor(Protocol):
    """What `Predictor.fit` returns."""

    @property
    def seen(self) -> tuple[str, ...]:
        """Names of all sections that had a part in the fit, also by choosing it."""
        ...

    def predict(self, section: Section) -> Float[np.ndarray, "spots genes"]:
        """Return the expression of a section, genes in the order of the panel.

        Parameters
        ----------
        section
            Spots and slide; in a benchmark, without counts.
        """
        ...


@runtime_checkable
class Predictor(Protocol):
    """A competitor: a frozen dataclass with a name and its settings serves best."""

    @property
    def name(self) -> str:
        """Name of the competitor, as tables print it."""
        ...

    def fit(self, task: Task, seed: int) -> FittedPredictor:
        """Learn from the training sections of a fold.

        Parameters
        ----------
        task
            What may be learnt from.
        seed
            Of all chance; the same seed gives the same predictions.
        """
        ...


def mean_profile(
    sections: Sequence[Section], panel: Panel
) -> Float[np.ndarray, " genes"]:
    """Return the mean expression of all spots of some sections."""
    targets = [log_normalised(section, panel.genes) for section in sections]
    return np.concatenate(targets).mean(axis=0)


def require_training(task: Task, name: str, n_sections: int) -> None:
    """Refuse tasks with too few training sections.

    Raises
    ------
    ValueError
        If so.
    """
    if len(task.train) < n_sections:
        raise ValueError(
            f"the task of {name!r} has {len(task.train)} training section(s), expected "
            f"at least {n_sections}. Use folds with more, or leave this one out."
        )
