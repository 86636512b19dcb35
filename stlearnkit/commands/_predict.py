"""The step `predict`: maps of sections that nobody has to have measured."""

__all__ = ["pieces", "predicted_file"]

from collections.abc import Callable
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path

from stlearnkit.commands import _train
from stlearnkit.commands._errors import JobError
from stlearnkit.commands._maps import h5ad, points
from stlearnkit.commands._pieces import Piece
from stlearnkit.commands._settings import Study
from stlearnkit.commands._study import at_hand, parquet, require, sources
from stlearnkit.predictors import fitted


def predicted_file(study: Study, name: str) -> Path:
    """Return where the prediction of a section is kept."""
    return study.home / "predict" / study.train.predictor / f"{name}.h5ad"


def pieces(study: Study) -> list[Piece]:
    """Return the files of each section.

    Raises
    ------
    JobError
        If nothing was trained, or by other settings.
    """
    names = require(study, "predict.sections")
    (trained,) = _train.pieces(study)
    if not trained.is_there:
        raise JobError(
            f"{trained.files[0]} is not there, or is of other settings. Run "
            f"'stlearnkit train {study.file}' first."
        )
    load = cache(partial(fitted.load, trained.files[0]))
    content = trained.files[0].read_bytes()
    sum_ = blake2b(content, digest_size=16).hexdigest()
    return [
        Piece(
            (
                predicted_file(study, name),
                predicted_file(study, name).with_suffix(".parquet"),
            ),
            {"trained": sum_, "section": sources(study, [name])},
            partial(_predicted, study, name, load),
        )
        for name in names
    ]


def _predicted(
    study: Study, name: str, load: Callable[[], fitted.Trained]
) -> list[bytes]:
    """Predict a section and return its files."""
    (section,) = at_hand(study, [name])
    expression = load().predict(section)
    return [h5ad(section, expression, {}), parquet(points(section, expression))]
