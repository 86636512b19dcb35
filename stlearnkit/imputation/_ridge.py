"""Ridge regression learnt on the observed sections alone."""

__all__ = ["ObservedRidgePredictor"]

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from stlearnkit.encoders import Encoder, default_encoder
from stlearnkit.expression import Panel, log_normalised
from stlearnkit.imputation._observed import ByPatient, fit_each
from stlearnkit.models.baselines import FittedRidge, RidgeRegression
from stlearnkit.patches import Scale
from stlearnkit.predictors import Task
from stlearnkit.predictors._blocks import SCALES, image_blocks
from stlearnkit.sections import Section

_RIDGE = RidgeRegression()
_N_STRIPES = 4  # of equal numbers of spots, to choose the penalty with


@dataclass(frozen=True)
class ObservedRidgePredictor:
    """Predict by ridge regression on frozen features, learnt on the observed sections.

    Features are standardised within each section, since one section cannot say how
    stain differs between two. The penalty is chosen by leaving out stripes of tissue.

    Parameters
    ----------
    encoder, scales, radii_um, model
        As for `predictors.RidgePredictor`.
    name
        As tables print it.
    """

    encoder: Callable[[], Encoder] = default_encoder
    scales: tuple[Scale, ...] = SCALES
    radii_um: tuple[float, ...] = (250.0, 480.0)
    model: RidgeRegression = _RIDGE
    name: str = "ridge on observed"

    def fit(self, task: Task, seed: int) -> ByPatient:
        """Encode the observed sections and fit the ridge.

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
        """
        encoder = self.encoder()
        return fit_each(
            task,
            self.name,
            lambda observed: _Ridge(
                self._fitted(observed, task.panel, encoder), self, encoder
            ),
        )

    def _fitted(
        self, observed: tuple[Section, ...], panel: Panel, encoder: Encoder
    ) -> FittedRidge:
        """Fit the sections of one patient, each cut in stripes from left to right."""
        features, targets = [], []
        for section in observed:
            blocks = self.blocks(section, encoder)
            target = log_normalised(section, panel.genes)
            order = np.argsort(section.coords_um[:, 0], kind="stable")
            for stripe in np.array_split(order, _N_STRIPES):
                features.append([block[stripe] for block in blocks])
                targets.append(target[stripe])
        return self.model.fit(features, targets)

    def blocks(
        self, section: Section, encoder: Encoder
    ) -> list[Float[np.ndarray, "spots _"]]:
        """Return the features of a section, of mean 0 and variance 1 on it.

        Parameters
        ----------
        section
            A section with a slide.
        encoder
            What `encoder` of this predictor returns.
        """
        blocks = image_blocks(section, encoder, self.scales, self.radii_um)
        return [
            (block - block.mean(axis=0)) / block.std(axis=0).clip(min=1e-12)
            for block in blocks
        ]


@dataclass(frozen=True, eq=False)
class _Ridge:
    """The ridge of one patient."""

    model: FittedRidge
    predictor: ObservedRidgePredictor
    encoder: Encoder

    def predict(self, section: Section) -> Float[np.ndarray, "spots genes"]:
        """Encode a section and return its expression."""
        return self.model.predict(self.predictor.blocks(section, self.encoder))
