"""Smooth deformations after an affine map, as cubic B-splines on a grid."""

__all__ = ["Displacement", "InverseDisplacement"]

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from stlearnkit.conventions import FrameError
from stlearnkit.geometry._affine import Affine2D, require_joined
from stlearnkit.geometry._spline import spline, spline_slopes

_TOLERANCE = 1e-3  # units of the target; a nanometre where these are µm
_PLAIN_STEPS = 20  # most points need about 10
_MOST_STEPS = 100
_MOST_HALVINGS = 20
_SAMPLES_PER_STEP = 8  # of the grid, where the Jacobian is looked at
_NODES = "nodes"  # the frame of the grid's own numbers


@dataclass(frozen=True, eq=False)
class Displacement:
    r"""An affine map and a smooth field after it.

    .. math:: q = r + u(r), \qquad r = A\, p, \qquad
              u(r) = \sum_{ij} c_{ij}\, \beta(x - j)\, \beta(y - i), \qquad
              (x, y) = G^{-1} r

    with :math:`\beta` the cubic B-spline. The field bends, but never jumps or kinks;
    two steps beyond the grid it has faded to 0.

    Parameters
    ----------
    affine
        :math:`A`, from the frame of the points that go in to that of those that come
        out.
    nodes
        :math:`G`, which takes a node's column and row, counted from 0, to its place in
        the target frame.
    coefficients
        :math:`c_{ij}`, x and y of each node, in units of the target frame.

    Raises
    ------
    ValueError
        If a coefficient is not finite.
    FrameError
        If the nodes do not lie in the frame that `affine` ends in.

    Examples
    --------
    >>> to_c3 = Affine2D.identity("C2/um", "C3/um")
    >>> push = np.zeros((4, 4, 2))
    >>> push[1, 1] = (9.0, 0.0)
    >>> bent = Displacement.on_grid(to_c3, push, step=100.0)
    >>> bent(np.array([[100.0, 100.0], [900.0, 0.0]]))
    array([[104., 100.], [900.,   0.]])
    >>> bent.inverse()(np.array([[104.0, 100.0]])).round(3)
    array([[100., 100.]])

    References
    ----------
    Rueckert et al., "Nonrigid registration using free-form deformations", IEEE Trans.
    Med. Imaging 18 (1999).
    """

    affine: Affine2D
    nodes: Affine2D
    coefficients: Float[np.ndarray, "height width 2"]

    def __post_init__(self) -> None:
        """Check and keep a copy that cannot be changed.

        Raises
        ------
        ValueError
            See the class.
        FrameError
            See the class.
        """
        coefficients = np.array(self.coefficients, dtype=float)
        if not np.isfinite(coefficients).all():
            raise ValueError(
                "coefficients has entries that are not finite. "
                "Check the registration they came from."
            )
        if self.nodes.target != self.affine.target:
            raise FrameError(
                f"nodes end in frame {self.nodes.target!r}, but the affine map in "
                f"{self.affine.target!r}: the field acts after the affine map, so its "
                "grid must lie in that frame."
            )
        coefficients.flags.writeable = False
        object.__setattr__(self, "coefficients", coefficients)

    @classmethod
    def on_grid(
        cls,
        affine: Affine2D,
        coefficients: Float[np.ndarray, "height width 2"],
        *,
        step: float,
        origin: tuple[float, float] = (0.0, 0.0),
    ) -> "Displacement":
        """Make one of a square grid whose first node lies at `origin`.

        Parameters
        ----------
        affine, coefficients
            As for the class.
        step
            Distance between nodes, in units of the target frame.
        origin
            Place (x, y) of the first node in the target frame.
        """
        matrix = np.array([[step, 0, origin[0]], [0, step, origin[1]], [0, 0, 1.0]])
        return cls(affine, Affine2D(matrix, _NODES, affine.target), coefficients)

    @property
    def source(self) -> str:
        """Frame of the points that go in."""
        return self.affine.source

    @property
    def target(self) -> str:
        """Frame of the points that come out."""
        return self.affine.target

    def field(
        self, places: Float[np.ndarray, "points 2"]
    ) -> Float[np.ndarray, "points 2"]:
        """Return :math:`u` at places of the target frame."""
        return spline(self.coefficients, self.nodes.inverse()(places))

    def jacobian(
        self, places: Float[np.ndarray, "points 2"]
    ) -> Float[np.ndarray, "points 2 2"]:
        """Return the derivatives of :math:`r + u(r)` at places of the target frame."""
        by_node = spline_slopes(self.coefficients, self.nodes.inverse()(places))
        return np.eye(2) + by_node @ np.linalg.inv(self.nodes.matrix[:2, :2])

    def area_change(
        self, places: Float[np.ndarray, "points 2"]
    ) -> Float[np.ndarray, " points"]:
        """Return how much the field alone enlarges areas at places of the target frame.

        It is the determinant of its Jacobian matrix: 1 where nothing changes, 0 or less
        where the tissue would be folded over.
        """
        return np.linalg.det(self.jacobian(places))

    @cached_property
    def area_range(self) -> tuple[float, float]:
        """Least and greatest `area_change`, looked at 8 times a step of the grid."""
        rows, columns = self.coefficients.shape[:2]
        x, y = (
            np.linspace(-2, n + 1, (n + 3) * _SAMPLES_PER_STEP + 1)
            for n in (columns, rows)
        )
        lattice = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        changes = self.area_change(self.nodes(lattice))
        return float(changes.min()), float(changes.max())

    @property
    def folds(self) -> bool:
        """Whether the field lays tissue over itself, so that there is no way back."""
        return self.area_range[0] <= 0

    def inverse(self) -> "InverseDisplacement":
        """Return the map back, from `target` to `source`.

        Raises
        ------
        ValueError
            If the field folds.
        """
        return InverseDisplacement(self)

    def then(self, last: Affine2D) -> "Displacement":
        """Return this map followed by an affine one, exactly.

        Raises
        ------
        FrameError
            If `last` does not start from the frame this map ends in.
        """
        require_joined(self, last)
        carried = self.coefficients @ last.matrix[:2, :2].T
        return Displacement(self.affine.then(last), self.nodes.then(last), carried)

    def __matmul__(self, first: Affine2D) -> "Displacement":
        """Compose: ``(b @ a)(points) == b(a(points))``.

        Raises
        ------
        FrameError
            If `first` does not end in the frame this map starts from.
        """
        return Displacement(self.affine @ first, self.nodes, self.coefficients)

    def __call__(
        self, points: Float[np.ndarray, "points 2"]
    ) -> Float[np.ndarray, "points 2"]:
        """Map points (x, y) of `source` to `target`."""
        placed = self.affine(points)
        return placed + self.field(placed)


@dataclass(frozen=True, eq=False)
class InverseDisplacement:
    """The way back of a `Displacement`, found point by point.

    A registration finds for each place of the fixed image where to look in the moving
    one. That map is the `Displacement`; points of the moving section go forward by
    this.

    Parameters
    ----------
    of
        The map to invert.

    Raises
    ------
    ValueError
        If its field folds.

    Notes
    -----
    The place :math:`r` whose image is :math:`q` is the fixed point of
    :math:`r = q - u(r)`, which is iterated; points that have not come to rest after 20
    steps, where the field is steep, go on by Newton's method. A point is found when it
    moves by less than 0.001 units of the frame that `of` ends in.
    """

    of: Displacement

    def __post_init__(self) -> None:
        """Refuse fields that have no inverse.

        Raises
        ------
        ValueError
            See the class.
        """
        if self.of.folds:
            raise ValueError(
                f"the field folds, so it has no inverse: it makes areas "
                f"{self.of.area_range[0]:.2f} to {self.of.area_range[1]:.2f} times as "
                "large, expected above 0 everywhere. Take a wider grid, or stop the "
                "registration earlier."
            )

    @property
    def source(self) -> str:
        """Frame of the points that go in."""
        return self.of.target

    @property
    def target(self) -> str:
        """Frame of the points that come out."""
        return self.of.source

    def inverse(self) -> Displacement:
        """Return the map back, from `target` to `source`."""
        return self.of

    def then(self, last: Affine2D) -> "InverseDisplacement":
        """Return this map followed by an affine one, exactly.

        Raises
        ------
        FrameError
            If `last` does not start from the frame this map ends in.
        """
        require_joined(self, last)
        return InverseDisplacement(self.of @ last.inverse())

    def __matmul__(self, first: Affine2D) -> "InverseDisplacement":
        """Compose: ``(b @ a)(points) == b(a(points))``.

        Raises
        ------
        FrameError
            If `first` does not end in the frame this map starts from.
        """
        require_joined(first, self)
        return InverseDisplacement(self.of.then(first.inverse()))

    def __call__(
        self, points: Float[np.ndarray, "points 2"]
    ) -> Float[np.ndarray, "points 2"]:
        """Map points (x, y) of `source` to `target`.

        Raises
        ------
        ValueError
            If the iteration does not come to rest.
        """
        placed = points.astype(float)
        left = np.arange(len(points))
        for number in range(_MOST_STEPS):
            if len(left) == 0:
                return self.of.affine.inverse()(placed)
            step = points[left] - placed[left] - self.of.field(placed[left])
            if number >= _PLAIN_STEPS:
                step = self._newton(placed[left], points[left], step)
            placed[left] += step
            left = left[np.abs(step).max(axis=1) > _TOLERANCE]
        raise ValueError(
            f"the way back of {len(left)} of {len(points)} points was not found in "
            f"{_MOST_STEPS} steps, first: {points[left[0]].tolist()}. The field "
            "bends too sharply; take a wider grid."
        )

    def _newton(
        self,
        placed: Float[np.ndarray, "points 2"],
        points: Float[np.ndarray, "points 2"],
        missing: Float[np.ndarray, "points 2"],
    ) -> Float[np.ndarray, "points 2"]:
        """Return Newton's step towards the places, halved until it leads nearer."""
        step = np.linalg.solve(self.of.jacobian(placed), missing[:, :, None])[:, :, 0]
        for _ in range(_MOST_HALVINGS):
            new = placed + step
            left = points - new - self.of.field(new)
            further = np.hypot(*left.T) > np.hypot(*missing.T)
            if not further.any():
                break
            step[further] /= 2
        return step
