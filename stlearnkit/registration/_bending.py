"""A smooth field over a section, and the least-squares problem of its nodes.

The field is a sum of cubic B-splines, so each pixel depends on 16 nodes only, and what
a pixel says of them is a product of what its row and its column say. That makes the
sums over all pixels two products of small matrices.
"""

__all__ = ["Grid", "Weights", "statement"]

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.interpolate import BSpline

from stlearnkit.registration._levels import Level

_REACH = 3  # nodes further apart than this share no pixel


class Weights(NamedTuple):
    """How much each node counts for each pixel of a level."""

    across: Float[np.ndarray, "width _"]
    """By column of the image and of the grid."""
    down: Float[np.ndarray, "height _"]
    """By row of the image and of the grid."""

    def field(self, nodes: Float[np.ndarray, "2 _ _"]) -> Float[np.ndarray, "2 _ _"]:
        """Return the field at each pixel, x and y, in µm."""
        return self.down @ nodes @ self.across.T

    def gathered(self, image: Float[np.ndarray, "height width"]) -> np.ndarray:
        """Sum an image over the pixels of each node, row after row."""
        return (self.down.T @ image @ self.across).ravel()

    def products(self, image: Float[np.ndarray, "height width"]) -> sparse.csr_array:
        """Sum an image over the pixels that each pair of nodes shares."""
        columns, other_columns, across = _pairs(self.across)
        rows, other_rows, down = _pairs(self.down)
        values = down.T @ image @ across
        n_columns, n_nodes = (
            self.across.shape[1],
            self.across.shape[1] * len(self.down.T),
        )
        one = (rows[:, None] * n_columns + columns).ravel()
        other = (other_rows[:, None] * n_columns + other_columns).ravel()
        return sparse.csr_array((values.ravel(), (one, other)), (n_nodes, n_nodes))


@dataclass(frozen=True, eq=False)
class Grid:
    """A square grid of nodes that covers a working image.

    Parameters
    ----------
    step_um
        Distance between nodes.
    first_um
        Place (x, y) of the first node.
    shape
        Rows and columns.
    """

    step_um: float
    first_um: Float[np.ndarray, "2"]
    shape: tuple[int, int]

    @classmethod
    def over(cls, level: Level, step_um: float) -> "Grid":
        """Lay nodes over all of a level, with those beyond its border that reach in."""
        rows, columns = np.array(level.tissue.shape) * level.um_per_px / step_um
        return cls(
            step_um,
            level.corner_um - step_um,
            (int(np.ceil(rows)) + _REACH, int(np.ceil(columns)) + _REACH),
        )

    @property
    def nodes(self) -> Float[np.ndarray, "3 3"]:
        """Matrix from (column, row, 1) of a node to its place."""
        x, y = self.first_um
        return np.array([[self.step_um, 0, x], [0, self.step_um, y], [0, 0, 1.0]])

    def weights(self, level: Level) -> Weights:
        """Return the splines at the centres of the pixels of a level."""
        spline = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
        found = []
        for axis in (0, 1):
            n_pixels, n_nodes = level.tissue.shape[1 - axis], self.shape[1 - axis]
            at_um = level.to_um[axis, 2] + level.um_per_px * np.arange(n_pixels)
            at = (at_um - self.first_um[axis]) / self.step_um
            found.append(np.nan_to_num(spline(at[:, None] - np.arange(n_nodes))))
        return Weights(*found)

    def stiffness(self, strain_sd: float) -> sparse.csr_array:
        """Return what holds nodes together: strain is 0 up to `strain_sd` in each cell.

        A prior: the sum over neighbours of ((difference / step) / strain_sd)², for x
        and for y.
        """
        rows, columns = self.shape
        steps = [
            sparse.diags_array([-1.0, 1.0], offsets=[0, 1], shape=(n - 1, n))
            for n in (rows, columns)
        ]
        along_y, along_x = (step.T @ step for step in steps)
        joined = sparse.kron(sparse.eye_array(rows), along_x) + sparse.kron(
            along_y, sparse.eye_array(columns)
        )
        return sparse.csr_array(
            sparse.block_diag([joined, joined]) / (strain_sd * self.step_um) ** 2
        )


def statement(
    weights: Weights,
    effect: Float[np.ndarray, "2 height width"],
    error: Float[np.ndarray, "height width"],
    certainty: Float[np.ndarray, "height width"],
) -> tuple[sparse.csr_array, Float[np.ndarray, " _"]]:
    """Turn errors of pixels into a quadratic form of the nodes.

    Parameters
    ----------
    weights
        Of the nodes for the pixels.
    effect
        By how much the error falls per µm of field along x and y.
    error
        Of each pixel.
    certainty
        Inverse variance of each error.

    Returns
    -------
    The information about the nodes, x before y, and its product with what they should
    move by.
    """
    right, down = effect
    xx, xy, yy = (
        weights.products(certainty * product)
        for product in (right * right, right * down, down * down)
    )
    information = sparse.csr_array(sparse.block_array([[xx, xy], [xy, yy]]))
    wanted = [weights.gathered(certainty * error * along) for along in effect]
    return information, np.concatenate(wanted)


def _pairs(
    weights: Float[np.ndarray, "values _"],
) -> tuple[np.ndarray, np.ndarray, Float[np.ndarray, "values _"]]:
    """Return the pairs of nodes that share pixels, and products of their weights."""
    numbers = np.arange(weights.shape[1])
    one, other = np.nonzero(abs(numbers[:, None] - numbers) <= _REACH)
    return one, other, weights[:, one] * weights[:, other]
