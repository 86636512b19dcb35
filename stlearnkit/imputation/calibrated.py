"""Imputation with intervals: squares of the observed sections say how far it misses.

Each observed section is cut into squares, a part of them is hidden in turn, and what is
said of them is compared with what was measured there. `intervals.calibrate` turns these
errors into intervals, wide where few transcripts are expected.

They are those of spots within the observed sections. What the step to another section
costs beyond that, no observed section can say; see `intervals.Conformal.factor`.

Taught in the chapter "Imputing a volume".
"""

__all__ = ["Calibrated", "calibrated"]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from stlearnkit.expression import log_normalised
from stlearnkit.intervals import Conformal, calibrate, scatter, spatial_blocks
from stlearnkit.predictors import Predictor, Task
from stlearnkit.predictors._task import FittedPredictor
from stlearnkit.sections import Section

_N_PARTS = 4  # of the squares, each hidden in turn
_LEAST_REST = 0.01  # variance that is not counting: none is known to be less


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A fitted imputer that knows how far it misses."""

    fitted: FittedPredictor
    intervals: Conformal
    rest: Float[np.ndarray, " genes"]
    """Variance of each gene's error that is not counting."""
    transcripts: float
    """Median number in the observed spots, expected of those that are not measured."""

    def predict(
        self, section: Section
    ) -> tuple[Float[np.ndarray, "spots genes"], Float[np.ndarray, "spots genes"]]:
        """Return the expression of a section, and half the width of its intervals.

        They are of a measurement of as many transcripts as the median observed spot.

        Parameters
        ----------
        section
            A section of a patient with observed sections.
        """
        predicted = self.fitted.predict(section)
        depth = np.full(section.n_spots, self.transcripts)
        spread = scatter(predicted, depth, self.rest)
        return predicted, self.intervals.half_width(spread)


def calibrated(
    imputer: Predictor,
    task: Task,
    *,
    level: float = 0.9,
    side_um: float = 800.0,
    seed: int = 0,
) -> Calibrated:
    """Fit an imputer on observed sections, and on parts of them to see how it misses.

    Parameters
    ----------
    imputer
        One of the predictors of `imputation`.
    task
        With observed sections of one patient.
    level
        The share of measurements that intervals are to hold.
    side_um
        Of the squares; two to five distances of neighbouring spots serve.
    seed
        Given to the imputer.

    Raises
    ------
    ValueError
        If there is no observed section, squares are too large or too few, or there are
        too few spots for the level.

    Examples
    --------
    >>> from stlearnkit import expression, synthetic
    >>> from stlearnkit.imputation import PlaceImputer
    >>> pair = synthetic.stack(2, n_spots=60, n_genes=20, mpp=2.0).stack.sections
    >>> task = Task((), pair[:1], expression.top_genes(pair[:1], 5))
    >>> fitted = calibrated(PlaceImputer(), task, side_um=400.0)
    >>> [table.shape for table in fitted.predict(pair[1])]
    [(60, 5), (60, 5)]
    """
    if not task.observed:
        raise ValueError(
            "the task has no observed section to calibrate on. Give one or more."
        )
    genes = task.panel.genes
    said = _left_out(imputer, task, side_um, seed)
    measured = np.concatenate([log_normalised(each, genes) for each in task.observed])
    transcripts = np.concatenate([each.total_counts() for each in task.observed])
    counting = scatter(said, transcripts, np.zeros(len(genes))) ** 2
    missed = measured - said
    rest = np.mean(missed**2 - counting, axis=0).clip(min=_LEAST_REST)
    intervals = calibrate(missed, scatter(said, transcripts, rest), level=level)
    fitted = imputer.fit(task, seed)
    return Calibrated(fitted, intervals, rest, float(np.median(transcripts)))


def _left_out(
    imputer: Predictor, task: Task, side_um: float, seed: int
) -> Float[np.ndarray, "spots genes"]:
    """Return what is said of the spots of observed sections, part by part left out."""
    parts = [
        spatial_blocks(section.coords_um, side_um) % _N_PARTS
        for section in task.observed
    ]
    said = [np.empty((section.n_spots, len(task.panel))) for section in task.observed]
    for number in np.unique(np.concatenate(parts)):
        kept = tuple(
            section.subset(part != number)
            for section, part in zip(task.observed, parts, strict=True)
        )
        fitted = imputer.fit(Task((), kept, task.panel), seed)
        for section, part, table in zip(task.observed, parts, said, strict=True):
            # All spots are asked for, as they say what is usual on the section.
            table[part == number] = fitted.predict(section)[part == number]
    return np.concatenate(said)
