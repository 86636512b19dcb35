"""How far a prediction is to be followed, programme by programme."""

__all__ = ["Trust", "mean_of_some"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_MOST = 1.2  # a prediction is hardly stretched: that it was too short may be chance
_ROUNDING = 1e-12  # of the variance of all programmes: what varies less does not


@dataclass(frozen=True, eq=False)
class Trust:
    """A share of each expression programme that left-out spots confirm.

    What a network says of spots that it did not learn from is right in some directions
    and noise in others. Programmes are the principal components of the expression; of
    each, the share is taken that misses the left-out spots the least.
    """

    mean: Float[np.ndarray, " genes"]
    """Mean expression of the known spots, by weight."""
    programmes: Float[np.ndarray, "_ genes"]
    """One programme a row, orthogonal and of length 1."""
    shares: Float[np.ndarray, " _"]
    """How much of each is kept, 0 to 1.2."""

    @classmethod
    def learn(
        cls,
        measured: Float[np.ndarray, "spots genes"],
        left_out: Float[np.ndarray, "spots genes"],
        weights: Float[np.ndarray, " spots"],
    ) -> "Trust":
        """Compare what is known with what was predicted of spots that were left out.

        Parameters
        ----------
        measured
            Expression of the known spots.
        left_out
            What was predicted of each without it; NaN where nothing was.
        weights
            How much each spot tells.
        """
        mean = np.average(measured, axis=0, weights=weights)
        root = np.sqrt(weights / weights.mean())[:, None]
        rest = root * (measured - mean)
        programmes = np.linalg.svd(rest, full_matrices=False)[2]
        there = np.isfinite(left_out).all(axis=1)
        said = root[there] * (left_out[there] - mean) @ programmes.T
        agree = (said * (rest[there] @ programmes.T)).sum(axis=0)
        size = (said**2).sum(axis=0)
        least = _ROUNDING * max(1e-300, float((rest**2).sum()))
        shares = np.where(size > least, agree / np.maximum(size, least), 0.0)
        return cls(mean, programmes, shares.clip(0, _MOST))

    def __call__(
        self, predicted: Float[np.ndarray, "_ genes"]
    ) -> Float[np.ndarray, "_ genes"]:
        """Return a prediction with each programme kept as far as it is trusted."""
        scores = (predicted - self.mean) @ self.programmes.T
        return self.mean + scores * self.shares @ self.programmes


def mean_of_some(
    tables: Sequence[Float[np.ndarray, "_ genes"]],
) -> Float[np.ndarray, "_ genes"]:
    """Return the mean of the tables that have a number; NaN where none has."""
    there = np.isfinite(tables).sum(axis=0)
    total = np.nansum(tables, axis=0)
    return np.divide(total, there, out=np.full_like(total, np.nan), where=there > 0)
