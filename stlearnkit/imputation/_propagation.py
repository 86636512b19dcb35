"""Propagating expression from observed spots to those that lie near and look alike."""

__all__ = ["PropagationPredictor"]

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from stlearnkit.encoders import Encoder, default_encoder
from stlearnkit.expression import Panel, log_normalised
from stlearnkit.graphs import StackGraph
from stlearnkit.imputation._observed import ByPatient, fit_each, spot_weights
from stlearnkit.imputation._placement import Placement
from stlearnkit.models.propagation import harmonic
from stlearnkit.patches import Scale
from stlearnkit.predictors import Task
from stlearnkit.predictors._blocks import SCALES, image_blocks
from stlearnkit.sections import Section

_ALIGNED = Placement()


@dataclass(frozen=True)
class PropagationPredictor:
    """Predict by label propagation across sections, with nothing trained.

    Spots are joined by footprints that overlap, and count by that overlap, by how alike
    the image is, and by how many transcripts were found in them. With one observed
    section this is a mean over its spots around; with several, too, as all are known.

    Parameters
    ----------
    encoder, scales, radii_um
        As for `predictors.RidgePredictor`.
    diameter_um
        Of the footprints; see `graphs.StackGraph`. Far above that of the spots: a
        single spot is noisy, and a mean over many is not.
    likeness
        Power of the cosine of features, standardised within each section: 0 goes by
        place alone.
    counting
        As for `models.kriging.Kriging`.
    placement
        How sections are laid upon each other.
    name
        As tables print it.

    Raises
    ------
    ValueError
        If a number cannot be meant.
    """

    encoder: Callable[[], Encoder] = default_encoder
    scales: tuple[Scale, ...] = SCALES
    radii_um: tuple[float, ...] = (250.0, 480.0)
    diameter_um: float = 1000.0
    likeness: float = 2.0
    counting: float = 0.5
    placement: Placement = _ALIGNED
    name: str = "label propagation"

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant.

        Raises
        ------
        ValueError
            See the class.
        """
        if not 0 < self.diameter_um < np.inf:
            raise ValueError(f"diameter_um is {self.diameter_um}, expected above 0.")
        for name in ("likeness", "counting"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, expected 0 or more."
                )

    def fit(self, task: Task, seed: int) -> ByPatient:
        """Encode and place the observed sections.

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
            lambda observed: self._fitted(observed, task.panel, encoder),
        )

    def _fitted(
        self, observed: tuple[Section, ...], panel: Panel, encoder: Encoder
    ) -> "_Labels":
        """Gather what is known of one patient."""
        return _Labels(
            self,
            encoder,
            observed[0],
            tuple(self.placement.places_um(observed[0], each) for each in observed),
            np.concatenate([self.looks(each, encoder) for each in observed]),
            np.concatenate([log_normalised(each, panel.genes) for each in observed]),
            np.concatenate([spot_weights(each, self.counting) for each in observed]),
        )

    def looks(
        self, section: Section, encoder: Encoder
    ) -> Float[np.ndarray, "spots features"]:
        """Return all features of a section, of mean 0 and variance 1 on it.

        Parameters
        ----------
        section
            A section with a slide.
        encoder
            What `encoder` of this predictor returns.
        """
        blocks = image_blocks(section, encoder, self.scales, self.radii_um)
        joined = np.hstack([block.astype(float) for block in blocks])
        return (joined - joined.mean(axis=0)) / joined.std(axis=0).clip(min=1e-12)


@dataclass(frozen=True, eq=False)
class _Labels:
    """What is known of one patient."""

    predictor: PropagationPredictor
    encoder: Encoder
    reference: Section
    places_um: tuple[Float[np.ndarray, "_ 3"], ...]
    looks: Float[np.ndarray, "_ features"]
    values: Float[np.ndarray, "_ genes"]
    weights: Float[np.ndarray, " _"]

    def predict(self, section: Section) -> Float[np.ndarray, "spots genes"]:
        """Return what comes to the spots of a section from those that are known."""
        settings = self.predictor
        hidden = settings.placement.places_um(self.reference, section)
        places = [*self.places_um, hidden]
        graph = StackGraph.build(
            [each[:, :2] for each in places],
            [float(each[0, 2]) for each in places],
            settings.diameter_um,
        ).graph
        looks = np.concatenate([self.looks, settings.looks(section, self.encoder)])
        # The same angles, in as many numbers as there are spots: edges need them often.
        looks = np.asarray(np.linalg.qr(looks.T, mode="r")).T
        alike = graph.weighted_by_similarity(looks).weights
        assert alike is not None
        assert graph.weights is not None
        tells = np.append(self.weights, np.ones(len(hidden)))[graph.edge_index[0]]
        strength = graph.weights * alike**settings.likeness * tells
        known = np.arange(len(self.values))
        found = harmonic(replace(graph, weights=strength), known, self.values)
        return found.values[len(known) :]
