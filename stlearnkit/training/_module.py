"""The Lightning module that trains any model here, and prediction with any of them."""

__all__ = ["SpotModule", "predict"]

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from lightning import LightningModule

from stlearnkit.batches import SectionBatch, SpotPredictor
from stlearnkit.metrics import mse, pcc_per_gene, summarise
from stlearnkit.symmetries import SYMMETRIES
from stlearnkit.training._runs import FitConfig, TrainingError
from stlearnkit.training._steps import Epoch, Step, plan_epoch

_N_PATCHES, _N_FEATURES_ONLY = 32, 512  # queries predicted at a time


class SpotModule(LightningModule):
    """What Lightning trains: any model here, with its batches.

    Parameters
    ----------
    model
        To be trained.
    train, validation
        Sections to learn from, and to choose the epoch on.
    config
        How.
    """

    def __init__(
        self,
        model: SpotPredictor,
        train: Sequence[SectionBatch],
        validation: Sequence[SectionBatch],
        config: FitConfig,
    ) -> None:
        super().__init__()
        self.model = model
        self.train_batches = train
        self.validation_batches = validation
        self.config = config
        self.scores: dict[str, float] = {}
        """`train_loss` of the last epoch, a mean over its spots, and `val_mse` and
        `val_pcc` of the last validation, means over sections."""

    def train_dataloader(self) -> torch.utils.data.DataLoader:
        """Return the steps of the current epoch, this process's share of each."""
        steps = self._plan(self.current_epoch)
        epoch = Epoch(
            self.train_batches,
            steps,
            process=self.trainer.global_rank,
            n_processes=self.trainer.world_size,
        )
        return torch.utils.data.DataLoader(epoch, batch_size=None)

    def val_dataloader(self) -> torch.utils.data.DataLoader:
        """Return, as one step, the validation sections that fall to this process.

        One step for each process, however many sections there are: processes that
        train together must come to the same number of steps.
        """
        mine = range(
            self.trainer.global_rank,
            len(self.validation_batches),
            self.trainer.world_size,
        )
        return torch.utils.data.DataLoader(cast(Any, [list(mine)]), batch_size=None)

    def on_train_epoch_start(self) -> None:
        """Forget the losses of the epoch before."""
        self._loss_sum, self._n_trained = 0.0, 0

    def on_train_batch_start(self, step: Any, index: int) -> None:
        """Draw dropout from the number of the step, so that runs can be resumed."""
        place = (self.config.seed, self.trainer.global_step, self.trainer.global_rank)
        seed = int(np.random.SeedSequence(place).generate_state(1)[0])
        torch.default_generator.manual_seed(seed)
        if self.device.type != "cpu":  # costs a millisecond, even where there is none
            torch.manual_seed(seed)

    def training_step(self, step: Sequence[Any], index: int) -> torch.Tensor:
        """Return the loss of one step.

        Raises
        ------
        TrainingError
            If it is not a finite number.
        """
        batch, weight = step
        loss = self.model.loss(self.model(batch), batch)
        value = loss.item()
        if not math.isfinite(value):
            raise self._diverged(f"the loss is {value}", batch)
        if weight:  # else the spot belongs to another process
            self._loss_sum += value * batch.n_queries
            self._n_trained += batch.n_queries
        return weight * loss

    def on_train_epoch_end(self) -> None:
        """Gather the losses of all processes."""
        mine = torch.tensor([self._loss_sum, self._n_trained], device=self.device)
        total, number = self.trainer.strategy.reduce(mine, reduce_op="sum").tolist()
        self.scores["train_loss"] = total / number
        self.log("train_loss", self.scores["train_loss"])

    def validation_step(self, numbers: Sequence[int], index: int) -> None:
        """Predict and score the validation sections of this process.

        Raises
        ------
        TrainingError
            If a prediction is not a finite number.
        """
        for number in numbers:
            batch = self.validation_batches[number]
            assert batch.targets is not None  # `training.fit` refuses such batches
            measured = batch.targets.double().numpy()
            predicted = predict(
                self.model,
                batch,
                n_symmetries=1,
                spots_per_step=(
                    None if batch.patches is None else self.config.spots_per_step
                ),
            )
            if not np.isfinite(predicted).all():
                raise self._diverged("the predicted expression is not finite", batch)
            pcc = summarise(pcc_per_gene(predicted, measured)).mean
            self._validated[number] = torch.tensor([mse(predicted, measured), pcc])

    def on_validation_epoch_start(self) -> None:
        """Forget the scores of the epoch before."""
        self._validated = torch.zeros(len(self.validation_batches), 2)

    def on_validation_epoch_end(self) -> None:
        """Gather the scores; each process has zeros for the others' sections."""
        of_all = self.trainer.strategy.reduce(
            self._validated.to(self.device), reduce_op="sum"
        )
        error, pcc = of_all.cpu().double().mean(dim=0).tolist()
        self.scores |= {"val_mse": error, "val_pcc": pcc}
        self.log_dict({"val_mse": error, "val_pcc": pcc}, prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Return AdamW, its rate rising at first and then falling to 0."""
        groups = self.model.parameter_groups(self.config.learning_rate)
        optimizer = torch.optim.AdamW(groups, weight_decay=self.config.weight_decay)
        total = self.config.max_epochs * len(self._plan(0))
        rising = max(1, round(self.config.warmup_share * total))

        def share(step: int) -> float:
            if step < rising:
                return (step + 1) / rising
            return (1 + math.cos(math.pi * (step - rising) / (total - rising + 1))) / 2

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def _diverged(self, what: str, batch: SectionBatch) -> TrainingError:
        """Return the error of a model whose numbers are none."""
        epoch = 0 if self.trainer.sanity_checking else self.current_epoch + 1
        return TrainingError(
            f"{what} in epoch {epoch}, section {batch.sections[0]!r}. Lower "
            f"learning_rate (it was {self.config.learning_rate:g}) or spread the "
            "model's inputs less; the last whole epoch is kept."
        )

    def _plan(self, epoch: int) -> list[Step]:
        """Return the steps of an epoch, all processes together."""
        return plan_epoch(
            [batch.n_queries for batch in self.train_batches],
            self.config.spots_per_step,
            augment=self.config.augment,
            seed=self.config.seed,
            epoch=epoch,
        )


@torch.inference_mode()
def predict(
    model: SpotPredictor,
    batch: SectionBatch,
    *,
    n_symmetries: int = 8,
    spots_per_step: int | None = None,
) -> Float[np.ndarray, "queries genes"]:
    r"""Predict the queries of a batch, as the mean over symmetries.

    .. math:: \hat y_i = \frac 1 8 \sum_{s} f(s \cdot x)_i

    With all eight, the mean does not change when the slide is mirrored or turned by
    quarters, and is a little less noisy than one look; it costs as much more as there
    are symmetries.

    Parameters
    ----------
    model
        Any model; it is used in evaluation mode, where it is.
    batch
        The section. Its targets, if any, are not looked at.
    n_symmetries
        How many of the eight to take the mean over; 1 is the picture as it is, and
        enough for a model that is symmetric itself.
    spots_per_step
        Queries at a time, all symmetries one by one. Memory grows with it, and what a
        model works out for the whole section is worked out for each part. Without it,
        32 if there are patches, whose maps need room, else 512.

    Raises
    ------
    ValueError
        If `n_symmetries` is not 1 to 8, or `spots_per_step` below 1.
    """
    if not 1 <= n_symmetries <= len(SYMMETRIES):
        raise ValueError(f"n_symmetries is {n_symmetries}, expected 1 to 8.")
    if spots_per_step is None:
        spots_per_step = _N_FEATURES_ONLY if batch.patches is None else _N_PATCHES
    if spots_per_step < 1:
        raise ValueError(f"spots_per_step is {spots_per_step}, expected at least 1.")
    looks = SYMMETRIES[: 1 if model.symmetric else n_symmetries]
    was_training = model.training
    device = next(model.parameters()).device
    model.eval()
    predicted = np.full((batch.n_queries, model.n_genes), np.nan)
    for rows, part in _parts(model, batch, spots_per_step, device):
        turned = (part.transformed(symmetry) for symmetry in looks)
        outputs = torch.stack([model(view).expression for view in turned])
        # Double precision on the CPU only: Apple's GPUs have none.
        predicted[rows.numpy()] = outputs.cpu().double().mean(dim=0).numpy()
    model.train(was_training)
    return predicted


def _parts(
    model: SpotPredictor, batch: SectionBatch, spots_per_step: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, SectionBatch]]:
    """Yield which queries are predicted together, and what is needed for them."""
    if model.n_hops is None:
        for rows in torch.arange(batch.n_queries).split(spots_per_step):
            yield rows, model.condense(batch.subset(rows).to(device))
        return
    whole = model.condense(batch.to(device))  # as it may look further than the edges
    for rows, part in whole.blocks(n_hops=model.n_hops, max_spots=spots_per_step):
        yield rows.cpu(), part
