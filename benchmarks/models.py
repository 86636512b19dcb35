"""Every model so far under one protocol, beside the trivial predictors.

Run with `STLEARNKIT_DATA` and `STLEARNKIT_WEIGHTS` set, or with a network:

    python benchmarks/models.py FOLDER [--seeds 0 1 2] [--only ridge] [--csv FILE]

The folds, the competitors and their settings are `stlearnkit.suites.her2st`, which
``stlearnkit evaluate STUDY --suite her2st`` runs, too. Results are kept in FOLDER: a
run that was stopped goes on where it was, and one that asks for more seeds computes
only those. What takes longest is trained with the first seed only. Near-empty spots
flatter whatever knows the library size, so all is scored twice, with all spots and with
those of 100 transcripts or more; networks are trained once, as their runs are kept too.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

from stlearnkit.environment import gpu_name
from stlearnkit.reports import overview, paired_difference, per_unit, printed
from stlearnkit.suites import SCORES, her2st, units


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


def main() -> None:
    """Evaluate all on six folds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=[], help="names of predictors")
    parser.add_argument("--csv", type=Path, help="where to write a row per section")
    asked = parser.parse_args()
    print(f"{gpu_name() or 'no GPU'}, {torch.get_num_threads()} CPU threads for torch")
    table = her2st().evaluate(asked.folder, seeds=asked.seeds, only=asked.only)
    for least, rows in table.groupby("least"):
        print(f"\nspots of {least} or more transcripts")
        report(rows)
    if asked.csv:
        units(table).to_csv(asked.csv, index=False)


if __name__ == "__main__":
    main()
