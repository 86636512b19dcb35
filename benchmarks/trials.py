"""What was tried on networks, judged without the section of the benchmark's first fold.

Run with `STLEARNKIT_DATA` and `STLEARNKIT_WEIGHTS` set, or with a network:

    python benchmarks/trials.py [--only "no line" ...]
    python benchmarks/trials.py --several [--only "ASIGN" ...]

C2 is set aside, as in the fold that tests it. Of C3 to C6 each is left out once: a
network learns from the other three, the section left out chooses the epoch, and the
scores are those of that epoch on that section. So they are a little too good, but alike
for all variants; ridge regression, which chooses nothing on it, has no such help. The
gene panel is chosen on the four sections together.

With `--several`, for what concerns the choice of the epoch itself, the section that is
scored chooses nothing: of the other three each in turn chooses the epoch of a network
that learns from two, and the mean of the three networks is scored, much as in the
benchmark of models.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from stlearnkit.batches import SectionBatch
from stlearnkit.datasets import her2st
from stlearnkit.expression import log_normalised, top_genes
from stlearnkit.metrics import mse, pcc_per_gene, summarise
from stlearnkit.models.asign import Asign
from stlearnkit.models.triplex import Triplex
from stlearnkit.predictors import RidgePredictor, Task
from stlearnkit.recipes import GraphRecipe, ViewsRecipe
from stlearnkit.training import FitConfig, Fitted, fit

SECTIONS = ("C3", "C4", "C5", "C6")
N_STARTS = 3
RANK, NEAR_UM = 20, 250.0
USUAL, GRAPH = ViewsRecipe(), GraphRecipe()

Targets = Callable[[list[SectionBatch]], list[SectionBatch]]
Predictions = dict[str, np.ndarray]  # of each section, when it was left out


def as_measured(train: list[SectionBatch]) -> list[SectionBatch]:
    """Return the training sections as they are."""
    return train


def of_low_rank(train: list[SectionBatch]) -> list[SectionBatch]:
    """Keep of the targets what their leading components say."""
    stacked = torch.cat([batch.targets for batch in train])
    mean = stacked.mean(dim=0)
    _, _, directions = torch.linalg.svd(stacked - mean, full_matrices=False)
    kept = directions[:RANK]
    return [
        replace(batch, targets=mean + (batch.targets - mean) @ kept.T @ kept)
        for batch in train
    ]


def smoothed(train: list[SectionBatch]) -> list[SectionBatch]:
    """Average the targets of each spot with the mean of the spots near it."""
    made = []
    for batch in train:
        near = torch.cdist(batch.coords_um, batch.coords_um) <= NEAR_UM
        around = near.float() @ batch.targets / near.sum(dim=1, keepdim=True)
        made.append(replace(batch, targets=(batch.targets + around) / 2))
    return made


@dataclass(frozen=True)
class Variant:
    """What differs from the library's settings."""

    model: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    targets: Targets = as_measured
    recipe: ViewsRecipe | GraphRecipe = USUAL
    family: type[Triplex] | type[Asign] = Triplex

    def taught(
        self, train: list[SectionBatch], choosing: SectionBatch, seed: int
    ) -> Fitted:
        """Train one network, whose epoch is chosen on another section."""
        train = self.targets(train)
        profile = torch.cat([batch.targets for batch in train]).double().mean(dim=0)
        torch.manual_seed(seed)
        return fit(
            self.family(profile.numpy(), self.family.config_type(**self.model)),
            train,
            [choosing],
            config=FitConfig(seed=seed, **self.training),
            progress=False,
        )


VARIANTS = {
    "as in the library": Variant(),
    "no line": Variant({"line": False}),
    "attention as plain means": Variant({"asks": False}),
    "width 32": Variant({"width": 32}),
    "width 128": Variant({"width": 128}),
    "64 components": Variant({"n_components": 64}),
    "dropout 0.4": Variant({"dropout": 0.4}),
    "line dropout 0.6": Variant({"line_dropout": 0.6}),
    "weight decay 0.3": Variant(training={"weight_decay": 0.3}),
    "a third of the rate, 40 epochs": Variant(
        training={"learning_rate": 1e-4, "max_epochs": 40, "patience": 10}
    ),
    "targets of rank 20": Variant(targets=of_low_rank),
    "targets smoothed": Variant(targets=smoothed),
    "patch trained from 112 px": Variant(
        {"backbone": ""}, recipe=ViewsRecipe(patches_px=112)
    ),
}


def of_asign(training: dict[str, Any] | None = None, **model: Any) -> Variant:
    """Return ASIGN as in the benchmark, but for some settings."""
    usual = {"choose_by": "pcc", "augment": False, "max_epochs": 30, "patience": 8}
    return Variant(model, usual | (training or {}), recipe=GRAPH, family=Asign)


OF_SEVERAL = {
    "TRIPLEX, epoch by error": Variant(),
    "TRIPLEX": Variant(training={"choose_by": "pcc"}),
    "ASIGN": of_asign(),
    "ASIGN, with line": of_asign(line=True),
    "ASIGN, with line, epoch by error": of_asign({"choose_by": "mse"}, line=True),
    "ASIGN, with line, whole sections": of_asign(
        {
            "spots_per_step": 512,
            "learning_rate": 1e-3,
            "max_epochs": 80,
            "patience": 15,
        },
        line=True,
    ),
    "ASIGN, no tiles": of_asign(levels=()),
    "ASIGN, no graph of spots": of_asign(depth=0),
    "ASIGN, no correlation in the loss": of_asign(correlation_weight=0.0),
    "ASIGN, no consistency": of_asign(consistency_weight=0.0),
    "ASIGN, width 128": of_asign(width=128),
}
"""Tried with the choice of the epoch on sections that are not scored."""

VARIED = ("as in the library", "no line", "attention as plain means")
"""Three that differ in kind, to be compared with three that differ by chance."""


def make_batches(
    recipe: ViewsRecipe | GraphRecipe, genes: tuple[str, ...]
) -> list[SectionBatch]:
    """Return all sections with their targets."""
    return [
        replace(
            recipe(section, genes),
            targets=torch.from_numpy(log_normalised(section, genes)).float(),
        )
        for section in map(her2st, SECTIONS)
    ]


def leave_out(
    variant: Variant, batches: list[SectionBatch], seed: int = 0
) -> Predictions:
    """Train once for each section left out, and predict that section."""
    predictions = {}
    for left_out in batches:
        train = [batch for batch in batches if batch is not left_out]
        fitted = variant.taught(train, left_out, seed)
        predictions[left_out.sections[0]] = fitted.predict(left_out)
    return predictions


def leave_out_of_several(variant: Variant, batches: list[SectionBatch]) -> Predictions:
    """Train one network for each pair of sections, left out and choosing the epoch."""
    predictions = {}
    for left_out in batches:
        others = [batch for batch in batches if batch is not left_out]
        networks = [
            variant.taught([b for b in others if b is not choosing], choosing, seed=0)
            for choosing in others
        ]
        found = [fitted.predict(left_out) for fitted in networks]
        predictions[left_out.sections[0]] = np.mean(found, axis=0)
    return predictions


def leave_out_of_ridge(genes: tuple[str, ...]) -> Predictions:
    """Return what ridge regression says of each section left out."""
    predictions = {}
    for name in SECTIONS:
        train = tuple(her2st(other) for other in SECTIONS if other != name)
        panel = replace(top_genes(train, len(genes)), genes=genes)
        fitted = RidgePredictor().fit(Task(train, (), panel), seed=0)
        predictions[name] = fitted.predict(her2st(name))
    return predictions


def mean_of(*predictions: Predictions) -> Predictions:
    """Return the mean of several predictions of the same sections."""
    return {name: np.mean([p[name] for p in predictions], axis=0) for name in SECTIONS}


def report(label: str, predictions: Predictions, batches: list[SectionBatch]) -> None:
    """Print the mean scores of one variant, and the PCC in each section."""
    measured = {b.sections[0]: b.targets.double().numpy() for b in batches}
    pcc = pd.Series(
        {
            name: summarise(pcc_per_gene(predictions[name], measured[name])).mean
            for name in SECTIONS
        }
    )
    error = np.mean([mse(predictions[name], measured[name]) for name in SECTIONS])
    each = " ".join(f"{value:.3f}" for value in pcc)
    print(f"{label}: PCC {pcc.mean():.4f}, MSE {error:.4f} ({each})", flush=True)


def score_several(genes: tuple[str, ...], labels: list[str]) -> None:
    """Score means of networks, each with another section to choose its epoch."""
    batches = {recipe: make_batches(recipe, genes) for recipe in (USUAL, GRAPH)}
    for label in labels:
        variant, started = OF_SEVERAL[label], time.process_time()
        predictions = leave_out_of_several(variant, batches[variant.recipe])
        report(label, predictions, batches[variant.recipe])
        print(f"    {time.process_time() - started:.0f} s of the processor")


def main() -> None:
    """Train and score all variants, then means of several predictions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--several", action="store_true")
    parser.add_argument("--only", nargs="+", help="variants")
    asked = parser.parse_args()
    genes = top_genes(list(map(her2st, SECTIONS)), 250).genes
    if asked.several:
        score_several(genes, asked.only or list(OF_SEVERAL))
        return
    usual = make_batches(USUAL, genes)
    ridge = leave_out_of_ridge(genes)
    report("ridge", ridge, usual)
    made: dict[str, Predictions] = {}
    for label in asked.only or VARIANTS:
        variant, started = VARIANTS[label], time.process_time()
        batches = usual
        if variant.recipe is not USUAL:
            batches = make_batches(variant.recipe, genes)
        predictions = made[label] = leave_out(variant, batches)
        report(label, predictions, batches)
        print(f"    {time.process_time() - started:.0f} s of the processor")
    if asked.only:
        return
    base = VARIANTS["as in the library"]
    more = [leave_out(base, usual, seed) for seed in range(1, N_STARTS)]
    starts = [made["as in the library"], *more]
    varied = mean_of(*(made[label] for label in VARIED))
    report(f"mean of three: {', '.join(VARIED)}", varied, usual)
    for seed, start in enumerate(starts):
        report(f"start {seed}", start, usual)
    report(f"mean of {N_STARTS} starts", mean_of(*starts), usual)
    report("mean of a network and ridge", mean_of(starts[0], ridge), usual)
    several = mean_of(mean_of(*starts), ridge)
    report(f"mean of {N_STARTS} starts, and of that and ridge", several, usual)


if __name__ == "__main__":
    main()
