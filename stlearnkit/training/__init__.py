"""Training: one engine for every model, on one core or many machines.

`fit` trains any `batches.SpotPredictor` with Lightning. The epoch to keep is chosen on
validation *sections*, never on spots of a training section: neighbouring spots are so
alike that spots held out from a known section judge memory, not prediction.

Everything random is drawn anew at every step from the seed and the number of the step,
so that a run killed at any moment and started again ends with the same weights as one
left in peace.

Taught in the chapter "A first network".
"""

__all__ = [
    "FitConfig",
    "Fitted",
    "Run",
    "SpotModule",
    "TrainingError",
    "fit",
    "load",
    "predict",
]

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from stlearnkit.batches import SectionBatch, SpotPredictor, check_same_genes
from stlearnkit.training import _trainer
from stlearnkit.training._module import SpotModule, predict
from stlearnkit.training._runs import FitConfig, Run, TrainingError, load_weights


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained model, with the record of how it came about."""

    model: SpotPredictor
    """With the weights of the best epoch."""
    run: Run
    """What was asked for; `run.seen` are the sections it must not be tested on."""
    history: pd.DataFrame
    """One row per epoch, with `epoch`, `train_loss`, `val_mse`, `val_pcc` and
    `learning_rate`. Epoch 0 is the model before training."""

    @property
    def best_epoch(self) -> int:
        """Epoch with the best validation score; 0 if training never helped."""
        score = f"val_{self.run.fit_config['choose_by']}"
        best = (FitConfig(**self.run.fit_config).sign * self.history[score]).idxmax()
        return int(self.history["epoch"][best])

    @property
    def validation_error(self) -> float:
        """Mean squared error of that epoch on the validation sections."""
        return float(self.history.set_index("epoch")["val_mse"][self.best_epoch])

    def predict(
        self, batch: SectionBatch, *, n_symmetries: int = 8
    ) -> Float[np.ndarray, "queries genes"]:
        """Predict a section of the panel that was trained on; see `predict`.

        Parameters
        ----------
        batch, n_symmetries
            As for `predict`.

        Raises
        ------
        ValueError
            If its genes are others.
        """
        self.run.check_genes(batch.genes)
        return predict(self.model, batch, n_symmetries=n_symmetries)


def fit(
    model: SpotPredictor,
    train: Sequence[SectionBatch],
    validation: Sequence[SectionBatch],
    *,
    folder: Path | None = None,
    config: FitConfig | None = None,
    progress: bool = True,
    **trainer: Any,
) -> Fitted:
    """Train a model, keeping the epoch that does best on the validation sections.

    Parameters
    ----------
    model
        Just built. It is trained in place and ends with the weights of the best epoch.
    train
        Sections to learn from.
    validation
        Other sections, on which the epoch is chosen. Never those to be tested; and no
        section of a training patient if the claim will be about new patients.
    folder
        Where to keep weights, settings, history and TensorBoard's logs. A run that was
        interrupted there is taken up again; one that was finished is returned. Without
        it nothing is kept on disk; processes that train together need one that all
        of them see.
    config
        How to train.
    progress
        Show a bar.
    **trainer
        Given on to `lightning.Trainer` as they are: `accelerator`, `devices`,
        `num_nodes`, `strategy`, `precision` (full or mixed; batches stay as they are),
        `callbacks` (a list; they join those of this engine).
        As they default here: a GPU if there is one, one device, mixed half precision
        on a GPU.

    Raises
    ------
    ValueError
        If sections, panels or targets cannot be trained on; or the folder holds
        another run, or is None though several processes train together.
    TrainingError
        If loss or predictions stop being numbers, the disk is full, or the state to go
        on from is damaged. The folder keeps the last whole epoch.

    Examples
    --------
    >>> import stlearnkit as stk
    >>> from stlearnkit.models.cnn import STNet, STNetConfig
    >>> batches, genes = [], None
    >>> for name in ("S1", "S2"):
    ...     made = stk.synthetic.section(name, n_spots=40, seed=len(batches)).section
    ...     genes = genes or list(made.adata.var_names[:5])
    ...     measured = stk.expression.log_normalised(made, genes)
    ...     pictures = stk.patches.extract(
    ...         made.slide, made.coords_px, 112, output_px=32
    ...     )
    ...     batches.append(
    ...         stk.batches.SectionBatch.of_section(
    ...             made, genes, patches=pictures, targets=measured
    ...         )
    ...     )
    >>> small = STNetConfig(backbone="test_efficientnet", pretrained=False)
    >>> model = STNet(measured.mean(axis=0), small)
    >>> fitted = fit(
    ...     model,
    ...     batches[:1],
    ...     batches[1:],
    ...     config=FitConfig(max_epochs=1),
    ...     progress=False,
    ... )
    >>> fitted.predict(batches[1]).shape
    (40, 5)
    """
    config = config or FitConfig()
    _check(model, train, validation)
    run = Run(
        model=type(model).__name__,
        model_config=json.loads(json.dumps(asdict(model.config))),
        genes=train[0].genes,
        trained_on=_names(train),
        validated_on=_names(validation),
        fit_config=asdict(config),
    )
    if folder is not None and _trainer.is_finished(folder):
        run.claim(folder)
        load_weights(model, folder)
        return Fitted(model.eval(), run, _trainer.read_history(folder))
    module = _module_of(model, train, validation, config)
    if folder is not None:
        history = _trainer.train(module, run, folder, progress=progress, **trainer)
        return Fitted(model, run, history)
    with TemporaryDirectory() as temporary:
        history = _trainer.train(
            module, run, Path(temporary), shared=False, progress=progress, **trainer
        )
    return Fitted(model, run, history)


def load(folder: Path, model_class: type[SpotPredictor]) -> Fitted:
    """Return what `fit` left in a folder.

    Parameters
    ----------
    folder
        As given to `fit`.
    model_class
        Class of the model, such as `models.cnn.STNet`.

    Raises
    ------
    FileNotFoundError
        If the folder is not that of a run, or no epoch was finished.
    ValueError
        If it holds another model, or settings that no run wrote.
    """
    run = Run.read(folder)
    run.check_model(model_class, folder)
    config = model_class.config_type(**run.model_config)
    model = model_class.blank(len(run.genes), config)
    load_weights(model, folder)
    return Fitted(model.eval(), run, _trainer.read_history(folder))


def _module_of(
    model: SpotPredictor,
    train: Sequence[SectionBatch],
    validation: Sequence[SectionBatch],
    config: FitConfig,
) -> SpotModule:
    """Prepare the model, and do with each batch what is to be done once."""
    model.prepare(train)
    taught, judged = (
        [model.condense(batch) for batch in batches] for batches in (train, validation)
    )
    if model.n_hops is not None:
        sizes = {"n_hops": model.n_hops, "max_spots": config.spots_per_step}
        taught = [block for batch in taught for _, block in batch.blocks(**sizes)]
    return SpotModule(model, taught, judged, config)


def _names(batches: Sequence[SectionBatch]) -> tuple[str, ...]:
    """Return the names of all sections in some batches."""
    return tuple(name for batch in batches for name in batch.sections)


def _check(
    model: SpotPredictor,
    train: Sequence[SectionBatch],
    validation: Sequence[SectionBatch],
) -> None:
    """Refuse sections that cannot be trained on or judged by.

    Raises
    ------
    ValueError
        At the first thing that is wrong.
    """
    for name, batches in (("train", train), ("validation", validation)):
        if not batches:
            raise ValueError(
                f"{name} is empty. Give at least one section to each: without a "
                "section of its own to judge by, no epoch can be chosen honestly."
            )
        lacking = [
            b.sections[0] for b in batches if b.targets is None or not b.n_queries
        ]
        if lacking:
            raise ValueError(
                f"sections {lacking} in {name} have no targets, or no queries. Give "
                "SectionBatch.of_section(..., targets=...)."
            )
    both = sorted(set(_names(train)) & set(_names(validation)))
    if both:
        raise ValueError(
            f"sections {both} stand in train and in validation. Leave whole sections "
            "out of training, or the epoch is chosen by what was learnt by heart."
        )
    check_same_genes([*train, *validation])
    if model.n_genes != len(train[0].genes):
        raise ValueError(
            f"the model predicts {model.n_genes} genes, the batches have "
            f"{len(train[0].genes)}. Build it from the mean profile of these targets."
        )
