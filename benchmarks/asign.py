"""What ASIGN costs: an epoch of training, and sections of many spots in blocks.

Run with `STLEARNKIT_DATA` and `STLEARNKIT_WEIGHTS` set, or with a network:

    python benchmarks/asign.py            both
    python benchmarks/asign.py --skip-epochs

Frozen features are made, or read from the cache, before any clock starts. Epochs are
those of `training.fit`, validation not counted, on all threads. Each made-up section,
with as many features as `recipes.GraphRecipe` gives, has a process of its own, on one
thread: graphs and tiles are built, then `training.fit` takes one epoch in blocks and
`training.predict` predicts the section, in blocks or whole; its peak memory is that of
all this, section included.
"""

import argparse
import resource
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from clocks import EpochClock

from stlearnkit.batches import SectionBatch
from stlearnkit.datasets import her2st
from stlearnkit.expression import log_normalised, top_genes
from stlearnkit.graphs import ScaleGraph, knn
from stlearnkit.models.asign import Asign, AsignConfig
from stlearnkit.recipes import GraphRecipe
from stlearnkit.training import FitConfig, fit, predict

TRAIN, VALIDATION = ("C2", "C3", "C4", "C5", "C6"), "B4"
N_EPOCHS = 2
SIZES = (1000, 5000, 20_000, 50_000)
BLOCK, WHOLE = 2000, 10**9  # spots a step
N_FEATURES, N_TILE_FEATURES, N_GENES = 3840, 1280, 250
PITCH_UM = 200.0


def epochs() -> None:
    """Print the time of an epoch on five sections, in blocks of 32 spots and whole."""
    sections = {name: her2st(name) for name in (*TRAIN, VALIDATION)}
    panel = top_genes([sections[name] for name in TRAIN], N_GENES)
    batches = {}
    for name, section in sections.items():
        measured = torch.from_numpy(log_normalised(section, panel.genes)).float()
        batches[name] = replace(GraphRecipe()(section, panel.genes), targets=measured)
    taught = [batches[name] for name in TRAIN]
    profile = torch.cat([batch.targets for batch in taught]).mean(dim=0).numpy()
    n_spots = sum(batch.n_spots for batch in taught)
    n_threads = torch.get_num_threads()
    print(f"{n_spots} spots of {', '.join(TRAIN)}, {n_threads} threads")
    print("seconds by the clock (of the processor)")
    for spots in (32, 512):
        clock, model = EpochClock(), Asign(profile)
        fit(
            model,
            taught,
            [batches[VALIDATION]],
            config=FitConfig(
                max_epochs=N_EPOCHS, patience=N_EPOCHS, spots_per_step=spots
            ),
            progress=False,
            accelerator="cpu",
            callbacks=[clock],
        )
        n_weights = sum(p.numel() for p in model.parameters())
        what = f"{n_weights} weights, {spots} spots a step"
        print(f"{what}: epochs", *clock.seconds, flush=True)


def made_up(name: str, n_spots: int) -> SectionBatch:
    """Return a section of random numbers on a square lattice, as a graph."""
    side = int(np.ceil(n_spots**0.5))
    x, y = np.divmod(np.arange(n_spots), side)
    coords_um = np.column_stack([x, y]) * PITCH_UM
    sides_um = {"region": 350.0, "district": 700.0}
    scales = ScaleGraph.build(coords_um, sides_um, self_loops=True)
    random = np.random.default_rng(n_spots)
    of_tiles = {
        tiles.name: random.normal(size=(tiles.n_tiles, N_TILE_FEATURES))
        for tiles in scales.scales
    }
    flat = SectionBatch(
        (name,),
        ("P",),
        tuple(map(str, range(N_GENES))),
        torch.zeros(n_spots, dtype=torch.int64),
        torch.nn.functional.pad(torch.from_numpy(coords_um).float(), (0, 1)),
        torch.arange(n_spots),
        features=torch.randn(n_spots, N_FEATURES),
        targets=torch.randn(n_spots, N_GENES),
    )
    return flat.with_graph(knn(coords_um, 8, self_loops=True), scales, of_tiles)


def measure(n_spots: int, part: str) -> None:
    """Print processor seconds and the peak memory in MiB of one part."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    started = time.process_time()
    batch = made_up("made up", n_spots)
    made = time.process_time() - started
    model = Asign(np.zeros(N_GENES), AsignConfig())
    started = time.process_time()
    if part.startswith("train"):
        spots = BLOCK if part == "train in blocks" else WHOLE
        fit(
            model,
            [batch],
            [made_up("small", 100)],
            config=FitConfig(max_epochs=1, spots_per_step=spots),
            progress=False,
            accelerator="cpu",
        )
    else:
        model.prepare([made_up("small", 1000)])
        for parameter in model.parameters():
            if not parameter.any():  # so that all parts have a say
                torch.nn.init.normal_(parameter, std=0.1)
        spots = BLOCK if part == "predict in blocks" else WHOLE
        found = predict(model, batch, n_symmetries=1, spots_per_step=spots)
        if part == "agree":
            again = predict(model, batch, n_symmetries=1, spots_per_step=BLOCK)
            apart = np.abs(found - again).max()
            print(f"largest difference {apart:.1e}, of {found.std():.2f}")
            return
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{seconds:.1f} s, peak {peak:.2f} GiB (section made in {made:.1f} s)")


def main() -> None:
    """Print both parts, or measure one section."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--skip-epochs", action="store_true")
    parser.add_argument("--spots", type=int, help="measure this one, in this process")
    parser.add_argument("--part", default="predict in blocks")
    asked = parser.parse_args()
    if asked.spots:
        measure(asked.spots, asked.part)
        return
    # First, as a process begins with the peak memory of the one that starts it.
    for part in ("train in blocks", "train", "predict in blocks", "predict", "agree"):
        for n_spots in SIZES:
            words = [sys.executable, __file__, "--spots", str(n_spots), "--part", part]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            print(
                f"{part}, {n_spots} spots: {done.stdout.splitlines()[-1]}", flush=True
            )
    if not asked.skip_epochs:
        epochs()


if __name__ == "__main__":
    main()
