"""From blocks of features to the inputs of a linear model."""

__all__ = ["Inputs"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from sklearn.preprocessing import StandardScaler

from stlearnkit.models._checks import Blocks

_NEGLIGIBLE = 1e-10  # share of the largest variance below which one is rounding


@dataclass(frozen=True, eq=False)
class Inputs:
    """Standardisation and principal axes of each block, and one common scale."""

    scalers: tuple[StandardScaler, ...]
    axes: tuple[Float[np.ndarray, "_ _"], ...]
    """Of each block one column per component, of length 1."""
    scale: float
    """Root of the summed variances of all components."""

    @classmethod
    def fit(cls, features: Sequence[Blocks], n_components: int) -> "Inputs":
        """Learn them from the blocks of training sections.

        Raises
        ------
        ValueError
            If a block does not vary.
        """
        scalers, axes, variance = [], [], 0.0
        for number, of_block in enumerate(zip(*features, strict=True)):
            rows = np.concatenate(of_block).astype(float)
            if not np.ptp(rows, axis=0).any():
                raise ValueError(
                    f"block {number} is the same at every training spot: nothing can "
                    "be learnt from it. Check how it was made, or leave it out."
                )
            scalers.append(StandardScaler().fit(rows))
            standardised = scalers[-1].transform(rows)
            axes.append(_principal_axes(standardised, n_components))
            variance += float((standardised @ axes[-1]).var(axis=0).sum())
        return cls(tuple(scalers), tuple(axes), float(np.sqrt(variance)))

    @property
    def widths(self) -> list[int]:
        """Number of features of each block."""
        return [len(axes) for axes in self.axes]

    def __call__(self, features: Blocks) -> Float[np.ndarray, "spots features"]:
        """Return the joined components of one section; their training mean is 0."""
        blocks = zip(self.scalers, self.axes, features, strict=True)
        components = [
            scaler.transform(block.astype(float)) @ axes
            for scaler, axes, block in blocks
        ]
        return np.hstack(components) / self.scale


def _principal_axes(
    rows: Float[np.ndarray, "spots features"], n_components: int
) -> Float[np.ndarray, "features _"]:
    """Return the directions in which centred rows vary most, in falling order.

    There are usually fewer spots than features. The eigenvectors of the smaller
    matrix, spots × spots, then give the axes, much quicker than a full decomposition.
    """
    n_spots, n_features = rows.shape
    wide = n_spots < n_features
    variances, vectors = eigh(rows @ rows.T if wide else rows.T @ rows)
    kept = variances > _NEGLIGIBLE * variances[-1]
    top = vectors[:, kept][:, ::-1][:, :n_components]
    if not wide:
        return top
    axes = rows.T @ top
    return axes / np.linalg.norm(axes, axis=0)
