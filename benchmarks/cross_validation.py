"""Cross-validation on real sections: the linear baseline beside the mean profile.

Run with `STLEARNKIT_DATA` and `STLEARNKIT_WEIGHTS` set, or with a network:

    python benchmarks/cross_validation.py [FOLDER]

Results are kept in FOLDER, so that a run that was stopped goes on where it was; without
one they are computed afresh. Near-empty spots flatter whatever knows the library size,
so all is scored twice: with all spots, and with those of 100 transcripts or more.
"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pandas as pd

from stlearnkit.benchmark import evaluate
from stlearnkit.datasets import her2st
from stlearnkit.folds import Fold, leave_one_section_out
from stlearnkit.predictors import MeanPredictor, RidgePredictor
from stlearnkit.reports import overview, paired_difference, printed

PATIENT_C = ("C2", "C3", "C4", "C5", "C6")
FOLDS = (
    *leave_one_section_out(PATIENT_C),
    Fold("B4", train=PATIENT_C, test=("B4",), claim="patient"),
)
SCORES = ("pcc", "pcc_beyond", "pcc_library_size", "ceiling", "skill", "mse")


def report(table: pd.DataFrame) -> None:
    """Print means of all scores, and how sure the correlation is."""
    columns = {score: overview(table, score=score)["mean"] for score in SCORES}
    print(pd.DataFrame(columns).round(4).to_string(), "\n")
    print(printed(overview(table)), "\n")
    print("ridge over the mean profile")
    print(printed(paired_difference(table, "ridge", "mean profile")), "\n")


def main(folder: Path) -> None:
    """Evaluate both predictors on six folds."""
    run = partial(evaluate, FOLDS, [MeanPredictor(), RidgePredictor()], load=her2st)
    for least in (1, 100):
        started = time.perf_counter()
        table = run(folder=folder / f"least_{least}", min_transcripts=least)
        print(f"spots of {least} or more transcripts")
        report(table)
        print(f"{len(FOLDS)} folds: {time.perf_counter() - started:.0f} s\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
