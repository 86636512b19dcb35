"""Imputation by ASIGN in three dimensions."""

__all__ = ["AsignImputer"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from stlearnkit.expression import Panel, log_normalised
from stlearnkit.imputation._lessons import part_of, train
from stlearnkit.imputation._observed import Imputer
from stlearnkit.imputation._placement import Placement
from stlearnkit.imputation._programmes import Trust, mean_of_some
from stlearnkit.models._settings import check_least, check_positive
from stlearnkit.models._standard import spot_weights, standardised
from stlearnkit.predictors._network import _ONE_AT_A_TIME
from stlearnkit.predictors._task import mean_profile
from stlearnkit.sections import Section

if TYPE_CHECKING:  # torch is slow to import
    import torch

    from stlearnkit.batches import SectionBatch
    from stlearnkit.models.asign import Asign3d, Asign3dConfig, VolumeBatch

_ALIGNED = Placement()


def _graph_batch(section: Section, genes: Sequence[str]) -> "SectionBatch":
    """Return the batch of the default recipe."""
    from stlearnkit.recipes import GraphRecipe

    return GraphRecipe()(section, genes)


@dataclass(frozen=True)
class AsignImputer(Imputer):
    """Predict by ASIGN in three dimensions, trained on the observed sections alone.

    With several observed sections of a patient each is hidden in turn as a whole and
    predicted from the others. A single one is predicted from itself, each spot from all
    others. Features are standardised within each section, and spots with few
    transcripts count less, as for `models.kriging`.

    Parameters
    ----------
    batch
        From a section and the genes to a batch with features and a graph, without
        targets; `recipes.GraphRecipe()` unless given.
    config
        Of the model; by default smaller than that for many sections.
    diameter_um, likeness
        Which spots are joined across sections, and how labels are propagated; see
        `models.asign.VolumeBatch.join`.
    counting
        As for `models.kriging.Kriging`.
    n_steps, learning_rate
        Of training, at most and at first; each step is of one section.
    n_networks
        How many to train, from other first weights, each without another quarter of the
        spots. What they say of these tells how far the mean of all networks is to be
        followed, for each programme of expression by itself. Take four or more.
    placement
        How sections are laid upon each other.
    name
        As tables print it.

    Raises
    ------
    ValueError
        If there is no step or no network, or a number cannot be meant.
    """

    batch: "Callable[[Section, Sequence[str]], SectionBatch]" = _graph_batch
    config: "Asign3dConfig | None" = None
    diameter_um: float = 1000.0
    likeness: float = 2.0
    counting: float = 0.5
    n_steps: int = 60
    learning_rate: float = 3e-3
    n_networks: int = 4
    placement: Placement = _ALIGNED
    name: str = "ASIGN in 3D"

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant.

        Raises
        ------
        ValueError
            See the class.
        """
        check_least(self, 1, "n_steps", "n_networks")
        check_least(self, 0, "counting", "likeness")
        check_positive(self, "diameter_um", "learning_rate")

    def fit_patient(
        self, observed: tuple[Section, ...], panel: Panel, seed: int
    ) -> "_Volume":
        """Train on the sections of one patient, from first weights by `seed`."""
        batches = [self.known(each, observed[0], panel.genes) for each in observed]
        weights = [
            spot_weights(each.total_counts(), self.counting) for each in observed
        ]
        profile = mean_profile(observed, panel)
        first = seed * self.n_networks  # so that no two seeds share a network
        untrained = [
            self._untrained(profile, batches, first + number)
            for number in range(self.n_networks)
        ]
        # All networks condense alike: nothing of that is drawn.
        lessons = self.lessons([untrained[0].condense(b) for b in batches], weights)
        networks, left_out = zip(
            *(
                self._trained(network, lessons, first + number)
                for number, network in enumerate(untrained)
            ),
            strict=True,
        )
        trust = Trust.learn(
            np.concatenate([log_normalised(each, panel.genes) for each in observed]),
            mean_of_some(left_out),
            np.concatenate(weights),
        )
        return _Volume(
            self, observed[0], tuple(batches), tuple(weights), networks, trust
        )

    def _untrained(
        self,
        profile: Float[np.ndarray, " genes"],
        batches: "Sequence[SectionBatch]",
        seed: int,
    ) -> "Asign3d":
        """Return a network with its first weights."""
        import torch

        from stlearnkit.models.asign import Asign3d

        with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = Asign3d(profile, self.config)
        model.prepare(batches)
        return model

    def _trained(
        self, model: "Asign3d", lessons: "Sequence[VolumeBatch]", seed: int
    ) -> "tuple[Asign3d, Float[np.ndarray, '_ genes']]":
        """Train a network; return it, and what it says of spots it did not see."""
        import torch

        parts = [part_of(volume, seed) for volume in lessons]
        pairs = list(zip(lessons, parts, strict=True))
        seen = [volume.subset(~part) for volume, part in pairs]
        with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            train(model, seen, n_steps=self.n_steps, learning_rate=self.learning_rate)
        said = []
        with torch.inference_mode():
            for volume, part in pairs:
                found = model.eval()(volume).expression.double()
                said.append(found.where(part[:, None], torch.nan).numpy())
        return model, np.concatenate(said)

    def lessons(
        self,
        batches: "Sequence[SectionBatch]",
        weights: Sequence[Float[np.ndarray, " _"]],
    ) -> "list[VolumeBatch]":
        """Return what is trained on: each observed section hidden, the others known.

        A single section is known to all its spots but the one that is predicted.

        Parameters
        ----------
        batches
            Condensed batches of the observed sections, with targets.
        weights
            How much each spot of each tells.
        """
        import torch

        volumes = []
        for number, hidden in enumerate(batches):
            others = [n for n in range(len(batches)) if n != number] or [number]
            volume = self.join(
                [batches[n] for n in others], [weights[n] for n in others], hidden
            )
            own = torch.from_numpy(weights[number]).float()
            volumes.append(replace(volume, spot_weights=own))
        return volumes

    def join(
        self,
        known: "Sequence[SectionBatch]",
        weights: Sequence[Float[np.ndarray, " _"]],
        hidden: "SectionBatch",
    ) -> "VolumeBatch":
        """Return known sections and a hidden one as a volume.

        Parameters
        ----------
        known, hidden
            Condensed batches.
        weights
            How much each known spot tells.
        """
        from stlearnkit.models.asign import VolumeBatch

        return VolumeBatch.join(
            known,
            hidden,
            diameter_um=self.diameter_um,
            likeness=self.likeness,
            weights=weights,
        )

    def known(
        self, section: Section, reference: Section, genes: tuple[str, ...]
    ) -> "SectionBatch":
        """Return the batch of an observed section, with its targets.

        Parameters
        ----------
        section, reference
            As for `placed`.
        genes
            Of the panel.
        """
        import torch

        batch = self.placed(section, reference, genes)
        measured = torch.from_numpy(log_normalised(section, genes)).float()
        return replace(batch, targets=measured)

    def placed(
        self, section: Section, reference: Section, genes: tuple[str, ...]
    ) -> "SectionBatch":
        """Return the batch of a section, in the frame of another, by its own standards.

        Parameters
        ----------
        section
            With a slide.
        reference
            The section whose frame it is.
        genes
            Of the panel.
        """
        import torch

        batch = self.batch(section, genes)
        places = self.placement.places_um(reference, section)
        return replace(
            batch,
            coords_um=torch.from_numpy(places).float(),
            features=None if batch.features is None else _standard(batch.features),
            levels=tuple(
                replace(level, features=_standard(level.features))
                for level in batch.levels
            ),
        )


def _standard(
    rows: "Float[torch.Tensor, '_ features']",
) -> "Float[torch.Tensor, '_ features']":
    """Return features with mean 0 and variance 1 over their section."""
    import torch

    return torch.from_numpy(standardised(rows.numpy())).float()


@dataclass(frozen=True, eq=False)
class _Volume:
    """The networks of one patient, and what they are told of it."""

    imputer: AsignImputer
    reference: Section
    known: "tuple[SectionBatch, ...]"
    weights: tuple[Float[np.ndarray, " _"], ...]
    networks: "tuple[Asign3d, ...]"
    trust: Trust

    def predict(self, section: Section) -> Float[np.ndarray, "spots genes"]:
        """Join a section to those observed; return what to trust of the mean."""
        import torch

        hidden = self.imputer.placed(section, self.reference, self.known[0].genes)
        model = self.networks[0]  # all condense alike: nothing of that is drawn
        known = [model.condense(batch) for batch in self.known]
        volume = self.imputer.join(known, self.weights, model.condense(hidden))
        with torch.inference_mode():
            said = [network(volume).expression for network in self.networks]
        return self.trust(torch.stack(said).double().mean(dim=0).numpy())
