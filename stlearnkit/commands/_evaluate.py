"""The step `evaluate`: predictors judged where they cannot look."""

__all__ = ["pieces", "scores_file", "summed_up"]

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from stlearnkit import benchmark
from stlearnkit.commands._pieces import Piece
from stlearnkit.commands._settings import Study
from stlearnkit.commands._study import (
    at_hand,
    digest,
    looked,
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
from stlearnkit.sections import Section
from stlearnkit.suites import COMPETITORS, competitor


def scores_file(study: Study) -> Path:
    """Return where the scores are kept."""
    return study.home / "evaluate" / "scores.parquet"


def pieces(study: Study) -> list[Piece]:
    """Return the table of scores, and what it comes to."""
    names = require(study, "evaluate.sections")
    known = {"features": looked(study), "sections": sources(study, names)}
    asked = settings(study.evaluate)
    # More predictors or seeds go on in the same folder; other folds or genes do not.
    kept = {key: asked[key] for key in ("folds", "n_genes", "min_transcripts")}
    results = scores_file(study).parent / "results" / digest(kept | known)
    make = partial(_judged, study, _chosen(study), results)
    return [Piece(summed_up(scores_file(study)), {"evaluate": asked, **known}, make)]


def summed_up(scores: Path) -> tuple[Path, Path]:
    """Return the files that scores are written to."""
    return scores, scores.with_name("overview.csv")


def _chosen(study: Study) -> list[Predictor]:
    """Return the competitors that the file names."""
    runs, seen = study.home / "evaluate" / "runs", looks(study)
    names = [
        require_name(study, "evaluate.predictors", name, COMPETITORS)
        for name in study.evaluate.predictors
    ]
    return [competitor(name, runs, seen) for name in names]


def _judged(study: Study, chosen: list[Predictor], results: Path) -> list[bytes]:
    """Judge, going on where a run was stopped, and sum up."""
    asked = study.evaluate
    scores = benchmark.evaluate(
        _folds(study),
        chosen,
        load=_Sections(study),
        folder=results,
        n_genes=asked.n_genes,
        seeds=asked.seeds,
        min_transcripts=asked.min_transcripts,
    )
    return [
        parquet(scores),
        overview(scores).reset_index().to_csv(index=False).encode(),
    ]


@dataclass(frozen=True)
class _Sections:
    """Sections of a study by their names; which they are, the folder's name says."""

    study: Study = field(repr=False)

    def __call__(self, name: str) -> Section:
        """Return a section."""
        return at_hand(self.study, [name])[0]


def _folds(study: Study) -> tuple[Fold, ...]:
    """Return the folds that the file asks for."""
    names = study.evaluate.sections
    if study.evaluate.folds == "sections":
        return leave_one_section_out(names)
    sections = at_hand(study, names)
    return leave_one_patient_out({each.name: each.patient for each in sections})
