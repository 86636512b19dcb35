"""What was observed, patient by patient."""

__all__ = ["ByPatient", "fit_each", "spot_weights"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from stlearnkit.predictors import Task
from stlearnkit.sections import Section


@runtime_checkable
class OfPatient(Protocol):
    """What is fitted on the observed sections of one patient."""

    def predict(self, section: Section) -> Float[np.ndarray, "spots genes"]:
        """Return the expression of another section of that patient."""
        ...


@dataclass(frozen=True, eq=False)
class ByPatient:
    """What an imputing predictor fitted, for each patient by itself."""

    seen: tuple[str, ...]
    fitted: Mapping[str, OfPatient]

    def predict(self, section: Section) -> Float[np.ndarray, "spots genes"]:
        """Return the expression of a section of a patient with observed sections.

        Raises
        ------
        ValueError
            If no section of that patient was observed.
        RegistrationError
            If the section cannot be aligned to those observed, where that is needed.
        """
        if section.patient not in self.fitted:
            raise ValueError(
                f"no section of patient {section.patient!r} was observed, only of "
                f"{list(self.fitted)}: section {section.name!r} cannot be imputed."
            )
        return self.fitted[section.patient].predict(section)


def fit_each(
    task: Task, name: str, fit: Callable[[tuple[Section, ...]], OfPatient]
) -> ByPatient:
    """Fit the observed sections of each patient by themselves.

    Raises
    ------
    ValueError
        If no section is observed.
    """
    if not task.observed:
        raise ValueError(
            f"the task of {name!r} has no observed section. Use it with folds of "
            "folds.observed_section."
        )
    patients = dict.fromkeys(section.patient for section in task.observed)
    fitted = {
        patient: fit(tuple(s for s in task.observed if s.patient == patient))
        for patient in patients
    }
    return ByPatient(tuple(section.name for section in task.observed), fitted)


def spot_weights(section: Section, counting: float) -> Float[np.ndarray, " spots"]:
    """Return how much each spot tells, by its number of transcripts.

    With a noise of counting that is `counting` times the rest in the median spot.
    """
    totals = section.total_counts()
    return 1 / (1 + counting * np.median(totals) / totals)
