"""The step `train`: one predictor fitted on the training sections."""

__all__ = ["pieces", "trained_file"]

from functools import partial
from pathlib import Path

from stlearnkit.commands._pieces import Piece
from stlearnkit.commands._settings import Study
from stlearnkit.commands._study import (
    at_hand,
    looked,
    looks,
    require,
    require_name,
    settings,
    sources,
)
from stlearnkit.expression import shared_genes, top_genes
from stlearnkit.folds import Fold, leave_one_patient_out, leave_one_section_out
from stlearnkit.predictors import Predictor, Task
from stlearnkit.predictors.fitted import Trained
from stlearnkit.sections import Section
from stlearnkit.suites import COMPETITORS, competitor


def trained_file(study: Study) -> Path:
    """Return where the fitted predictor is kept."""
    return study.home / "train" / f"{study.train.predictor}.safetensors"


def pieces(study: Study) -> list[Piece]:
    """Return the file of the fitted predictor."""
    name = require_name(study, "train.predictor", study.train.predictor, COMPETITORS)
    predictor = competitor(name, study.home / "train" / "runs", looks(study))
    names = require(study, "train.sections")
    of = {
        "train": settings(study.train),
        "features": looked(study),
        "sections": sources(study, names),
    }
    return [Piece((trained_file(study),), of, partial(_fitted, study, predictor))]


def _fitted(study: Study, predictor: Predictor) -> list[bytes]:
    """Fit the predictor and return its file."""
    sections = at_hand(study, study.train.sections)
    panel = top_genes(sections, study.train.n_genes, among=shared_genes(sections))
    task = Task(sections, (), panel, _inner(sections))
    return [Trained.fit(predictor, task, study.train.seed).to_bytes()]


def _inner(sections: tuple[Section, ...]) -> tuple[Fold, ...]:
    """Return folds to choose settings with: by patient, where there are several."""
    patients = {section.name: section.patient for section in sections}
    if len(set(patients.values())) > 1:
        return leave_one_patient_out(patients)
    return leave_one_section_out(patients) if len(patients) > 1 else ()
