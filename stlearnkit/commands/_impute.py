"""The step `impute`: some sections of a block are measured, the others predicted."""

__all__ = ["imputed_file", "pieces"]

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pandas as pd

from stlearnkit.commands._maps import h5ad, points
from stlearnkit.commands._pieces import Piece
from stlearnkit.commands._settings import Study
from stlearnkit.commands._study import (
    at_hand,
    looked,
    looks,
    parquet,
    require,
    require_name,
    settings,
    sources,
)
from stlearnkit.expression import top_genes
from stlearnkit.imputation.calibrated import Calibrated, calibrated
from stlearnkit.predictors import Task
from stlearnkit.suites import IMPUTERS, imputer


def imputed_file(study: Study, name: str) -> Path:
    """Return where the imputed expression of a section is kept."""
    return study.home / "impute" / study.impute.predictor / f"{name}.h5ad"


def pieces(study: Study) -> list[Piece]:
    """Return the files of each section."""
    asked = study.impute
    require_name(study, "impute.predictor", asked.predictor, IMPUTERS)
    observed = require(study, "impute.observed")
    fitted = cache(partial(_fitted, study))
    of = {
        "impute": settings(asked) | {"sections": []},
        "heights": _heights(study),
        "features": looked(study),
        "observed": sources(study, observed),
    }
    return [
        Piece(
            (
                imputed_file(study, name),
                imputed_file(study, name).with_suffix(".parquet"),
            ),
            of | {"section": sources(study, [name])},
            partial(_imputed, study, name, fitted),
        )
        for name in require(study, "impute.sections")
    ]


def _heights(study: Study) -> dict[str, float]:
    """Return the height of each section, as far as [align] says it."""
    return dict(zip(study.align.sections, study.align.z_um, strict=False))


def _fitted(study: Study) -> tuple[Calibrated, list[str]]:
    """Fit and calibrate the imputer; return it and its genes."""
    asked = study.impute
    observed = at_hand(study, asked.observed)
    panel = top_genes(observed, asked.n_genes)
    found = calibrated(
        imputer(asked.predictor, _heights(study), looks(study)),
        Task((), observed, panel),
        level=asked.level,
        side_um=asked.block_um,
        seed=asked.seed,
    )
    return found, list(panel.genes)


def _imputed(
    study: Study, name: str, fitted: Callable[[], tuple[Calibrated, list[str]]]
) -> list[bytes]:
    """Impute a section and return its files."""
    (section,) = at_hand(study, [name])
    found, genes = fitted()
    spots = pd.Index(section.adata.obs_names, name="spot")
    expression, half = (
        pd.DataFrame(table, index=spots, columns=genes)
        for table in found.predict(section)
    )
    low, high = expression - half, expression + half
    long = points(section, expression).join(
        [low.add_prefix("low "), high.add_prefix("high ")]
    )
    return [h5ad(section, expression, {"low": low, "high": high}), parquet(long)]
