"""Training and predicting with ST-Net, beside plain PyTorch loops of the same work.

Run with `STLEARNKIT_DATA` and `STLEARNKIT_WEIGHTS` set, or with a network:

    python benchmarks/training.py [--side-px 64 112 224] [--threads 1]

The speed of a shared machine changes by a third within minutes. So `fit` and the plain
loop take turns in one process: when `fit` has taken the steps of an epoch, the loop
takes the very same steps with a twin of the model. What is compared is the steps alone;
validating and saving, once an epoch, are timed by themselves. With one thread processor
time counts, with more the clock, as on a GPU, where the processor waits.
"""

import argparse
import copy
import math
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback

import stlearnkit as stk
from stlearnkit.batches import SectionBatch
from stlearnkit.encoders import Encoder, default_encoder
from stlearnkit.models.cnn import STNet, STNetConfig
from stlearnkit.sections import Section
from stlearnkit.symmetries import SYMMETRIES
from stlearnkit.training import FitConfig, fit, predict
from stlearnkit.training._steps import plan_epoch

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
N_WARM_UP, N_ROUNDS = 2, 12  # those to warm up do not count
SPOTS = {64: 160, 112: 64, 224: 32}
"""Spots of each section, so that a turn takes a second or two at each side."""


class Clock:
    """Seconds of the processor, or those on the wall."""

    def __init__(self, n_threads: int) -> None:
        by_processor = n_threads == 1 and not ON_GPU
        self.name = "processor time" if by_processor else "wall time"
        self._read = time.process_time if by_processor else time.perf_counter

    def __call__(self) -> float:
        """Return the seconds since some moment."""
        if ON_GPU:
            torch.cuda.synchronize()
        return self._read()

    def of(self, function: Callable[[], Any]) -> float:
        """Return the seconds of a call."""
        started = self()
        function()
        return self() - started


class PlainLoop:
    """Trains a model as one would without a library."""

    def __init__(
        self, model: STNet, batches: list[SectionBatch], config: FitConfig
    ) -> None:
        self.model = model.to(DEVICE)
        self.batches = batches
        self.config = config
        self.optimizer = torch.optim.AdamW(
            model.parameter_groups(config.learning_rate),
            weight_decay=config.weight_decay,
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, config.max_epochs * len(self.plan(0))
        )

    def plan(self, epoch: int) -> list[Any]:
        """Return the steps that `fit` takes in an epoch."""
        return plan_epoch(
            [batch.n_queries for batch in self.batches],
            self.config.spots_per_step,
            augment=self.config.augment,
            seed=self.config.seed,
            epoch=epoch,
        )

    def __call__(self, epoch: int) -> float:
        """Take the steps of an epoch and return the mean loss of its spots.

        Raises
        ------
        RuntimeError
            If the loss is no number.
        """
        self.model.train()
        total, number = 0.0, 0
        for step in self.plan(epoch):
            batch, rows = self.batches[step.batch], torch.from_numpy(step.rows)
            x = step.symmetry.of_images(batch.patches[rows].to(DEVICE))
            y = batch.targets[rows].to(DEVICE)
            loss = torch.nn.functional.mse_loss(self.model.of_patches(x), y)
            value = loss.item()
            if not math.isfinite(value):
                raise RuntimeError("the loss is no number")
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(
                self.model.parameters(), self.config.max_gradient_norm
            )
            self.optimizer.step()
            self.schedule.step()
            total, number = total + len(rows) * value, number + len(rows)
        return total / number


class Turns(Callback):
    """Lets a plain loop take the steps of each epoch after `fit` took them."""

    def __init__(self, loop: PlainLoop, clock: Clock) -> None:
        self.loop = loop
        self.clock = clock
        self.rounds: list[tuple[float, float]] = []
        self.between: list[float] = []
        """Seconds of `fit` from the last step of an epoch to the next epoch."""
        self._ended: float | None = None

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        """Begin to time the steps of `fit`: the first is not yet read."""
        self._started = self.clock()
        if self._ended is not None:
            self.between.append(self._started - self._ended)

    def on_train_batch_end(self, trainer: Any, module: Any, *step: Any) -> None:
        """After the last step of the epoch, let the loop take them all."""
        if not trainer.is_last_batch:
            return
        by_fit = self.clock() - self._started
        by_loop = self.clock.of(lambda: self.loop(trainer.current_epoch))
        self.rounds.append((by_fit, by_loop))
        self._ended = self.clock()


def make_batches(sections: list[Section], side_px: int) -> list[SectionBatch]:
    """Return spots of sections, patches of 224 µm and the 250 most frequent genes."""
    genes = stk.expression.top_genes(sections, 250).genes
    return [
        SectionBatch.of_section(
            section,
            genes,
            patches=stk.patches.extract(
                section.slide, section.coords_px, 224.0, output_px=side_px
            ),
            targets=stk.expression.log_normalised(section, genes),
        ).subset(range(SPOTS[side_px]))
        for section in sections
    ]


def train(
    model: STNet, training: list[SectionBatch], stop: SectionBatch, turns: Turns
) -> None:
    """Train a model with `fit`, a plain loop taking turns with it."""
    with tempfile.TemporaryDirectory() as folder:
        fit(
            model,
            training,
            [stop],
            folder=Path(folder),
            config=turns.loop.config,
            progress=False,
            accelerator="gpu" if ON_GPU else "cpu",
            precision="32-true",
            callbacks=[turns],
        )


@torch.inference_mode()
def predict_plainly(model: STNet, batch: SectionBatch) -> np.ndarray:
    """Predict a section in a plain loop, as the mean of all eight views."""
    model.eval()
    means = []
    for part in batch.patches.split(32):
        part = part.to(DEVICE)
        views = [model.of_patches(symmetry.of_images(part)) for symmetry in SYMMETRIES]
        means.append(torch.stack(views).mean(dim=0).cpu())
    return torch.cat(means).numpy()


@torch.inference_mode()
def encode_plainly(encoder: Encoder, patches: np.ndarray) -> np.ndarray:
    """Encode as many patches at a time as `encode` does, in a plain loop."""
    mean, std = (
        torch.tensor(v, device=DEVICE).view(3, 1, 1)
        for v in (encoder.mean, encoder.std)
    )
    rows = []
    for part in torch.from_numpy(patches).split(128 if ON_GPU else 8):
        images = part.to(DEVICE).permute(0, 3, 1, 2).float() / 255
        with torch.autocast("cuda", enabled=ON_GPU):
            rows.append(encoder.network((images - mean) / std).float().cpu())
    return torch.cat(rows).numpy()


def alternate(clock: Clock, *functions: Callable[[], Any]) -> list[tuple[float, ...]]:
    """Call functions in turn, and return the seconds of each in each round."""
    return [
        tuple(clock.of(function) for function in functions)
        for _ in range(N_WARM_UP + N_ROUNDS)
    ]


def report(what: str, n_images: int, rounds: list[tuple[float, ...]]) -> None:
    """Print images a second of library and loop, and their ratio with its scatter."""
    ours, plain = np.array(rounds[N_WARM_UP:]).T
    random = np.random.default_rng(0)
    redrawn = random.integers(len(ours), size=(2000, len(ours)))
    pooled = plain[redrawn].sum(axis=1) / ours[redrawn].sum(axis=1)
    low, high = np.quantile(pooled, [0.025, 0.975])
    quarter, three_quarters = np.quantile(plain / ours, [0.25, 0.75])
    print(
        f"{what}: {n_images / ours.mean():.1f} images/s, plain loop "
        f"{n_images / plain.mean():.1f}, ratio {plain.sum() / ours.sum():.3f} "
        f"(bootstrap {low:.3f} to {high:.3f}; middle half of {len(ours)} rounds "
        f"{quarter:.3f} to {three_quarters:.3f})",
        flush=True,
    )


def compare_training(
    model: STNet, training: list[SectionBatch], stop: SectionBatch, clock: Clock
) -> None:
    """Compare steps, and print what `fit` does between epochs."""
    config = FitConfig(max_epochs=N_WARM_UP + N_ROUNDS, patience=N_WARM_UP + N_ROUNDS)
    turns = Turns(PlainLoop(copy.deepcopy(model), training, config), clock)
    train(model, training, stop, turns)
    report("training", sum(b.n_queries for b in training), turns.rounds)
    (validating,) = np.mean(
        alternate(clock, lambda: predict(model, stop, n_symmetries=1)), axis=0
    )
    print(f"validating: {validating:.2f} s an epoch")
    print(f"saving: {np.mean(turns.between) - validating:.2f} s an epoch", flush=True)


def main() -> None:
    """Compare training, predicting and encoding, and print the memory it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side-px", type=int, nargs="+", choices=SPOTS, default=SPOTS)
    parser.add_argument("--frozen", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = Clock(arguments.threads)
    print(f"{DEVICE}, {clock.name}, {arguments.threads} threads")
    sections = [stk.datasets.her2st(name) for name in ("C2", "C3", "C4")]
    for side_px in arguments.side_px:
        *training, stop = make_batches(sections, side_px)
        print(f"{side_px} px, {arguments.frozen} stages frozen")
        profile = np.concatenate([b.targets.numpy() for b in training]).mean(axis=0)
        model = STNet(profile, STNetConfig(n_frozen_stages=arguments.frozen))
        compare_training(model, training, stop, clock)
        both = (partial(predict, model, stop), partial(predict_plainly, model, stop))
        np.testing.assert_allclose(both[0](), both[1](), atol=1e-4)
        report("predicting", 8 * stop.n_queries, alternate(clock, *both))
        encoder = replace(default_encoder(), input_px=side_px)
        pictures = stop.patches.permute(0, 2, 3, 1).contiguous().numpy()
        both = (
            partial(encoder.encode, pictures),
            partial(encode_plainly, encoder, pictures),
        )
        np.testing.assert_allclose(both[0](), both[1](), atol=0.1 if ON_GPU else 1e-3)
        report("encoding", stop.n_queries, alternate(clock, *both))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
