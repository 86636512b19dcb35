"""The simplest rule of imputation: the mean of what was measured."""

__all__ = ["ObservedMeanPredictor"]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from stlearnkit.imputation._observed import ByPatient, fit_each
from stlearnkit.predictors import Task
from stlearnkit.predictors._task import mean_profile
from stlearnkit.sections import Section


@dataclass(frozen=True)
class ObservedMeanPredictor:
    """Predict the mean profile of the patient's observed sections everywhere.

    What a single measured section says about its neighbours without image, place or
    training: the bar for imputation in three dimensions.

    Parameters
    ----------
    name
        As tables print it.
    """

    name: str = "observed mean"

    def fit(self, task: Task, seed: int) -> ByPatient:
        """Average the observed sections of each patient.

        Parameters
        ----------
        task
            Its observed sections are used, the training sections are not.
        seed
            Not used.

        Raises
        ------
        ValueError
            If no section is observed.
        """
        return fit_each(
            task,
            self.name,
            lambda observed: _Profile(mean_profile(observed, task.panel)),
        )


@dataclass(frozen=True, eq=False)
class _Profile:
    """The mean of one patient."""

    profile: Float[np.ndarray, " genes"]

    def predict(self, section: Section) -> Float[np.ndarray, "spots genes"]:
        """Return the profile once for each spot."""
        return np.tile(self.profile, (section.n_spots, 1))
