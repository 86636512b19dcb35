"""Any network of the library as a competitor in a benchmark."""

__all__ = ["NetworkPredictor"]

import gc
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from stlearnkit.expression import log_normalised
from stlearnkit.folds import Fold
from stlearnkit.predictors._task import Task, mean_profile
from stlearnkit.sections import Section

if TYPE_CHECKING:  # torch and Lightning are slow to import
    from stlearnkit.batches import SectionBatch, SpotPredictor
    from stlearnkit.training import FitConfig, Fitted

# All threads share torch's random numbers: of two that train at once, as threads of a
# Dask worker may, each would draw some that are the other's.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class NetworkPredictor:
    """Train a network on the training sections and keep its best epoch.

    The epoch is chosen on sections that the task's inner folds set aside, never on the
    test: of a new patient if the claim is about patients. With another seed it is
    another inner fold, so that chance in the choice is among the chance measured.

    A section set aside is lost to training. With as many networks as there are inner
    folds, each section teaches all networks but one, and the mean of their predictions
    errs less than they do.

    Parameters
    ----------
    model
        From the mean profile of the training spots to the model, such as a class
        `models.cnn.STNet`, or a `functools.partial` of it with a configuration.
    batch
        From a section and the genes to a batch *without* targets, such as
        `recipes.PatchRecipe`. It is used for training and test alike.
    config
        How to train; its seed is replaced by that of the benchmark.
    folder
        Where runs are kept, so that training that was interrupted goes on. Each is
        named after all that decides it: the first weights, batches, settings and
        `trainer`. Without it nothing is kept.
    trainer
        For `training.fit`: `accelerator`, `devices` and the like.
    n_networks
        How many to train, each on another inner fold as long as there are any;
        predictions are their mean.
    name
        As tables print it.

    Raises
    ------
    ValueError
        If `n_networks` is below 1.

    Examples
    --------
    >>> from functools import partial
    >>> from stlearnkit.models.cnn import STNet, STNetConfig
    >>> from stlearnkit.recipes import PatchRecipe
    >>> small = STNetConfig(backbone="test_efficientnet", pretrained=False)
    >>> model, pictures = partial(STNet, config=small), PatchRecipe(112.0, 32)
    >>> NetworkPredictor(model, pictures, name="a tiny ST-Net").name
    'a tiny ST-Net'
    """

    model: "Callable[[Float[np.ndarray, ' genes']], SpotPredictor]"
    batch: "Callable[[Section, Sequence[str]], SectionBatch]"
    config: "FitConfig | None" = None
    folder: Path | None = field(default=None, repr=False)
    trainer: Mapping[str, Any] = field(default_factory=dict)
    n_networks: int = 1
    name: str = "network"

    def __post_init__(self) -> None:
        """Refuse to train nothing.

        Raises
        ------
        ValueError
            See the class.
        """
        if self.n_networks < 1:
            raise ValueError(f"n_networks is {self.n_networks}, expected 1 or more.")

    def fit(self, task: Task, seed: int) -> "FittedNetwork":
        """Train on one inner fold of the task, or on several.

        Parameters
        ----------
        task
            Its training sections and inner folds are used.
        seed
            Of the weights, of training, and of which inner fold comes first.

        Raises
        ------
        ValueError
            If the task has no inner fold, or none with training sections.
        """
        usable = [inner for inner in task.inner if inner.train]
        if not usable:
            raise ValueError(
                f"the task of {self.name!r} has {len(task.train)} training section(s) "
                "and no inner fold to choose the epoch on. Use folds with at least two "
                "training sections."
            )
        first = seed * self.n_networks  # so that no two seeds share a network
        networks = tuple(
            self._train(task, usable[number % len(usable)], number)
            for number in range(first, first + self.n_networks)
        )
        return FittedNetwork(networks, self)

    def _train(self, task: Task, inner: Fold, seed: int) -> "Fitted":
        """Train one network on an inner fold."""
        import torch

        from stlearnkit.training import FitConfig, fit

        sections = {section.name: section for section in task.train}
        train, validation = (
            [self._with_targets(sections[name], task.panel.genes) for name in names]
            for names in (inner.train, inner.test)
        )
        profile = mean_profile([sections[name] for name in inner.train], task.panel)
        config = replace(self.config or FitConfig(), seed=seed)
        with _ONE_AT_A_TIME:
            with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU
                torch.default_generator.manual_seed(seed)
                model = self.model(profile)
            fitted = fit(
                model,
                train,
                validation,
                folder=self._run_folder(model, train, validation, config),
                config=config,
                progress=False,
                **self.trainer,
            )
        gc.collect()  # Lightning's objects refer to each other, and to all batches
        return fitted

    def _with_targets(self, section: Section, genes: tuple[str, ...]) -> "SectionBatch":
        """Return the batch of a training section, with its measured expression."""
        import torch

        measured = torch.from_numpy(log_normalised(section, genes)).float()
        return replace(self.batch(section, genes), targets=measured)

    def _run_folder(
        self,
        model: "SpotPredictor",
        train: "Sequence[SectionBatch]",
        validation: "Sequence[SectionBatch]",
        config: "FitConfig",
    ) -> Path | None:
        """Return the folder of one run, or None if nothing is to be kept.

        Its name is a hash of content, not of what settings are called: functions that
        make models and batches can change without their names.
        """
        if self.folder is None:
            return None
        words = [type(model), model.config, config, sorted(self.trainer.items())]
        digest = hashlib.blake2b(repr(words).encode(), digest_size=16)
        parts = [model.state_dict(), *map(vars, train), {}, *map(vars, validation)]
        for part in parts:
            for name, value in part.items():
                digest.update(f"{name} {_shape(value)} ".encode())
                digest.update(_content(value))
            digest.update(b"next ")
        return self.folder / digest.hexdigest()


def _shape(value: Any) -> tuple[int, ...]:
    """Return the shape of a tensor; anything else has none."""
    return tuple(getattr(value, "shape", ()))


def _content(value: Any) -> bytes:
    """Return a tensor, tensors by name, or words, as bytes."""
    import torch

    if isinstance(value, dict):
        parts = [(name, _shape(v), _content(v)) for name, v in sorted(value.items())]
        return repr(parts).encode()
    if not isinstance(value, torch.Tensor):
        return repr(value).encode()
    return value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """The networks that `NetworkPredictor` trained."""

    networks: "tuple[Fitted, ...]"
    predictor: NetworkPredictor

    @property
    def seen(self) -> tuple[str, ...]:
        """Sections trained on and validated on, as the runs recorded them."""
        names = (name for fitted in self.networks for name in fitted.run.seen)
        return tuple(dict.fromkeys(names))

    @property
    def validation_error(self) -> float:
        """Mean squared error of the epochs kept, on the sections that chose them."""
        return float(np.mean([fitted.validation_error for fitted in self.networks]))

    def predict(self, section: Section) -> Float[np.ndarray, "spots genes"]:
        """Make the batch of a section and return the mean of all predictions."""
        batch = self.predictor.batch(section, self.networks[0].run.genes)
        return np.mean([fitted.predict(batch) for fitted in self.networks], axis=0)
