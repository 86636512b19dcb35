"""The true map between a simulated section and the block that it was cut from."""

__all__ = ["Handling", "Warp", "check_amount"]

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float

from stlearnkit.conventions import frame_um
from stlearnkit.geometry import Affine2D


@dataclass(frozen=True, eq=False)
class Warp:
    r"""The map from a section's µm to the block's, with all that handling did to it.

    Parameters
    ----------
    rigid
        :math:`A`: turn, shift and mirror, from the section's µm frame to the
        reference frame. The other parameters are in the reference frame.
    wave_vectors, phases, amplitudes_um
        Of the waves that :math:`u` is a sum of: radians per µm, radians, and µm along
        x and y. An amplitude of 0 means no deformation.
    tear_at, tear_normal, tear_shift_um
        A point on the tear, its unit normal, and how far (x, y) the piece on the side
        of the normal was moved. A shift of 0 means no tear.
    hole, hole_radius_um
        Centre and radius of the missing piece. A radius of 0 means that none is.

    Notes
    -----
    .. math:: p_\text{block} = r + u(r), \qquad r = T(A\, p_\text{section}), \qquad
              u(r) = \sum_j a_j \sin(k_j \cdot r + \varphi_j)

    :math:`T` closes the tear. A point without a counterpart, in the gap of the tear or
    where a piece is missing, is mapped to NaN, there and back.

    Examples
    --------
    >>> turned = Affine2D.rigid(90, source="S2/um", target="S1/um")
    >>> Warp.rigid_only(turned)(np.array([[10.0, 0.0]])).round(6)
    array([[ 0., 10.]])
    """

    rigid: Affine2D
    wave_vectors: Float[np.ndarray, "3 2"]
    phases: Float[np.ndarray, " 3"]
    amplitudes_um: Float[np.ndarray, "3 2"]
    tear_at: Float[np.ndarray, " 2"]
    tear_normal: Float[np.ndarray, " 2"]
    tear_shift_um: Float[np.ndarray, " 2"]
    hole: Float[np.ndarray, " 2"]
    hole_radius_um: float

    @classmethod
    def rigid_only(cls, rigid: Affine2D) -> "Warp":
        """Return the map of a section that was neither bent nor torn."""
        none, still = np.zeros(2), np.zeros((3, 2))
        return cls(rigid, still, np.zeros(3), still, none, none, none, none, 0.0)

    @property
    def source(self) -> str:
        """Frame of the points that go in."""
        return self.rigid.source

    @property
    def target(self) -> str:
        """Frame of the points that come out."""
        return self.rigid.target

    def displacement(
        self, points: Float[np.ndarray, "points 2"]
    ) -> Float[np.ndarray, "points 2"]:
        """Return :math:`u` in µm at `points`, which lie in the reference frame."""
        if not self.amplitudes_um.any():
            return np.zeros_like(points)
        return np.sin(points @ self.wave_vectors.T + self.phases) @ self.amplitudes_um

    def __call__(
        self, points: Float[np.ndarray, "points 2"]
    ) -> Float[np.ndarray, "points 2"]:
        """Map `points` of the section to the block; NaN where there is only glass."""
        placed = self.rigid(points)
        moved = self._beyond_tear(placed - self.tear_shift_um)
        gap = self._beyond_tear(placed) & ~moved
        placed[moved] -= self.tear_shift_um
        block = placed + self.displacement(placed)
        block[gap | self._missing(block)] = np.nan
        return block

    def inverse(
        self, points: Float[np.ndarray, "points 2"]
    ) -> Float[np.ndarray, "points 2"]:
        """Map `points` of the block to the section; NaN where the piece is missing."""
        placed = points
        # r = p - u(r) is a contraction, as the waves are long: 60 steps end below 1 nm.
        for _ in range(60 if self.amplitudes_um.any() else 0):
            placed = points - self.displacement(placed)
        moved = self._beyond_tear(placed)[:, None]
        placed = np.where(moved, placed + self.tear_shift_um, placed)
        placed[self._missing(points)] = np.nan
        return self.rigid.inverse()(placed)

    def _beyond_tear(
        self, placed: Float[np.ndarray, "points 2"]
    ) -> Bool[np.ndarray, " points"]:
        """Tell which points lie on the side of the tear that was moved."""
        return (placed - self.tear_at) @ self.tear_normal > 0

    def _missing(
        self, block: Float[np.ndarray, "points 2"]
    ) -> Bool[np.ndarray, " points"]:
        """Tell which points of the block lie in the missing piece."""
        return np.hypot(*(block - self.hole).T) < self.hole_radius_um


@dataclass(frozen=True)
class Handling:
    """What happens to a section between the block and the slide, all 0 for nothing.

    The first section of a stack is the reference: only its stain can shift.

    Parameters
    ----------
    rotation_deg
        Largest rotation about the centre of the image, to either side.
    shift_um
        Largest shift along x and along y.
    mirrored
        Whether every second section lies on the glass upside down.
    deformation_um
        Bound of a smooth displacement; about 0.4 times this is usual.
    tear_um
        How far a piece is moved that was torn off.
    missing_um
        Radius of a piece that is missing at the border of the tissue.
    stain_shift
        Spread of the logarithm of the amount of each stain; colours shift too.

    Raises
    ------
    ValueError
        If one is negative or not finite.
    """

    rotation_deg: float = 12.0
    shift_um: float = 60.0
    mirrored: bool = False
    deformation_um: float = 0.0
    tear_um: float = 0.0
    missing_um: float = 0.0
    stain_shift: float = 0.1

    def __post_init__(self) -> None:
        """Refuse negative amounts."""
        for field in fields(self):
            check_amount(field.name, getattr(self, field.name))

    def draw(
        self, number: int, side_um: float, radius_um: float, rng: np.random.Generator
    ) -> Warp:
        """Draw the map of section `number`, counted from 1.

        Parameters
        ----------
        number
            The first section is the reference, which nothing happens to.
        side_um, radius_um
            Side of the square image, and half the width of the tissue in it.
        rng
            Source of chance.

        Raises
        ------
        ValueError
            If the deformation is so large that tissue would fold.
        """
        if self.deformation_um > side_um / 8:
            raise ValueError(
                f"deformation_um is {self.deformation_um}, expected at most "
                f"{side_um / 8:.0f}, an eighth of the image's side: more would fold "
                "the tissue. Ask for less, or for more spots."
            )
        frame, reference = frame_um(f"S{number}"), frame_um("S1")
        if number == 1:
            return Warp.rigid_only(Affine2D.identity(frame, reference))
        centre = np.full(2, side_um / 2)
        # Waves longer than the image bend it; shorter ones would crumple it.
        lengths_um = side_um * rng.uniform(1.0, 2.0, (3, 1))
        tear, hole = _directions(rng, 2)
        sideways = np.array([-tear[1], tear[0]]) * rng.uniform(-0.5, 0.5)
        return Warp(
            self._place(frame, reference, number, centre, rng),
            wave_vectors=2 * np.pi / lengths_um * _directions(rng, 3),
            phases=rng.uniform(0, 2 * np.pi, 3),
            amplitudes_um=self.deformation_um / 3 * _directions(rng, 3),
            tear_at=centre + 0.45 * radius_um * tear,
            tear_normal=tear,
            tear_shift_um=self.tear_um
            * (tear + sideways)
            / np.hypot(1, np.hypot(*sideways)),
            hole=centre + 0.85 * radius_um * hole,
            hole_radius_um=float(self.missing_um),
        )

    def _place(
        self,
        frame: str,
        reference: str,
        number: int,
        centre: Float[np.ndarray, " 2"],
        rng: np.random.Generator,
    ) -> Affine2D:
        """Draw rotation and shift, and mirror every second section."""
        angle_deg = rng.uniform(-self.rotation_deg, self.rotation_deg)
        shift = rng.uniform(-self.shift_um, self.shift_um, 2)
        flip = np.eye(3)
        if self.mirrored and number % 2 == 0:
            flip[0] = (-1.0, 0.0, 2 * centre[0])
        turn = Affine2D.rigid(
            angle_deg,
            (shift[0], shift[1]),
            source=frame,
            target=reference,
            center=(centre[0], centre[1]),
        )
        return turn @ Affine2D(flip, frame, frame)


def check_amount(name: str, amount: float) -> None:
    """Refuse amounts that are negative or not finite.

    Raises
    ------
    ValueError
        If this one is.
    """
    if not (np.isfinite(amount) and amount >= 0):
        raise ValueError(
            f"{name} is {amount}, expected a finite number from 0. "
            "It is how far to go to either side; 0 leaves all as it is."
        )


def _directions(rng: np.random.Generator, n: int) -> Float[np.ndarray, "points 2"]:
    """Draw unit vectors."""
    angles = rng.uniform(0, 2 * np.pi, n)
    return np.column_stack([np.cos(angles), np.sin(angles)])
