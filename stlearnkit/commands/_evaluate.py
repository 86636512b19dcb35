"""The step `evaluate`: predictors judged where they cannot look."""

__all__ = ["pieces"]

import pandas as pd

from stlearnkit import benchmark
from stlearnkit.commands._pieces import Piece
from stlearnkit.commands._settings import Study
from stlearnkit.commands._study import (
    at_hand,
    looks,
    parquet,
    require,
    require_name,
    settings,
    sources,
)
from stlearnkit.folds import Fold, leave_one_patient_out, leave_one_section_out
from stlearnkit.predictors import Predictor
from stlearnkit.reports import overview
from stlearnkit.suites import COMPETITORS, competitor


def pieces(study: Study) -> list[Piece]:
    """Return the tables of scores."""
    folder = study.home / "evaluate"
    names = require(study, "evaluate.sections")
    chosen = _chosen(study)
    of = {
        "evaluate": settings(study.evaluate),
        "features": settings(study.features),
        "sections": sources(study, names),
    }

    def tables() -> list[bytes]:
        """Judge, going on where a run was stopped, and sum up."""
        scores = _scores(study, chosen)
        intervals = overview(scores).reset_index()
        return [parquet(scores), intervals.to_csv(index=False).encode()]

    return [Piece((folder / "scores.parquet", folder / "overview.csv"), of, tables)]


def _chosen(study: Study) -> list[Predictor]:
    """Return the competitors that the file names."""
    runs, seen = study.home / "evaluate" / "runs", looks(study)
    names = [
        require_name(study, "evaluate.predictors", name, COMPETITORS)
        for name in study.evaluate.predictors
    ]
    return [competitor(name, runs, seen) for name in names]


def _scores(study: Study, chosen: list[Predictor]) -> pd.DataFrame:
    """Return the table of scores."""
    asked = study.evaluate
    return benchmark.evaluate(
        _folds(study),
        chosen,
        load=lambda name: at_hand(study, [name])[0],
        folder=study.home / "evaluate" / "results",
        n_genes=asked.n_genes,
        seeds=asked.seeds,
        min_transcripts=asked.min_transcripts,
    )


def _folds(study: Study) -> tuple[Fold, ...]:
    """Return the folds that the file asks for."""
    names = study.evaluate.sections
    if study.evaluate.folds == "sections":
        return leave_one_section_out(names)
    sections = at_hand(study, names)
    return leave_one_patient_out({each.name: each.patient for each in sections})
