"""The linear baseline on real sections: leave one section out, then another patient.

Run with `STLEARNKIT_DATA` and `STLEARNKIT_WEIGHTS` set, or with a network:

    python benchmarks/linear_baseline.py

The panel, scaling, components and penalty are chosen on training sections only.
"""

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd

from stlearnkit.datasets import her2st
from stlearnkit.encoders import Encoder, default_encoder, features
from stlearnkit.expression import log_normalised, shared_genes, top_genes
from stlearnkit.metrics import mse, pcc_per_gene, summarise
from stlearnkit.models.baselines import (
    MeanProfile,
    RidgeRegression,
    neighbourhood_features,
)
from stlearnkit.patches import Scale
from stlearnkit.sections import Section

SCALES = (Scale("spot", 112.0), Scale("near", 224.0), Scale("wide", 560.0))
PATIENT_C = ("C2", "C3", "C4", "C5", "C6")


def blocks(section: Section, encoder: Encoder) -> list[np.ndarray]:
    """Return the features of a section at all scales, and their means over discs."""
    of_scales = [features(section, encoder, scale) for scale in SCALES]
    return neighbourhood_features(of_scales, section.coords_um)


def score(
    test: Section, training: Sequence[Section], blocks_of: dict[str, list[np.ndarray]]
) -> dict[str, float | str]:
    """Train both baselines on `training` and judge them on `test`."""
    panel = top_genes(training, 250, among=shared_genes([*training, test]))
    inputs = [blocks_of[section.name] for section in training]
    targets = [log_normalised(section, panel.genes) for section in training]
    measured = log_normalised(test, panel.genes)
    ridge = RidgeRegression().fit(inputs, targets)
    predicted = ridge.predict(blocks_of[test.name])
    mean = MeanProfile().fit(inputs, targets).predict(blocks_of[test.name])
    return {
        "test": test.name,
        "PCC": summarise(pcc_per_gene(predicted, measured)).mean,
        "MSE": mse(predicted, measured),
        "MSE of the mean": mse(mean, measured),
        "alpha": ridge.alpha,
    }


def main() -> None:
    """Print one row per test section."""
    started = time.perf_counter()
    sections = {name: her2st(name) for name in (*PATIENT_C, "B4")}
    encoder = default_encoder()
    blocks_of = {name: blocks(section, encoder) for name, section in sections.items()}
    print(f"features of {encoder.name}: {time.perf_counter() - started:.0f} s")
    started = time.perf_counter()
    serial = [sections[name] for name in PATIENT_C]
    rows = [score(s, [t for t in serial if t is not s], blocks_of) for s in serial]
    table = pd.DataFrame(rows).set_index("test")
    table.loc["mean of C2-C6"] = table.mean()
    table.loc["B4"] = pd.Series(score(sections["B4"], serial, blocks_of))
    print(table.round(4).to_string())
    print(f"six nested fits: {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
