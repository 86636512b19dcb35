"""The coarse step: every rotation, both handednesses, every shift."""

__all__ = [
    "FACTOR",
    "FINER",
    "HIGHEST",
    "Candidate",
    "Candidates",
    "apart_um",
    "coarse",
    "statements",
]

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float, Float32
from scipy import fft
from scipy.ndimage import gaussian_filter

from stlearnkit.geometry import Affine2D
from stlearnkit.registration._gauss_newton import refine, strain
from stlearnkit.registration._levels import TEXTURE_PX, Level, pull
from stlearnkit.registration._working import WorkingImage

FACTOR = 4  # pixels of 64 µm, for the sweep
FINER = 2  # pixels of 32 µm, for the choice among its best
STEP_DEG = 10.0
APART_UM = 300.0  # poses closer than this are one
N_CANDIDATES = 8
_N_FINER = 4  # of them are looked at again
_MIN_OVERLAP = 0.5  # of the smaller tissue
_ALONG_UM = 300.0  # of outline are one statement
_OUTLINE_UM = 200.0  # width of the band that stands for the outline
_STRETCH_SD = 0.03  # allowed to poses that are compared; few sections stretch by more
HIGHEST = 0.95  # correlation; no two sections are as alike as pixels of one


@dataclass(frozen=True, eq=False)
class Candidate:
    """A pose that may be right.

    Parameters
    ----------
    transform
        From the frame of the moving to that of the fixed section; rigid.
    texture, outline
        Evidence of each cue for it, in nats.
    """

    transform: Affine2D
    texture: float
    outline: float

    @property
    def evidence(self) -> float:
        """Evidence of both cues."""
        return self.texture + self.outline


@dataclass(frozen=True, eq=False)
class Candidates:
    """The best poses of a sweep.

    Parameters
    ----------
    poses
        Best first, none within 300 µm of another.
    """

    poses: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate:
        """The best pose."""
        return self.poses[0]

    @property
    def margin(self) -> float:
        """Evidence of the best beyond that of the second, in nats."""
        second = self.poses[1].evidence if len(self.poses) > 1 else 0.0
        return self.best.evidence - second


@dataclass(frozen=True, eq=False)
class _Found:
    """A peak of the sweep."""

    matrix: Float[np.ndarray, "3 3"]
    evidence: float


def coarse(fixed: WorkingImage, moving: WorkingImage) -> Candidates:
    r"""Try all rotations in steps of 10°, both handednesses and all shifts.

    Parameters
    ----------
    fixed, moving
        Two sections.

    Returns
    -------
    The best poses. The best eight of the sweep are refined rigidly and ranked again;
    so are the best four of these, in pixels of 32 µm, where halves of a tissue that
    mirror each other differ. Those within 300 µm of a better one are dropped.

    Notes
    -----
    Texture and outline of the moving section, turned, are correlated with those of the
    fixed one at all shifts at once, as products of Fourier transforms. A correlation
    :math:`r` of pictures that make :math:`n` independent statements is worth
    :math:`-\frac{n}{2} \log(1 - r^2)` nats, the logarithm of the likelihood ratio
    against no correlation. The statements are counted, patches as wide as the
    smoothing of the texture and pieces of outline of 300 µm, so that each pair decides
    which cue to trust.
    """
    ours, theirs = fixed.level(FACTOR), moving.level(FACTOR)
    starts: list[Float[np.ndarray, "3 3"]] = []
    for peak in sorted(_sweep(ours, theirs), key=lambda peak: -peak.evidence):
        if len(starts) < N_CANDIDATES and _is_new(peak.matrix, starts, theirs):
            starts.append(peak.matrix)
    if not starts:
        starts.append(_turned(theirs, 1, 0.0, False)[1])
        starts[0][:2, 2] += ours.centre_um - theirs.centre_um
    poses = _ranked(fixed, moving, starts, FACTOR)
    best = [moving.matrix_um(pose.transform, fixed) for pose in poses[:_N_FINER]]
    return Candidates(tuple(_ranked(fixed, moving, best, FINER)))


def _ranked(
    fixed: WorkingImage,
    moving: WorkingImage,
    starts: list[Float[np.ndarray, "3 3"]],
    factor: int,
) -> list[Candidate]:
    """Refine poses rigidly at one level, and sort those that stay apart."""
    ours, theirs = fixed.level(factor), moving.level(factor)
    refined = [refine(ours, theirs, start) for start in starts]
    judged = [(_evidence(ours, theirs, matrix), matrix) for matrix in refined]
    kept: list[Float[np.ndarray, "3 3"]] = []
    poses: list[Candidate] = []
    for (texture, outline), matrix in sorted(judged, key=lambda one: -one[0].sum()):
        if _is_new(matrix, kept, theirs):
            kept.append(matrix)
            transform = moving.transform(matrix, fixed)
            poses.append(Candidate(transform, float(texture), float(outline)))
    return poses


def _is_new(
    matrix: Float[np.ndarray, "3 3"],
    known: list[Float[np.ndarray, "3 3"]],
    theirs: Level,
) -> bool:
    """Tell whether a pose is apart from all that are known."""
    return all(apart_um(theirs, matrix, other) > APART_UM for other in known)


def apart_um(
    moving: Level, one: Float[np.ndarray, "3 3"], other: Float[np.ndarray, "3 3"]
) -> float:
    """Return the root mean square distance of two maps over the moving tissue."""
    rest = (one - other)[:2]
    at_centre = rest @ np.append(moving.centre_um, 1.0)
    turned = rest[:, :2]
    return float(
        np.sqrt(at_centre @ at_centre + np.trace(turned @ moving.spread @ turned.T))
    )


def _channels(level: Level) -> tuple[Float32[np.ndarray, "height width"], ...]:
    """Return what is correlated: texture, and the outline as a step without its flats.

    Of overlapping masks most of the overlap says nothing; and with a piece missing,
    overlap asks to fill the hole. The rest of the outline still fits.
    """
    width_px = _OUTLINE_UM / level.um_per_px
    flats = gaussian_filter(level.tissue, width_px, truncate=2.5, mode="nearest")
    return level.texture, level.tissue - flats


def statements(ours: Level, theirs: Level) -> Float[np.ndarray, "2"]:
    """Count the independent statements of texture and outline; the smaller tissue's."""
    counts = []
    for level in (ours, theirs):
        inside = level.tissue > 0.5
        steps = sum(np.count_nonzero(np.diff(inside, axis=axis)) for axis in (0, 1))
        length_um = np.pi / 4 * steps * level.um_per_px  # mean over all directions
        patches = level.tissue.sum() / (4 * np.pi * TEXTURE_PX**2)
        counts.append((patches, length_um / _ALONG_UM))
    return np.min(counts, axis=0)


def _nats(
    correlations: Float[np.ndarray, "2 values"], counts: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "2 values"]:
    """Turn correlations into evidence."""
    positive = np.clip(correlations, 0, HIGHEST)
    return -0.5 * counts[:, None] * np.log1p(-(positive**2))


def _sweep(ours: Level, theirs: Level) -> list[_Found]:
    """Correlate at all rotations; return the peaks of each cue and of both."""
    side = int(np.ceil(np.hypot(*theirs.tissue.shape)))
    shape = [fft.next_fast_len(size + side, real=True) for size in ours.tissue.shape]
    pairs = list(zip(_channels(ours), _channels(theirs), strict=True))
    norms = [np.linalg.norm(one) * np.linalg.norm(other) + 1e-9 for one, other in pairs]
    pairs.append((ours.tissue, theirs.tissue))
    spectra = [np.conj(fft.rfft2(one, shape)) for one, _ in pairs]
    counts = statements(ours, theirs)
    needed = _MIN_OVERLAP * min(ours.tissue.sum(), theirs.tissue.sum())
    found = []
    for mirrored, degrees in product((False, True), np.arange(0, 360, STEP_DEG)):
        grid, turn = _turned(theirs, side, float(degrees), mirrored)
        texture, outline, overlap = (
            fft.irfft2(
                np.conj(spectrum * fft.rfft2(pull(image, theirs, grid, turn), shape)),
                shape,
            ).ravel()
            for spectrum, (_, image) in zip(spectra, pairs, strict=True)
        )
        enough = np.flatnonzero(overlap > needed)
        if not len(enough):
            continue
        cues = np.stack([texture[enough] / norms[0], outline[enough] / norms[1]])
        nats = _nats(cues, counts)
        for ranking in (nats.sum(axis=0), *nats):
            top = int(np.argmax(ranking))
            place = np.unravel_index(enough[top], shape)
            matrix = _placed(ours, grid, turn, place, shape)
            found.append(_Found(matrix, float(nats[:, top].sum())))
    return found


def _turned(
    level: Level, side: int, degrees: float, mirrored: bool
) -> tuple[Level, Float[np.ndarray, "3 3"]]:
    """Return a square grid around the tissue, and the turn about its centre."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.eye(3)
    turn[:2, :2] = np.array([[cos, -sin], [sin, cos]])
    if mirrored:
        turn[:2, 0] *= -1
    turn[:2, 2] = level.centre_um - turn[:2, :2] @ level.centre_um
    blank = np.zeros((side, side), np.float32)
    corner = level.centre_um - side * level.um_per_px / 2
    return Level(blank, blank, level.um_per_px, corner), turn


def _placed(
    ours: Level,
    grid: Level,
    turn: Float[np.ndarray, "3 3"],
    place: tuple[np.intp, ...],
    shape: list[int],
) -> Float[np.ndarray, "3 3"]:
    """Return the map that turns and then shifts to a place of the correlation."""
    shift = np.array(place, float)
    behind = shift >= ours.tissue.shape  # the far end of the array is negative shifts
    shift[behind] -= np.array(shape)[behind]
    placed = turn.copy()
    placed[:2, 2] += ours.corner_um - grid.corner_um + shift[::-1] * ours.um_per_px
    return placed


def _evidence(
    ours: Level, theirs: Level, matrix: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "2"]:
    """Return the evidence of texture and of outline for a rigid pose, in nats.

    Texture may stretch first: sections do, by a pixel or two at the rim, and what is
    right gains more by it than what is wrong. The stretch is paid for.
    """
    stretched = refine(
        ours, theirs, matrix, strain_sd=_STRETCH_SD, cues=("texture",), max_steps=6
    )
    paid = 0.5 * float(np.sum((strain(stretched) / _STRETCH_SD) ** 2))
    correlations = [
        (one * pull(other, theirs, ours, by)).sum()
        / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-9)
        for one, other, by in zip(
            _channels(ours), _channels(theirs), (stretched, matrix), strict=True
        )
    ]
    nats = _nats(np.array(correlations)[:, None], statements(ours, theirs))[:, 0]
    return np.array([max(nats[0] - paid, 0.0), nats[1]])
