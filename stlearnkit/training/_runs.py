"""Runs: what a training run was asked to do and how far it came, on disk.

The folder of a run holds ``config.json`` (everything that was asked for, and which
sections were seen), ``best.safetensors`` (weights of the best epoch), ``last.ckpt``
(Lightning's state after the last epoch, to go on from), ``history.csv`` and what
TensorBoard reads. Each file is whole or not there.
"""

__all__ = ["FitConfig", "Run", "TrainingError", "load_weights", "save", "weights_of"]

import json
import math
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch

from stlearnkit._store import replace_file
from stlearnkit.batches import SpotPredictor

CONFIG, WEIGHTS, LAST, HISTORY = (
    "config.json",
    "best.safetensors",
    "last.ckpt",
    "history.csv",
)


class TrainingError(RuntimeError):
    """Training cannot go on; what was reached before is kept."""


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    Parameters
    ----------
    max_epochs
        At most so often is every training spot seen.
    spots_per_step
        Spots of one section from which one gradient is taken. Memory grows with it. For
        a graph network they lie together, and what they see around them comes on top;
        sections that are smaller are taken whole.
    learning_rate
        Of AdamW, at its highest: it rises over the first `warmup_share` of all steps
        and falls to 0 as a cosine.
    warmup_share
        Share of the steps over which it rises.
    weight_decay
        Of AdamW.
    patience
        Stop after so many epochs without a better validation score.
    max_gradient_norm
        Longer gradients are shortened to it.
    augment
        Turn and mirror every step as one of the eight symmetries.
    choose_by
        Score on the validation sections by which the epoch is chosen: ``"pcc"``, the
        mean correlation of genes within a section, which is to be high, or ``"mse"``.
        The error of one section is mostly its offset from the others, which says
        little about the epoch; see the trials in the benchmarks.
    seed
        Of order, symmetries and dropout.

    Raises
    ------
    ValueError
        If a number is not one that can be meant.
    """

    max_epochs: int = 20
    spots_per_step: int = 32
    learning_rate: float = 3e-4
    warmup_share: float = 0.1
    weight_decay: float = 1e-2
    patience: int = 5
    max_gradient_norm: float = 1.0
    augment: bool = True
    choose_by: Literal["mse", "pcc"] = "mse"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant.

        Raises
        ------
        ValueError
            As for the class.
        """
        for name in ("max_epochs", "spots_per_step", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, expected at least 1."
                )
        for name in ("learning_rate", "max_gradient_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, expected above 0.")
        if self.choose_by not in ("mse", "pcc"):
            raise ValueError(
                f"choose_by is {self.choose_by!r}, expected 'mse' or 'pcc'."
            )
        for name in ("warmup_share", "weight_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 to 1.")

    @property
    def sign(self) -> int:
        """1 if the score to choose by is to be high, -1 if it is to be low."""
        return 1 if self.choose_by == "pcc" else -1


@dataclass(frozen=True)
class Run:
    """What a run was asked to do: enough to build the model again and to judge it."""

    model: str
    """Class of the model."""
    model_config: dict[str, Any]
    """Its configuration."""
    genes: tuple[str, ...]
    """What it predicts, in order."""
    trained_on: tuple[str, ...]
    """Sections whose expression set the weights."""
    validated_on: tuple[str, ...]
    """Sections whose expression chose the epoch."""
    fit_config: dict[str, Any]
    """How it was trained."""

    @property
    def seen(self) -> tuple[str, ...]:
        """Sections that must never be test sections of this model."""
        return self.trained_on + self.validated_on

    def claim(self, folder: Path) -> None:
        """Write the run into a folder, or find it there.

        Raises
        ------
        ValueError
            If another run is there, or something else's settings.
        TrainingError
            If the folder cannot be written.
        """
        file = folder / CONFIG
        if not file.exists():
            versions = {name: version(name) for name in ("stlearnkit", "torch", "timm")}
            text = json.dumps({**asdict(self), "versions": versions}, indent=1)
            save(file, text.encode())
            return
        found = Run.read(folder)
        for name, asked in vars(self).items():
            if getattr(found, name) != asked:
                raise ValueError(
                    f"folder {folder} holds a run whose {name} is "
                    f"{_short(getattr(found, name))}, not {_short(asked)}. Give each "
                    "run its own folder, or remove this one."
                )

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Return the run whose folder this is.

        Raises
        ------
        FileNotFoundError
            If it is not the folder of a run.
        ValueError
            If its settings are something else's.
        """
        file = folder / CONFIG
        if not file.exists():
            raise FileNotFoundError(
                f"{folder} holds no {CONFIG}. Give the folder that training.fit(..., "
                "folder=...) wrote to."
            )
        try:
            found = json.loads(file.read_text())
            del found["versions"]
            for name in ("genes", "trained_on", "validated_on"):
                found[name] = tuple(found[name])
            return cls(**found)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{folder} holds a {CONFIG} that no run wrote. Give each run a folder "
                "of its own."
            ) from error

    def check_model(self, model_class: type[SpotPredictor], folder: Path) -> None:
        """Refuse to build another model than the one that was trained.

        Raises
        ------
        ValueError
            If it was another class.
        """
        if model_class.__name__ != self.model:
            raise ValueError(
                f"folder {folder} holds a {self.model}, not a {model_class.__name__}: "
                f"load(folder, {self.model})."
            )

    def check_genes(self, genes: tuple[str, ...]) -> None:
        """Refuse a panel other than the one that was trained on.

        Raises
        ------
        ValueError
            If genes or their order differ.
        """
        if genes != self.genes:
            raise ValueError(
                f"the batch has a panel of {len(genes)} genes, {_short(genes)}, but "
                f"the model was trained on {len(self.genes)}, {_short(self.genes)}. "
                "Make the batch with genes=fitted.run.genes."
            )


def save(file: Path, content: bytes) -> None:
    """Replace a file by `content`, whole or not at all.

    Raises
    ------
    TrainingError
        If it cannot be written, for want of room or of permission.
    """
    try:
        replace_file(file, content)
    except OSError as error:
        raise TrainingError(
            f"cannot write {file}: {error}. The folder keeps what the last whole "
            "epoch left. Make room, or permit writing, and call fit again to go on."
        ) from error


def weights_of(model: torch.nn.Module) -> bytes:
    """Return the state of a model in the format of safetensors."""
    state = {name: t.cpu().contiguous() for name, t in model.state_dict().items()}
    return safetensors.torch.save(state)


def load_weights(model: torch.nn.Module, folder: Path) -> None:
    """Put the weights of the best epoch into a model.

    Raises
    ------
    FileNotFoundError
        If no epoch was finished.
    ValueError
        If the file is damaged, or of another model.
    """
    file = folder / WEIGHTS
    if not file.exists():
        raise FileNotFoundError(
            f"{folder} holds no {WEIGHTS}: the run stopped before its first epoch. "
            "Call training.fit with the same arguments to begin it again."
        )
    try:
        model.load_state_dict(safetensors.torch.load(file.read_bytes()))
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{file} does not hold the weights of this {type(model).__name__}: "
            f"{error}. It is damaged, or of another model: give the folder that "
            "training.fit wrote, whole."
        ) from error


def _short(value: Any) -> str:
    """Return a value in few enough words for an error."""
    if isinstance(value, tuple) and len(value) > 3:
        return f"{value[0]!r}, {value[1]!r}, … {value[-1]!r}"
    return repr(value)
