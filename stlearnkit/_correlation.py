"""Pearson's correlation of many columns at once, safe at the edges.

What `metrics` builds its correlations on: checks, the rule for constant vectors, and
what a curve leaves of a column.
"""

__all__ = ["check", "correlate_columns", "is_constant", "residuals"]

import numpy as np
from jaxtyping import Float

# Below this spread relative to its size a float64 vector is rounding, not signal.
_CONSTANT = 1e-13
# Below this share of its spread, what a curve leaves of a vector is rounding.
_EXPLAINED = 1e-10


def check(
    predicted: Float[np.ndarray, "spots genes"],
    measured: Float[np.ndarray, "spots genes"],
) -> None:
    """Refuse what would make a score NaN or meaningless without saying so.

    Raises
    ------
    ValueError
        If shapes differ, there are fewer than two values, or one is not finite.
    """
    if predicted.shape != measured.shape:
        raise ValueError(
            f"predicted has shape {predicted.shape}, measured {measured.shape}: both "
            "must be spots x genes of one section, with genes in the same order."
        )
    if min(predicted.shape) < 1 or predicted.size < 2:
        raise ValueError(
            f"predicted and measured have shape {predicted.shape}; at least two values "
            "are needed to judge a map."
        )
    for name, values in (("predicted", predicted), ("measured", measured)):
        n_bad = int((~np.isfinite(values)).sum())
        if n_bad:
            raise ValueError(
                f"{name} has {n_bad} entries that are not finite. A model that gives "
                "NaN has failed; find out why rather than dropping these spots."
            )


def is_constant(values: Float[np.ndarray, "values columns"]) -> np.ndarray:
    """Tell for each column whether its spread is only rounding."""
    # Not the deviation from the mean: the mean of many equal values is not quite them.
    spread = values.max(axis=0) - values.min(axis=0)
    return spread <= _CONSTANT * np.abs(values).max(axis=0)


def correlate_columns(
    predicted: Float[np.ndarray, "values columns"],
    measured: Float[np.ndarray, "values columns"],
) -> Float[np.ndarray, " columns"]:
    """Correlate matching columns under the rule for constant vectors."""
    # Divide by the norms before multiplying, so that tiny columns do not underflow.
    unit = [_unit_columns(values) for values in (predicted, measured)]
    r = np.clip((unit[0] * unit[1]).sum(axis=0), -1.0, 1.0)
    r[is_constant(predicted)] = 0.0
    r[is_constant(measured)] = np.nan
    return r


def _unit_columns(
    values: Float[np.ndarray, "values columns"],
) -> Float[np.ndarray, "values columns"]:
    """Centre each column and scale it to length 1; constant columns become 0."""
    centred = np.asarray(values, float) - values.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    return centred / np.where(norm > 0, norm, 1.0)


def residuals(
    values: Float[np.ndarray, "spots columns"],
    covariate: Float[np.ndarray, " spots"],
    *,
    degree: int,
) -> Float[np.ndarray, "spots columns"]:
    """Return what the best polynomial in the covariate leaves of each column.

    Columns that it explains wholly become exactly 0, so that they count as constant.
    """
    centred = covariate - covariate.mean()
    # Rescaled, so that powers stay of one size; equal covariates leave the constant.
    scaled = centred / max(float(np.abs(centred).max()), np.finfo(float).tiny)
    powers = np.vander(scaled, degree + 1)
    start = np.asarray(values, float) - values.mean(axis=0)
    left = start - powers @ np.linalg.lstsq(powers, start, rcond=None)[0]
    spread, rest = (np.linalg.norm(columns, axis=0) for columns in (start, left))
    explained = is_constant(values) | (rest <= _EXPLAINED * spread)
    return np.where(explained, 0.0, left)
