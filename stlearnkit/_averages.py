"""From many scores to a mean: in which order, of what, and how sure."""

__all__ = ["Interval", "bootstrap_interval", "check_same", "over_seeds"]

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

_FEWEST_UNITS = 3  # of which a bootstrap is taken
_KEYS = ["claim", "predictor", "patient", "section", "gene"]


class Interval(NamedTuple):
    """Where a mean may lie, and what kind of statement that is."""

    low: float
    """Lower end."""
    high: float
    """Upper end."""
    kind: str
    """``"95 % bootstrap"``, or ``"range"`` where units are too few for one."""


def bootstrap_interval(
    values: Float[np.ndarray, " values"],
    *,
    level: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of a mean.

    Units are drawn with replacement, as many as there are, again and again; the means
    of these draws, cut off at both ends, are the interval. Of fewer than three units
    nothing can be said in this way: the range is returned instead, and called so. Of
    three to about ten it is too narrow: a draw holds no unit that was not measured.

    Parameters
    ----------
    values
        One for each unit: patients, or sections.
    level
        Share of the draws inside.
    n_resamples
        Number of draws.
    seed
        Of the draws.

    Raises
    ------
    ValueError
        If there are no values, one is not finite, or `level` is not between 0 and 1.

    References
    ----------
    Efron, "Bootstrap methods: another look at the jackknife", Ann. Stat. 7 (1979).

    Examples
    --------
    >>> bootstrap_interval(np.array([0.2, 0.3, 0.4]))
    Interval(low=0.2, high=0.4, kind='95 % bootstrap')
    >>> bootstrap_interval(np.array([0.2, 0.3])).kind
    'range'
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected between 0 and 1, e.g. 0.95.")
    if len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(
            f"values is {values}, expected one finite number or more. Find out why a "
            "unit has no score before leaving it out."
        )
    if len(values) < _FEWEST_UNITS:
        return Interval(float(values.min()), float(values.max()), "range")
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(n_resamples, len(values)))].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    # Means of one value repeated may differ from it by rounding.
    return Interval(
        float(low.round(12)), float(high.round(12)), f"{100 * level:g} % bootstrap"
    )


def over_seeds(table: pd.DataFrame, *scores: str) -> pd.DataFrame:
    """Average scores over seeds and folds: one row a predictor, section and gene.

    Raises
    ------
    ValueError
        If a column is missing or there are no rows.
    """
    missing = [column for column in (*_KEYS, *scores) if column not in table]
    if missing or table.empty:
        raise ValueError(
            f"the table has {len(table)} rows and lacks the columns {missing}. Give "
            "the one that benchmark.evaluate returns."
        )
    return table.groupby(_KEYS, sort=False, as_index=False)[list(scores)].mean()


def check_same(averaged: pd.DataFrame, score: str) -> None:
    """Refuse to compare predictors that were scored on different things.

    Raises
    ------
    ValueError
        If a predictor lacks a section or a gene that another has, or its score.
    """
    for claim, rows in averaged.groupby("claim", sort=False):
        scored = rows.dropna(subset=score)
        tests = scored.groupby("predictor")[["section", "gene"]].apply(
            lambda some: frozenset(some.itertuples(index=False, name=None))
        )
        odd = tests.index[tests != tests.iloc[0]] if len(tests) else []
        if len(odd):
            raise ValueError(
                f"{odd[0]!r} and {tests.index[0]!r} were scored on different sections "
                f"or genes (claim {claim!r}), so their means cannot be compared. "
                "Evaluate all predictors on the same folds in one folder."
            )
