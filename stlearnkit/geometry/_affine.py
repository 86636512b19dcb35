"""Affine maps: what they do to points, how they compose, and what they mean."""

__all__ = ["Affine2D", "AffineParts", "Transform", "require_joined"]

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float

from stlearnkit.conventions import FrameError


@runtime_checkable
class Transform(Protocol):
    """A map of points (x, y) from one named frame to another, and back."""

    @property
    def source(self) -> str:
        """Frame of the points that go in."""

    @property
    def target(self) -> str:
        """Frame of the points that come out."""

    def __call__(
        self, points: Float[np.ndarray, "points 2"]
    ) -> Float[np.ndarray, "points 2"]:
        """Map points (x, y) of `source` to `target`."""

    def inverse(self) -> "Transform":
        """Return the map back, from `target` to `source`."""

    def then(self: "_T", last: "Affine2D") -> "_T":
        """Return this map followed by an affine one."""


_T = TypeVar("_T", bound=Transform)


class AffineParts(NamedTuple):
    r"""What an affine map does, one number for each thing.

    Its linear part is

    .. math:: \begin{pmatrix} \cos\varphi & -\sin\varphi \\
              \sin\varphi & \cos\varphi \end{pmatrix}
              \begin{pmatrix} 1 & k \\ 0 & 1 \end{pmatrix}
              \begin{pmatrix} s_x & 0 \\ 0 & \pm s_y \end{pmatrix}

    read from the right: mirror, scale, shear, turn.
    """

    angle_deg: float
    """:math:`\\varphi` in (-180, 180]: the turn of the x axis, towards y."""
    scale_x: float
    """:math:`s_x`, how much lengths along x grow."""
    scale_y: float
    """:math:`s_y`, how much distances from the x axis grow."""
    shear: float
    """:math:`k`, how far points slide along x for each step away from it."""
    mirrored: bool
    """Whether left and right hands are exchanged; then y is turned over first."""

    @property
    def scale(self) -> float:
        """Side of the square that a square of side 1 has the area of afterwards."""
        return float(np.sqrt(self.scale_x * self.scale_y))

    @property
    def stretch(self) -> float:
        """How much more the map lengthens one direction than another, from 1.

        It is the ratio of the singular values, the same in any turned frame.
        """
        shear = np.array([[1.0, self.shear], [0.0, 1.0]])
        values = np.linalg.svd(shear * [self.scale_x, self.scale_y], compute_uv=False)
        return float(values[0] / values[1])


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

    @property
    def parts(self) -> AffineParts:
        """Rotation, scales, shear and handedness.

        Examples
        --------
        >>> turned = Affine2D.rigid(30, source="a", target="b")
        >>> mirror = Affine2D(np.diag([1.0, -2.0, 1.0]), "b", "a")
        >>> (turned @ mirror).parts.mirrored, round((turned @ mirror).parts.angle_deg)
        (True, 30)
        """
        (xx, xy), (yx, yy) = self.matrix[:2, :2]
        scale_x = float(np.hypot(xx, yx))
        sign = np.sign(self.area_scale)
        along = (xx * xy + yx * yy) / scale_x  # of the image of the y axis, along x's
        scale_y = abs(self.area_scale) / scale_x
        return AffineParts(
            angle_deg=float(np.rad2deg(np.arctan2(yx, xx))),
            scale_x=scale_x,
            scale_y=scale_y,
            shear=float(sign * along / scale_y),
            mirrored=bool(sign < 0),
        )

    def inverse(self) -> "Affine2D":
        """Return the map back, from `target` to `source`."""
        matrix = np.linalg.inv(self.matrix)
        matrix[2] = (0.0, 0.0, 1.0)  # rounding must not make it projective
        return type(self)(matrix, self.target, self.source)

    def then(self, last: "Affine2D") -> "Affine2D":
        """Return this map followed by another: ``a.then(b)`` is ``b @ a``.

        Raises
        ------
        FrameError
            If `last` does not start from the frame this map ends in.
        """
        require_joined(self, last)
        return type(self)(last.matrix @ self.matrix, self.source, last.target)

    def __matmul__(self, first: _T) -> _T:
        """Compose: ``(b @ a)(points) == b(a(points))``.

        Raises
        ------
        FrameError
            If `first` does not end in the frame this map starts from.
        """
        return first.then(self)

    def __call__(
        self, points: Float[np.ndarray, "points 2"]
    ) -> Float[np.ndarray, "points 2"]:
        """Map points (x, y) of `source` to `target`."""
        # Written out: a product with a 2 x 2 matrix gains nothing from BLAS, and loses
        # much where BLAS starts threads for it.
        x, y = points.T
        (xx, xy, shift_x), (yx, yy, shift_y) = self.matrix[:2]
        return np.column_stack([xx * x + xy * y + shift_x, yx * x + yy * y + shift_y])


def require_joined(first: Transform, last: Transform) -> None:
    """Refuse to apply a map to what another gives, if that is in another frame.

    Raises
    ------
    FrameError
        If so.
    """
    if first.target != last.source:
        raise FrameError(
            f"cannot compose: the first map ends in frame {first.target!r}, the "
            f"second starts from {last.source!r}. "
            "Put the missing map between them, or take an inverse()."
        )
