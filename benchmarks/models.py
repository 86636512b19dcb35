"""Every model so far under one protocol, beside the trivial predictors.

Run with `STLEARNKIT_DATA` and `STLEARNKIT_WEIGHTS` set, or with a network:

    python benchmarks/models.py FOLDER [--seeds 0 1 2] [--only ridge] [--csv FILE]

Results are kept in FOLDER: a run that was stopped goes on where it was, and one that
asks for more seeds computes only those. What takes longest is trained with the first
seed only. Near-empty spots flatter whatever knows the library size, so all is scored
twice, with all spots and with those of 100 transcripts or more; networks are trained
once, as their runs are kept too.

Kriging stands beside ridge as the second simple competitor, and needs no seed either.

ST-Net stands here twice: with the library's settings and eight epochs, and with
settings chosen anew in every fold, by the error on a training section that is set
aside; the same section chooses the epoch. Each seed sets another section aside. To
choose from are all pairs of two sizes of the picture, as large as a CPU affords, and
two learning rates, the library's and a third of it.

TRIPLEX and BG-TRIPLEX are trained once for each section that can be set aside, and the
mean of their predictions is scored. Beside TRIPLEX stands what is left of it if all
attention is a plain mean, and without its line, as published, and the mean of these
three, whose networks differ in kind and not by chance alone; beside BG-TRIPLEX its
controls: maps of other spots, brightness in place of edges, and empty maps, which is
TRIPLEX with as many weights. ASIGN has the same number of networks, and stands beside
itself without asking, tiles, graph or consistency, and with a line. Epochs of all three
are chosen by correlation, which the trials found better.
"""

import argparse
import time
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
import torch

from stlearnkit.benchmark import evaluate
from stlearnkit.datasets import her2st
from stlearnkit.environment import gpu_name
from stlearnkit.folds import Fold, leave_one_section_out
from stlearnkit.models.asign import Asign, AsignConfig
from stlearnkit.models.cnn import STNet, STNetConfig
from stlearnkit.models.triplex import Triplex, TriplexConfig
from stlearnkit.predictors import (
    BestOf,
    KrigingPredictor,
    MeanOf,
    MeanPredictor,
    NetworkPredictor,
    Predictor,
    RidgePredictor,
)
from stlearnkit.recipes import GraphRecipe, GuideRecipe, PatchRecipe, ViewsRecipe
from stlearnkit.reports import overview, paired_difference, per_unit, printed
from stlearnkit.training import FitConfig

PATIENT_C = ("C2", "C3", "C4", "C5", "C6")
FOLDS = (
    *leave_one_section_out(PATIENT_C),
    Fold("B4", train=PATIENT_C, test=("B4",), claim="patient"),
)
SETTINGS = tuple(product((64, 112), (1e-4, 3e-4)))  # px, learning rate
SCORES = ("pcc", "pcc_beyond", "pcc_library_size", "ceiling", "skill", "mse")


def short_stnet(folder: Path) -> NetworkPredictor:
    """Return ST-Net as a laptop trains it in half a minute a fold."""
    return NetworkPredictor(
        partial(STNet, config=STNetConfig(n_frozen_stages=4)),
        PatchRecipe(224.0, 64),
        FitConfig(max_epochs=8),
        folder=folder,
        name="ST-Net, short",
    )


def stnet(folder: Path) -> BestOf:
    """Return ST-Net with the settings that each fold may choose from."""
    candidates = tuple(
        NetworkPredictor(
            partial(STNet, config=STNetConfig(n_frozen_stages=2)),
            PatchRecipe(224.0, side_px),
            FitConfig(max_epochs=15, learning_rate=rate),
            folder=folder,
            name=f"ST-Net, {side_px} px, {rate:g}",
        )
        for side_px, rate in SETTINGS
    )
    return BestOf(candidates, name="ST-Net")


def triplex(folder: Path, name: str = "TRIPLEX", **config: object) -> NetworkPredictor:
    """Return TRIPLEX, one network for each section set aside; with other settings."""
    return NetworkPredictor(
        partial(Triplex, config=TriplexConfig(**config)),
        ViewsRecipe(),
        FitConfig(choose_by="pcc"),
        folder=folder,
        n_networks=4,
        name=name,
    )


def varied(folder: Path) -> MeanOf:
    """Return the mean of TRIPLEX, with plain means for attention, and without line."""
    parts = triplex(folder), triplex(folder, asks=False), triplex(folder, line=False)
    return MeanOf(parts, name="TRIPLEX, varied")


def guided(folder: Path, name: str, control: str | None = None) -> NetworkPredictor:
    """Return BG-TRIPLEX, guided by maps or by what is to control for them."""
    batch = ViewsRecipe(guides=GuideRecipe(control=control))
    return replace(triplex(folder, name, guided=True), batch=batch)


def asign(folder: Path, name: str = "ASIGN", **config: object) -> NetworkPredictor:
    """Return ASIGN, one network for each section set aside; with other settings."""
    return NetworkPredictor(
        partial(Asign, config=AsignConfig(**config)),
        GraphRecipe(),
        FitConfig(choose_by="pcc", augment=False, max_epochs=30, patience=8),
        folder=folder,
        n_networks=4,
        name=name,
    )


def report(table: pd.DataFrame) -> None:
    """Print every section, the means of all scores, and how sure they are."""
    for score in ("pcc", "mse"):
        units = per_unit(table, score=score)
        wide = units.pivot(index=["claim", "name"], columns="predictor", values="value")
        print(score, wide.round(4).to_string(), sep="\n")
    columns = {score: overview(table, score=score)["mean"] for score in SCORES}
    print(pd.DataFrame(columns).round(4).to_string(), "\n")
    print(printed(overview(table)), "\n")
    names = [name for name in table["predictor"].unique() if name != "mean profile"]
    for name in names:
        print(f"{name} over the mean profile, skill")
        difference = paired_difference(table, name, "mean profile", score="skill")
        print(printed(difference, digits=3), "\n")
        if name != "ridge" and "ridge" in names:
            print(f"{name} over ridge, PCC")
            print(printed(paired_difference(table, name, "ridge"), digits=3), "\n")


def units(table: pd.DataFrame, least: int) -> pd.DataFrame:
    """Return one row for each section, predictor, seed and score: means over genes."""
    parts = [
        per_unit(of_seed, score=score).assign(score=score, seed=seed)
        for seed, of_seed in table.groupby("seed")
        for score in SCORES
    ]
    kept = ["least", "claim", "name", "predictor", "seed", "score", "value"]
    rows = pd.concat(parts, ignore_index=True).assign(least=least)[kept]
    return rows.sort_values(kept[:-1]).round({"value": 5})


def main() -> None:
    """Evaluate all on six folds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", help="names of predictors")
    parser.add_argument("--csv", type=Path, help="where to write a row per section")
    asked = parser.parse_args()
    runs = asked.folder / "runs"
    competitors: list[tuple[Predictor, list[int]]] = [
        (MeanPredictor(), [0]),
        (RidgePredictor(), [0]),
        (KrigingPredictor(), [0]),
        (short_stnet(runs), asked.seeds),
        (triplex(runs), asked.seeds),
        (guided(runs, "BG-TRIPLEX"), asked.seeds),
        (asign(runs), asked.seeds),
        (MeanOf((triplex(runs), asign(runs)), name="TRIPLEX and ASIGN"), asked.seeds),
        *(
            (competitor, asked.seeds[:1])
            for competitor in (
                stnet(runs),
                triplex(runs, "TRIPLEX, means", asks=False),
                triplex(runs, "TRIPLEX, no line", line=False),
                varied(runs),
                guided(runs, "BG-TRIPLEX, empty maps", "blank"),
                guided(runs, "BG-TRIPLEX, others' maps", "shuffled"),
                guided(runs, "BG-TRIPLEX, grey for edges", "grey"),
                asign(runs, "ASIGN, means", asks=False),
                asign(runs, "ASIGN, with line", line=True),
                asign(runs, "ASIGN, no tiles", levels=()),
                asign(runs, "ASIGN, no graph", depth=0, tile_depth=0),
                asign(runs, "ASIGN, no consistency", consistency_weight=0.0),
            )
        ),
    ]
    print(f"{gpu_name() or 'no GPU'}, {torch.get_num_threads()} CPU threads for torch")
    written = []
    for least in (1, 100):
        started = time.perf_counter()
        tables = [
            evaluate(
                FOLDS,
                [predictor],
                load=her2st,
                folder=asked.folder / f"least_{least}",
                seeds=seeds,
                min_transcripts=least,
            )
            for predictor, seeds in competitors
            if not asked.only or predictor.name in asked.only
        ]
        print(f"\nspots of {least} or more transcripts")
        table = pd.concat(tables, ignore_index=True)
        report(table)
        written.append(units(table, least))
        print(f"{time.perf_counter() - started:.0f} s\n")
    if asked.csv:
        pd.concat(written).to_csv(asked.csv, index=False)


if __name__ == "__main__":
    main()
