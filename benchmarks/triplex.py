"""What TRIPLEX costs: an epoch of training, and sections of many spots.

Run with `STLEARNKIT_DATA` and `STLEARNKIT_WEIGHTS` set, or with a network:

    python benchmarks/triplex.py            both
    python benchmarks/triplex.py --skip-epochs

Frozen features and boundary maps are made, or read from the cache, before any clock
starts. Epochs are those of `training.fit`, validation not counted. Each size of made-up
section has a process of its own, on one thread: processor time of one prediction of 32
queries, or of one step of training on them, and the peak memory above that of the
process before it.
"""

import argparse
import resource
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from clocks import EpochClock, now, since

from stlearnkit.batches import SectionBatch
from stlearnkit.datasets import her2st
from stlearnkit.expression import log_normalised, top_genes
from stlearnkit.models.triplex import Triplex, TriplexConfig
from stlearnkit.predictors import RidgePredictor, Task
from stlearnkit.recipes import GuideRecipe, ViewsRecipe
from stlearnkit.training import FitConfig, fit

TRAIN, VALIDATION = ("C2", "C3", "C4", "C5", "C6"), "B4"
MODELS = {
    "TRIPLEX": TriplexConfig(),
    "TRIPLEX, no line": TriplexConfig(line=False),
    "BG-TRIPLEX": TriplexConfig(guided=True),
}
N_EPOCHS = 2
SIZES = (1000, 5000, 20_000, 50_000)
N_QUERIES, N_FEATURES, N_GENES = 32, 1280, 250
PITCH_UM = 100.0


def epochs() -> None:
    """Print the time of an epoch on five sections, and that of a ridge regression."""
    sections = {name: her2st(name) for name in (*TRAIN, VALIDATION)}
    train = tuple(sections[name] for name in TRAIN)
    panel = top_genes(train, N_GENES)
    recipe = ViewsRecipe(guides=GuideRecipe())
    batches = {}
    for name, section in sections.items():
        measured = torch.from_numpy(log_normalised(section, panel.genes)).float()
        batch = recipe(section, panel.genes)
        batches[name] = replace(batch, targets=measured)
    taught = [batches[name] for name in TRAIN]
    profile = torch.cat([batch.targets for batch in taught]).mean(dim=0).numpy()
    n_spots = sum(batch.n_spots for batch in taught)
    n_threads = torch.get_num_threads()
    print(f"{n_spots} spots of {', '.join(TRAIN)}, {n_threads} threads")
    print("seconds by the clock (of the processor)")
    started, first = now(), Triplex(profile)
    first.prepare(taught)
    print(f"components, once: {since(started)}", flush=True)
    for name, config in MODELS.items():
        clock, model = EpochClock(), Triplex(profile, config)
        fit(
            model,
            taught,
            [batches[VALIDATION]],
            config=FitConfig(max_epochs=N_EPOCHS, patience=N_EPOCHS),
            progress=False,
            accelerator="cpu",
            callbacks=[clock],
        )
        n_weights = sum(p.numel() for p in model.parameters())
        print(f"{name}, {n_weights} weights: epochs", *clock.seconds, flush=True)
    ridge, task = RidgePredictor(), Task(train, (), panel)
    ridge.fit(task, seed=0)  # its features come from the cache from now on
    started = now()
    ridge.fit(task, seed=0)
    print(f"ridge regression, penalty chosen: {since(started)}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory of the process: {peak / 2**20:.2f} GiB")


def made_up(n_spots: int) -> SectionBatch:
    """Return a section of random numbers on a square lattice, with a few queries."""
    side = int(np.ceil(n_spots**0.5))
    x, y = np.divmod(np.arange(n_spots), side)
    places = np.column_stack([x, y, np.zeros(n_spots)]) * PITCH_UM
    return SectionBatch(
        ("made up",),
        ("P",),
        tuple(map(str, range(N_GENES))),
        torch.zeros(n_spots, dtype=torch.int64),
        torch.from_numpy(places).float(),
        torch.linspace(0, n_spots - 1, N_QUERIES).long(),
        features=torch.randn(n_spots, N_FEATURES),
        grids={
            "spot": torch.randn(N_QUERIES, N_FEATURES, 7, 7),
            "surroundings": torch.randn(N_QUERIES, N_FEATURES, 5, 5),
            "inside": torch.ones(N_QUERIES, 1, 5, 5),
        },
        targets=torch.randn(N_QUERIES, N_GENES),
    )


def take(model: Triplex, batch: SectionBatch, training: bool) -> None:
    """Predict, or take the gradient of one step."""
    with torch.set_grad_enabled(training):
        prediction = model.train(training)(batch)
        if training:
            model.loss(prediction, batch).backward()


def measure(n_spots: int, training: bool) -> None:
    """Print processor seconds and the peak memory in MiB that one call adds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Triplex(np.zeros(N_GENES))
    few = made_up(256)
    model.prepare([few])
    take(model, few, training)
    batch = made_up(n_spots)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    take(model, batch, training)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(seconds, (peak - before) / 2**10)


def main() -> None:
    """Print both parts, or measure one section."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--skip-epochs", action="store_true")
    parser.add_argument("--spots", type=int, help="measure this one, in this process")
    parser.add_argument("--training", action="store_true")
    asked = parser.parse_args()
    if asked.spots:
        measure(asked.spots, asked.training)
        return
    # First, as a process begins with the peak memory of the one that starts it.
    print(f"{N_QUERIES} queries of a section, one thread: seconds, MiB more")
    for training in ([], ["--training"]):
        for n_spots in SIZES:
            words = [sys.executable, __file__, "--spots", str(n_spots), *training]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            seconds, more = (float(word) for word in done.stdout.split())
            what = "train" if training else "predict"
            print(f"{what}, {n_spots} spots: {seconds:.2f} s, {more:.0f} MiB")
    if not asked.skip_epochs:
        epochs()


if __name__ == "__main__":
    main()
