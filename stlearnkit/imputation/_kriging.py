"""Kriging from the observed sections: what looks alike and what lies near, in one."""

__all__ = ["KrigingImputer"]

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from stlearnkit.encoders import Encoder, default_encoder
from stlearnkit.expression import Panel, log_normalised
from stlearnkit.imputation._observed import ByPatient, fit_each
from stlearnkit.imputation._placement import Placement
from stlearnkit.models.kriging import FittedKriging, Kriging
from stlearnkit.patches import Scale
from stlearnkit.predictors import Task
from stlearnkit.predictors._blocks import SCALES, image_blocks
from stlearnkit.sections import Section

_ALIGNED, _KRIGING = Placement(), Kriging()


@dataclass(frozen=True)
class KrigingImputer:
    """Predict by Gaussian-process regression on image and aligned place.

    Parameters
    ----------
    encoder, scales, radii_um
        As for `predictors.RidgePredictor`.
    model
        The kernels of image and place, and the noises to choose from: ``place=0`` for
        the image alone, ``image=0`` for smoothing over places alone.
    placement
        How sections are laid upon each other.
    name
        As tables print it.
    """

    encoder: Callable[[], Encoder] = default_encoder
    scales: tuple[Scale, ...] = SCALES
    radii_um: tuple[float, ...] = (250.0, 480.0)
    model: Kriging = _KRIGING
    placement: Placement = _ALIGNED
    name: str = "kriging, image and place"

    def fit(self, task: Task, seed: int) -> ByPatient:
        """Encode and place the observed sections, and fit.

        Parameters
        ----------
        task
            Its observed sections are used, with slides; the training sections are not.
        seed
            Not used: nothing here is drawn.

        Raises
        ------
        ValueError
            If no section is observed.
        RegistrationError
            If observed sections cannot be aligned to each other.
        """
        encoder = self.encoder()
        return fit_each(
            task,
            self.name,
            lambda observed: _Kriged(
                self._fitted(observed, task.panel, encoder), self, encoder, observed[0]
            ),
        )

    def _fitted(
        self, observed: tuple[Section, ...], panel: Panel, encoder: Encoder
    ) -> FittedKriging:
        """Fit the sections of one patient, in the frame of the first."""
        return self.model.fit(
            [self.blocks(section, encoder) for section in observed],
            [log_normalised(section, panel.genes) for section in observed],
            transcripts=[section.total_counts() for section in observed],
            places_um=[
                self.placement.places_um(observed[0], section) for section in observed
            ],
        )

    def blocks(
        self, section: Section, encoder: Encoder
    ) -> list[Float[np.ndarray, "spots _"]]:
        """Return the features of a section at all scales, and their means over discs.

        Parameters
        ----------
        section
            A section with a slide.
        encoder
            What `encoder` of this predictor returns.
        """
        return image_blocks(section, encoder, self.scales, self.radii_um)


@dataclass(frozen=True, eq=False)
class _Kriged:
    """The fit of one patient."""

    model: FittedKriging
    imputer: KrigingImputer
    encoder: Encoder
    reference: Section

    def predict(self, section: Section) -> Float[np.ndarray, "spots genes"]:
        """Encode and place a section, and return its expression."""
        return self.model.predict(
            self.imputer.blocks(section, self.encoder),
            self.imputer.placement.places_um(self.reference, section),
        )
