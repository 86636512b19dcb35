"""Fitted predictors in files: what was learnt in one process predicts in another.

One file in the format of safetensors holds all: arrays and weights as they are, and in
its header, as JSON, which of the library's own classes they belong to. Nothing is
pickled, and what is read back can only be of classes and functions of this library. Of
an encoder the file holds its fingerprint; its network is loaded as it was before, and
must be the same.

Taught in the chapter "Judging a map".
"""

__all__ = ["Trained", "load", "save"]

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save as bytes_of

from stlearnkit._store import replace_file
from stlearnkit.expression import Panel
from stlearnkit.predictors._plain import Reader, Writer
from stlearnkit.predictors._task import FittedPredictor, Predictor, Task
from stlearnkit.sections import Section

_FORMAT, _HEADER = "predictor 1", "stlearnkit"


@dataclass(frozen=True, eq=False)
class Trained:
    """A fitted predictor with its name and the genes it predicts."""

    name: str
    """Of the predictor, as tables print it."""
    panel: Panel
    """Genes, in the order of its predictions."""
    fitted: FittedPredictor

    @classmethod
    def fit(cls, predictor: Predictor, task: Task, seed: int) -> "Trained":
        """Fit a predictor and keep what belongs to it."""
        return cls(predictor.name, task.panel, predictor.fit(task, seed))

    def predict(self, section: Section) -> pd.DataFrame:
        """Return the expression of a section as a table of spots × genes."""
        predicted = self.fitted.predict(section).astype(np.float32)
        spots, genes = section.adata.obs_names, list(self.panel.genes)
        return pd.DataFrame(
            predicted, index=pd.Index(spots, name="spot"), columns=genes
        )

    def to_bytes(self) -> bytes:
        """Return what `save` writes.

        Raises
        ------
        TypeError
            If it holds something that is not of this library.
        """
        writer = Writer()
        words = {"format": _FORMAT, "version": version("stlearnkit")}
        words["trained"] = writer.plain(self)
        # One entry, as safetensors writes several in any order.
        header = {_HEADER: json.dumps(words)}

        return bytes_of(writer.arrays, metadata=header)


def save(trained: Trained, file: Path | str) -> None:
    """Write a fitted predictor; the final name never holds half of it.

    Parameters
    ----------
    trained
        What to write: a mean profile, ridge, kriging, a network, or the best or the
        mean of several.
    file
        Usually ``"….safetensors"``.

    Raises
    ------
    TypeError
        If it holds something that is not of this library.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from stlearnkit import expression, synthetic
    >>> from stlearnkit.predictors import MeanPredictor
    >>> pair = synthetic.stack(2, n_spots=9, n_genes=12, mpp=2.0).stack.sections
    >>> task = Task(pair[:1], (), expression.top_genes(pair[:1], 3))
    >>> trained = Trained.fit(MeanPredictor(), task, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(trained, Path(folder) / "mean.safetensors")
    ...     again = load(Path(folder) / "mean.safetensors")
    >>> again.predict(pair[1]).equals(trained.predict(pair[1]))
    True
    """
    replace_file(Path(file), trained.to_bytes())


def load(file: Path | str) -> Trained:
    """Read a fitted predictor that `save` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not one of these, is damaged, or its encoder is no longer the same.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"no fitted predictor at {path}. Check the path.")
    content = path.read_bytes()
    try:
        plain = _words(content)["trained"]
        arrays = arrays_of(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} holds no fitted predictor that predictors.fitted.save wrote, or "
            f"is damaged: {error}. Fit and save it again."
        ) from error
    trained = Reader(arrays, str(path)).value(plain)
    if not isinstance(trained, Trained):
        raise ValueError(f"{path} holds no predictor. Fit and save it again.")
    return trained


def _words(content: bytes) -> dict[str, Any]:
    """Return the words of a file of safetensors.

    Raises
    ------
    ValueError
        If it is not in this room's format.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size]).get("__metadata__", {})
    words = json.loads(header.get(_HEADER, "{}"))
    if words.get("format") != _FORMAT:
        raise ValueError(f"its format is {words.get('format')!r}, not {_FORMAT!r}")
    return dict(words)
