"""From blocks of features to the inputs of a linear model."""

__all__ = ["Inputs"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn.preprocessing import StandardScaler

from stlearnkit.models._checks import Blocks


@dataclass(frozen=True, eq=False)
class Inputs:
    """Standardisation of each block, learnt from training sections."""

    scalers: tuple[StandardScaler, ...]

    @classmethod
    def fit(cls, features: Sequence[Blocks]) -> "Inputs":
        """Learn mean and standard deviation of every feature.

        Raises
        ------
        ValueError
            If a block does not vary.
        """
        scalers = []
        for number, of_block in enumerate(zip(*features, strict=True)):
            rows = np.concatenate(of_block).astype(float)
            if not np.ptp(rows, axis=0).any():
                raise ValueError(
                    f"block {number} is the same at every training spot: nothing can "
                    "be learnt from it. Check how it was made, or leave it out."
                )
            scalers.append(StandardScaler().fit(rows))
        return cls(tuple(scalers))

    @property
    def widths(self) -> list[int]:
        """Number of features of each block."""
        return [scaler.n_features_in_ for scaler in self.scalers]

    def __call__(self, features: Blocks) -> Float[np.ndarray, "spots features"]:
        """Return the joined features of one section.

        Over the training spots their mean is 0 and the mean square of a row's length
        is 1, so that a penalty means the same whatever the number of features.
        """
        pairs = zip(self.scalers, features, strict=True)
        joined = [scaler.transform(block.astype(float)) for scaler, block in pairs]
        n_varying = sum(int((scaler.var_ > 0).sum()) for scaler in self.scalers)
        return np.hstack(joined) / np.sqrt(n_varying)
