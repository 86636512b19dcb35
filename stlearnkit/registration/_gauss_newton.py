"""Gauss and Newton's step: how a map should move for two pictures to agree better.

The map is followed by a small motion of the fixed plane, with parameters in µm,

    d(q) = (p0, p1) + E (q - c) / R,   E = | p3 + p4   p5 - p2 |
                                           | p5 + p2   p3 - p4 |

for a turn p2, a growth p3 and two shears p4 and p5, about the centre c of the tissue,
of radius R. The first three are rigid. Each parameter is the motion that it causes at
the distance R.
"""

__all__ = ["refine", "strain"]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter

from stlearnkit.registration._levels import REACH_UM, WINDOW_UM, Level, pull

_WIDEST_UM = 100.0  # error of the outline beyond which it belongs to something else
_ALIKE_UM = WINDOW_UM  # over which errors are alike: texture is seen against that
_SQUARE_UM = 100.0  # side of squares that pull as one
_CUT = 2.5  # standard deviations beyond which a pixel belongs to something else
_LEAST_HELD = 0.1  # of the pull that would be there without weighting down
_LONGEST_PX = 2.0  # step; images are linear over no more
_SHORTEST_PX = 0.02  # step after which the search ends


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What one cue says about the motion: a quadratic form, as from independent data.

    Parameters
    ----------
    information
        Inverse of the covariance that the cue alone would give the parameters.
    pull
        Its product with the motion that the cue asks for.
    """

    information: Float[np.ndarray, "_ _"]
    pull: Float[np.ndarray, " _"]


def refine(
    fixed: Level,
    moving: Level,
    matrix: Float[np.ndarray, "3 3"],
    *,
    strain_sd: float | None = None,
    cues: tuple[str, ...] = ("texture", "outline"),
    max_steps: int = 15,
) -> Float[np.ndarray, "3 3"]:
    r"""Improve a map from µm of `moving` to those of `fixed`, at one level.

    Parameters
    ----------
    fixed, moving
        The same level of two working images.
    matrix
        Where to start.
    strain_sd
        Standard deviation of growth and of either shear; None for a rigid motion.
    cues
        Of ``"texture"`` and ``"outline"``.
    max_steps
        Fewer are taken where the steps become short.

    Notes
    -----
    Each cue gives a normal equation :math:`A p = b` for the motion :math:`p`, divided
    by the noise that it shows. The sum over the cues, and over the prior
    :math:`(s + p_s / R)^2 / \sigma^2` that pulls the whole strain :math:`s` of the map
    towards 0, is solved, and the map followed by the motion.
    """
    n_free = 3 if strain_sd is None else 6
    radius = float(np.sqrt(fixed.tissue.sum() / np.pi) * fixed.um_per_px)
    ways = {"texture": _texture, "outline": _outline}
    for _ in range(max_steps):
        found = [ways[cue](fixed, moving, matrix, radius, n_free) for cue in cues]
        information = np.sum([one.information for one in found], axis=0)
        wanted = np.sum([one.pull for one in found], axis=0)
        if strain_sd is not None:
            stiff = 1 / (strain_sd * radius) ** 2
            information[[3, 4, 5], [3, 4, 5]] += stiff
            wanted[3:] -= stiff * strain(matrix) * radius
        # A hair, for pictures without any detail.
        hair = 1e-6 * np.trace(information) + 1e-12
        information += hair * np.eye(n_free)
        step = np.linalg.solve(information, wanted)
        length_px = float(np.linalg.norm(step)) / fixed.um_per_px
        step *= min(1.0, _LONGEST_PX / max(length_px, 1e-9))
        matrix = _motion(step, fixed.centre_um, radius) @ matrix
        if length_px < _SHORTEST_PX:
            break
    return matrix


def strain(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    """Return growth and two shears of a map: its logarithm once turned back.

    Every linear map is a rotation (or reflection) followed by stretching along two
    axes; the logarithms of the stretches, in the axes of the plane, are the strain.
    """
    stretches, axes = np.linalg.eigh(matrix[:2, :2] @ matrix[:2, :2].T)
    (xx, xy), (_, yy) = axes @ np.diag(np.log(stretches) / 2) @ axes.T
    return np.array([(xx + yy) / 2, (xx - yy) / 2, xy])


def _motion(
    step: Float[np.ndarray, " _"], centre_um: Float[np.ndarray, "2"], radius: float
) -> Float[np.ndarray, "3 3"]:
    """Return the map that the parameters mean: exactly rigid where no strain is."""
    turn, growth, wide, skew = np.pad(step[2:], (0, 6 - len(step))) / radius
    rate = np.zeros((3, 3))
    rate[:2, :2] = [[growth + wide, skew - turn], [skew + turn, growth - wide]]
    rate[:2, 2] = step[:2] - rate[:2, :2] @ centre_um
    return expm(rate)


def _texture(
    fixed: Level,
    moving: Level,
    matrix: Float[np.ndarray, "3 3"],
    radius: float,
    n_free: int,
) -> _Evidence:
    """Compare texture where both have tissue, up to gain and bias."""
    pulled = pull(moving.texture, moving, fixed, matrix)
    shared = fixed.tissue * pull(moving.tissue, moving, fixed, matrix)
    at = np.flatnonzero(shared > 0.5)
    if len(at) < 10:
        return _Evidence(np.zeros((n_free, n_free)), np.zeros(n_free))
    weight, theirs, ours = (
        image.ravel()[at] for image in (shared, pulled, fixed.texture)
    )
    total = weight.sum()
    theirs_mean, ours_mean = weight @ theirs / total, weight @ ours / total
    covariance = weight @ ((theirs - theirs_mean) * (ours - ours_mean)) / total
    variance = weight @ (theirs - theirs_mean) ** 2 / total
    gain = max(covariance / max(variance, 1e-6), 0.1)
    error = (ours - ours_mean) - gain * (theirs - theirs_mean)
    spread = 1.4826 * float(np.median(np.abs(error))) + 1e-6
    off = (error / (_CUT * spread)) ** 2
    return _evidence(
        fixed,
        gain * pulled,
        at,
        error,
        weight,
        off=off,
        radius=radius,
        n_free=n_free,
    )


def _outline(
    fixed: Level,
    moving: Level,
    matrix: Float[np.ndarray, "3 3"],
    radius: float,
    n_free: int,
) -> _Evidence:
    """Compare distances to the outline, near either outline."""
    pulled = pull(moving.inside_um, moving, fixed, matrix, beyond=np.nan)
    near = (np.abs(fixed.inside_um) < REACH_UM) | (np.abs(pulled) < REACH_UM)
    at = np.flatnonzero(near & np.isfinite(pulled))
    if len(at) < 10:
        return _Evidence(np.zeros((n_free, n_free)), np.zeros(n_free))
    error = fixed.inside_um.ravel()[at] - pulled.ravel()[at]
    spread = 1.4826 * float(np.median(np.abs(error)))
    spread = min(max(spread, fixed.um_per_px), _WIDEST_UM)
    weight, off = np.ones_like(error), (error / spread) ** 2
    pulled = np.where(np.isfinite(pulled), pulled, fixed.inside_um)
    return _evidence(
        fixed, pulled, at, error, weight, off=off, radius=radius, n_free=n_free
    )


def _evidence(
    fixed: Level,
    pulled: Float[np.ndarray, "height width"],
    at: Int[np.ndarray, " values"],
    error: Float[np.ndarray, " values"],
    weight: Float[np.ndarray, " values"],
    *,
    off: Float[np.ndarray, " values"],
    radius: float,
    n_free: int,
) -> _Evidence:
    """Turn errors of pixels into a statement about the motion, by least squares.

    How far to trust it is not assumed but seen: each square of 100 µm pulls for itself,
    and where they contradict each other, they are noise. Neighbours err alike, so that
    products of squares are summed under a Gaussian window (Conley, J. Econometrics 92,
    1999). It is measured in units of what independent pixels would give, so that
    neither fine pixels nor a blurred texture pass for more than they know. Nor do
    errors that were weighted down pass for small ones: a pixel that is `off`, in
    squares of the usual, no longer pulls harder when it is further away, and what
    remains has to hold the map alone.
    """
    weight = weight / (1 + off) ** 2
    down, right = np.gradient(pulled, fixed.um_per_px)
    right, down = right.ravel()[at], down.ravel()[at]
    places_um = fixed.places_um.reshape(2, -1)[:, at]
    x, y = (places_um - fixed.centre_um[:, None]) / radius
    columns = [right, down, down * x - right * y]
    if n_free == 6:
        columns += [right * x + down * y, right * x - down * y, right * y + down * x]
    effect = np.stack(columns)  # by how much the error falls per µm of each motion
    weighted = effect * weight
    information = weighted @ effect.T
    pulls = _by_square(-weighted * error, places_um)
    alike = _ALIKE_UM / _SQUARE_UM
    summed = gaussian_filter(pulls, alike, axes=(1, 2), mode="constant", truncate=3.0)
    spread = 2 * np.pi * alike**2 * np.einsum("ahw,bhw->ab", pulls, summed)
    noise = np.trace(np.linalg.lstsq(information, spread, rcond=None)[0])
    squared = (effect**2).sum(axis=0)
    holding = squared @ (weight * (1 - 3 * off) / (1 + off))  # d(weight error)/d error
    held = max(holding / (squared @ weight + 1e-12), _LEAST_HELD)
    noise = max(float(noise) / n_free / held**2, 1e-9)
    return _Evidence(information / noise, pulls.sum(axis=(1, 2)) / noise)


def _by_square(
    values: Float[np.ndarray, "_ values"], places_um: Float[np.ndarray, "2 values"]
) -> Float[np.ndarray, "_ height width"]:
    """Add up what lies in each small square of the plane."""
    corner = places_um.min(axis=1, keepdims=True)
    across, along = ((places_um - corner) // _SQUARE_UM).astype(int)
    height, width = along.max() + 1, across.max() + 1
    square = along * width + across
    sums = [np.bincount(square, one, minlength=height * width) for one in values]
    return np.reshape(sums, (-1, height, width))
