"""Affine maps of the plane that know which frames they join.

A matrix alone does not say whether it maps pixels to micrometres or back, nor
of which section. `Affine2D` carries both frame names, so that a wrong
composition is an error and not a wrong picture.

Taught in the chapter "From slide to patches".
"""

__all__ = ["Affine2D"]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from stlearnkit.conventions import FrameError


@dataclass(frozen=True, eq=False)
class Affine2D:
    """An affine map of points (x, y) from one named frame to another.

    In homogeneous coordinates, :math:`(x', y', 1)^T = M (x, y, 1)^T`.

    Parameters
    ----------
    matrix
        The 3 × 3 matrix :math:`M`; its last row must be (0, 0, 1).
    source
        Frame of the points that go in, e.g. ``"C2/px"``.
    target
        Frame of the points that come out, e.g. ``"C2/um"``.

    Raises
    ------
    ValueError
        If the matrix is not finite, not affine or cannot be inverted.

    Examples
    --------
    >>> to_um = Affine2D.scaling(0.5, source="C2/px", target="C2/um")
    >>> to_um(np.array([[100.0, 40.0]]))
    array([[50., 20.]])
    >>> (to_um.inverse() @ to_um).target
    'C2/px'
    """

    matrix: Float[np.ndarray, "3 3"]
    source: str
    target: str

    def __post_init__(self) -> None:
        """Refuse matrices that are not invertible affine maps.

        Raises
        ------
        ValueError
            See the class.
        """
        matrix = np.array(self.matrix, dtype=float)
        if not np.isfinite(matrix).all():
            raise ValueError(
                "matrix has entries that are not finite. "
                "Check the points it was estimated from."
            )
        if not np.array_equal(matrix[2], [0.0, 0.0, 1.0]):
            raise ValueError(
                f"matrix is not affine: its last row is {matrix[2].tolist()}, "
                "expected [0, 0, 1]. Divide a homography out first, or fit an affine."
            )
        # Relative to the scale of the map, so that units do not matter.
        linear = matrix[:2, :2]
        if abs(np.linalg.det(linear)) <= 1e-12 * np.abs(linear).max() ** 2:
            raise ValueError(
                "matrix cannot be inverted: it maps the plane onto a line. "
                "Check that the points it was estimated from do not lie on one."
            )
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls, source: str, target: str) -> "Affine2D":
        """Return the map that leaves coordinates as they are."""
        return cls(np.eye(3), source, target)

    @classmethod
    def scaling(cls, factor: float, *, source: str, target: str) -> "Affine2D":
        """Return the map that multiplies both coordinates by `factor`."""
        return cls(np.diag([factor, factor, 1.0]), source, target)

    @classmethod
    def rigid(
        cls,
        angle_deg: float,
        shift: tuple[float, float] = (0.0, 0.0),
        *,
        source: str,
        target: str,
        center: tuple[float, float] = (0.0, 0.0),
    ) -> "Affine2D":
        """Return a rotation about `center` followed by a `shift`.

        Parameters
        ----------
        angle_deg
            Degrees from the x axis towards the y axis. Image y points down, so on
            the screen a positive angle turns clockwise.
        shift
            Added to (x, y) after the rotation, in units of `target`.
        source, target
            Frames, as for the class.
        center
            The point the rotation leaves in place, in units of `source`.

        Examples
        --------
        >>> turn = Affine2D.rigid(90, source="a", target="b")
        >>> turn(np.array([[1.0, 0.0]])).round(6)
        array([[0., 1.]])
        """
        angle = np.deg2rad(angle_deg)
        linear = np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        )
        matrix = np.eye(3)
        matrix[:2, :2] = linear
        matrix[:2, 2] = np.asarray(center) - linear @ np.asarray(center) + shift
        return cls(matrix, source, target)

    @classmethod
    def fit(
        cls,
        points: Float[np.ndarray, "points 2"],
        images: Float[np.ndarray, "points 2"],
        *,
        source: str,
        target: str,
    ) -> "Affine2D":
        """Return the least-squares affine that takes `points` to `images`.

        Parameters
        ----------
        points, images
            Matching points (x, y), in `source` and in `target`; at least three that
            do not lie on one line.
        source, target
            Frames, as for the class.

        Raises
        ------
        ValueError
            If there are fewer than three points, or all lie on one line.
        """
        if len(points) < 3:
            raise ValueError(
                f"points has {len(points)} rows, expected at least 3: an affine map "
                "has six unknowns and each point gives two equations."
            )
        homogeneous = np.column_stack([points, np.ones(len(points))])
        solution, _, rank, _ = np.linalg.lstsq(homogeneous, images, rcond=None)
        if rank < 3:
            raise ValueError(
                "points lie on one line, so they do not determine an affine map. "
                "Add a point beside the line."
            )
        matrix = np.eye(3)
        matrix[:2] = solution.T
        return cls(matrix, source, target)

    @property
    def area_scale(self) -> float:
        """Factor by which areas grow; negative if the map mirrors."""
        return float(np.linalg.det(self.matrix[:2, :2]))

    def inverse(self) -> "Affine2D":
        """Return the map back, from `target` to `source`."""
        matrix = np.linalg.inv(self.matrix)
        matrix[2] = (0.0, 0.0, 1.0)  # rounding must not make it projective
        return type(self)(matrix, self.target, self.source)

    def __matmul__(self, first: "Affine2D") -> "Affine2D":
        """Compose: ``(b @ a)(points) == b(a(points))``.

        Raises
        ------
        FrameError
            If `first` does not end in the frame this map starts from.
        """
        if first.target != self.source:
            raise FrameError(
                f"cannot compose: the first map ends in frame {first.target!r}, the "
                f"second starts from {self.source!r}. "
                "Put the missing map between them, or take an inverse()."
            )
        return type(self)(self.matrix @ first.matrix, first.source, self.target)

    def __call__(
        self, points: Float[np.ndarray, "points 2"]
    ) -> Float[np.ndarray, "points 2"]:
        """Map points (x, y) of `source` to `target`."""
        # Written out: a product with a 2 x 2 matrix gains nothing from BLAS, and loses
        # much where BLAS starts threads for it.
        x, y = points.T
        (xx, xy, shift_x), (yx, yy, shift_y) = self.matrix[:2]
        return np.column_stack([xx * x + xy * y + shift_x, yx * x + yy * y + shift_y])
