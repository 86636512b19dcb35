"""How well two sections are aligned, judged by what the alignment did not see.

An image that looks alike after registration may still be wrong: the likeness is what
was optimised. Points that an expert marked in both sections tell the error itself;
expression at matched spots, whether biology fits; a way there and back, whether the
maps agree with each other.

Taught in the chapter "What a section is".
"""

__all__ = [
    "affine_floor",
    "dice",
    "evaluate",
    "loop_errors",
    "matched_pcc",
    "robustness",
    "tre",
]

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from stlearnkit.conventions import FrameError
from stlearnkit.geometry import Affine2D, Transform
from stlearnkit.metrics import pcc_per_gene


class LandmarkScores(NamedTuple):
    """What the landmarks of one pair of images say of an alignment."""

    n_landmarks: int
    """How many were marked in both images."""
    median_tre: float
    """Median distance to where the landmark should be, in units of the frames."""
    max_tre: float
    """Greatest of these distances."""
    median_rtre: float
    """`median_tre` as a share of the diagonal of the fixed image."""
    max_rtre: float
    """`max_tre` as a share of the diagonal of the fixed image."""
    robustness: float
    """Share of the landmarks whose error fell."""
    median_rtre_before: float
    """`median_rtre` without any alignment."""
    median_rtre_floor: float
    """`median_rtre` of the affine map fitted to the landmarks themselves."""

    @property
    def over_floor(self) -> float:
        """How many times the median error of the fitted affine map; 1 is very good."""
        floor = self.median_rtre_floor
        return self.median_rtre / floor if floor > 0 else float("nan")


class Matched(NamedTuple):
    """Correlation of expression at matched spots of two sections."""

    per_gene: Float[np.ndarray, " genes"]
    """One correlation for each gene; NaN where a gene is constant."""
    n_pairs: int
    """How many spots found a partner."""
    n_spots: int
    """How many looked for one."""

    @property
    def median(self) -> float:
        """Median over the genes that have a correlation; NaN if none has."""
        known = self.per_gene[~np.isnan(self.per_gene)]
        return float(np.median(known)) if len(known) else float("nan")


def tre(
    placed: Float[np.ndarray, "points 2"], target: Float[np.ndarray, "points 2"]
) -> Float[np.ndarray, " points"]:
    """Return the target registration error of each landmark: a distance.

    Parameters
    ----------
    placed
        Landmarks (x, y) of the moving image where the alignment puts them.
    target
        The same landmarks in the fixed image.

    Raises
    ------
    ValueError
        If there are no landmarks, not as many in both, or one is not finite.

    Examples
    --------
    >>> tre(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0]]))
    array([5.])
    """
    if len(placed) == 0 or placed.shape != target.shape:
        raise ValueError(
            f"there are {len(placed)} and {len(target)} landmarks, expected as many, 1 "
            "or more, in the same order. Keep those that were marked in both images."
        )
    if not (np.isfinite(placed).all() and np.isfinite(target).all()):
        raise ValueError(
            "a landmark is not finite. Drop it from both images, or find out why the "
            "transform has no value there."
        )
    return np.hypot(*(placed - target).T)


def robustness(
    before: Float[np.ndarray, " points"], after: Float[np.ndarray, " points"]
) -> float:
    """Return the share of landmarks whose error fell, by more than rounding.

    Parameters
    ----------
    before, after
        Errors of the same landmarks: `tre`.

    Raises
    ------
    ValueError
        If there are no errors.

    References
    ----------
    Borovec et al., "ANHIR: Automatic non-rigid histological image registration
    challenge", IEEE Trans. Med. Imaging 39 (2020).
    """
    if len(before) == 0:
        raise ValueError("before is empty: a share needs one landmark or more.")
    return float(np.mean(after < before * (1 - 1e-9)))


def affine_floor(
    moving: Float[np.ndarray, "points 2"], fixed: Float[np.ndarray, "points 2"]
) -> Float[np.ndarray, " points"]:
    """Return the errors that the best affine map leaves, one for each landmark.

    It is fitted by least squares to the landmarks themselves, so it is a yardstick, not
    a method: what it leaves is bending of the tissue and the annotator's hand. It
    minimises the mean square, not the median, which another map may make a little
    smaller; and of few landmarks it follows the noise: of three it leaves nothing.

    Parameters
    ----------
    moving, fixed
        The same landmarks (x, y) in both images.

    Raises
    ------
    ValueError
        If there are fewer than three, or all lie on one line.
    """
    best = Affine2D.fit(moving, fixed, source="moving", target="fixed")
    return tre(best(moving), fixed)


def evaluate(
    transform: Transform,
    moving: Float[np.ndarray, "points 2"],
    fixed: Float[np.ndarray, "points 2"],
    *,
    diagonal: float,
) -> LandmarkScores:
    """Score an alignment by the landmarks of one pair of images.

    Parameters
    ----------
    transform
        From the frame of the `moving` landmarks to that of the `fixed` ones.
    moving, fixed
        The same landmarks (x, y) in both images.
    diagonal
        Length of the diagonal of the fixed image, in units of its frame: pixels, or µm.

    Raises
    ------
    ValueError
        If `diagonal` is not above 0, there are fewer than three landmarks, or they lie
        on one line.

    Examples
    --------
    >>> moving = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    >>> shift = Affine2D.rigid(0, (5.0, 0.0), source="a", target="b")
    >>> scores = evaluate(shift, moving, moving + [8.0, 4.0], diagonal=100.0)
    >>> scores.median_tre, scores.median_rtre, scores.robustness
    (5.0, 0.05, 1.0)
    """
    if not (np.isfinite(diagonal) and diagonal > 0):
        raise ValueError(
            f"diagonal is {diagonal}, expected the length of the image's diagonal, "
            "above 0: np.hypot(slide.width, slide.height)."
        )
    before, after = tre(moving, fixed), tre(transform(moving), fixed)
    median, worst = float(np.median(after)), float(after.max())
    return LandmarkScores(
        n_landmarks=len(after),
        median_tre=median,
        max_tre=worst,
        median_rtre=median / diagonal,
        max_rtre=worst / diagonal,
        robustness=robustness(before, after),
        median_rtre_before=float(np.median(before)) / diagonal,
        median_rtre_floor=float(np.median(affine_floor(moving, fixed))) / diagonal,
    )


def dice(
    mask: Bool[np.ndarray, "height width"], other: Bool[np.ndarray, "height width"]
) -> float:
    r"""Return the overlap of two masks, from 0 to 1: :math:`2|A \cap B|/(|A| + |B|)`.

    Raises
    ------
    ValueError
        If the masks differ in shape, or both are empty.

    References
    ----------
    Dice, "Measures of the amount of ecologic association between species", Ecology 26
    (1945).
    """
    if mask.shape != other.shape:
        raise ValueError(
            f"the masks have shapes {mask.shape} and {other.shape}, expected the same "
            "grid. Bring one onto the grid of the other: geometry.pull."
        )
    total = int(mask.sum()) + int(other.sum())
    if total == 0:
        raise ValueError(
            "both masks are empty, so their overlap says nothing. Check how tissue was "
            "told from glass."
        )
    return 2 * int((mask & other).sum()) / total


def loop_errors(
    points: Float[np.ndarray, "points 2"], transforms: Sequence[Transform]
) -> Float[np.ndarray, " points"]:
    """Return how far points end from where they started, after going round.

    Registrations made one by one need not agree. Of two, there and back, this is the
    inverse consistency; of three or more it tells how error adds up along a stack.
    Agreement is not accuracy: maps that all leave points alone agree perfectly.

    Parameters
    ----------
    points
        Places (x, y) in the frame that the first transform starts from.
    transforms
        In the order of the way round; the last ends in the frame of the first.

    Raises
    ------
    ValueError
        If there is no transform.
    FrameError
        If one does not start where the one before it ends.

    Examples
    --------
    >>> there = Affine2D.rigid(0, (10.0, 0.0), source="C2/um", target="C3/um")
    >>> back = Affine2D.rigid(0, (-7.0, 4.0), source="C3/um", target="C2/um")
    >>> loop_errors(np.array([[0.0, 0.0]]), [there, back])
    array([5.])
    """
    if len(transforms) == 0:
        raise ValueError("transforms is empty: give those that lead round, in order.")
    placed = points
    for number, transform in enumerate(transforms):
        before = transforms[number - 1]  # of the first, the last: it is a loop
        if before.target != transform.source:
            raise FrameError(
                f"no loop: transform {number} starts from frame {transform.source!r}, "
                f"but the one before it ends in {before.target!r}. Give them in the "
                "order of the way round, back to the first frame."
            )
        placed = transform(placed)
    return np.hypot(*(placed - points).T)


def matched_pcc(
    values: Float[np.ndarray, "spots genes"],
    places: Float[np.ndarray, "spots 2"],
    other_values: Float[np.ndarray, "_ genes"],
    other_places: Float[np.ndarray, "_ 2"],
    *,
    within: float,
) -> Matched:
    """Correlate expression over spots of one section and the nearest of another.

    Neighbours in a block express alike, place by place, so a better alignment gives a
    higher correlation, as far as the noise of both allows.

    Parameters
    ----------
    values
        Normalised expression of one section, e.g. of `expression.log_normalised`.
    places
        Its spots (x, y), in a frame that both share.
    other_values, other_places
        The same of the other section, with genes in the same order. A spot may be the
        nearest of several.
    within
        Greatest distance to a partner, in units of the frame; spots without one are
        left out. Of two square arrays in any position, 0.71 of the pitch keeps all
        spots where both have tissue.

    Raises
    ------
    ValueError
        If fewer than three spots find a partner, or `within` is not above 0.

    Notes
    -----
    A gene that is constant over the matched spots of `values` has no correlation, one
    that is so in the other section has 0: the rule of `metrics`.

    Examples
    --------
    >>> places = np.array([[0.0, 0.0], [200.0, 0.0], [400.0, 0.0]])
    >>> values = np.array([[1.0], [2.0], [3.0]])
    >>> found = matched_pcc(values, places, values, places + 20.0, within=100.0)
    >>> round(found.median, 6), found.n_pairs
    (1.0, 3)
    """
    if not within > 0:
        raise ValueError(
            f"within is {within}, expected a distance above 0, e.g. half the pitch."
        )
    distance, nearest = KDTree(other_places).query(places)
    close = distance <= within
    if close.sum() < 3:
        raise ValueError(
            f"{int(close.sum())} of {len(places)} spots have one of the other section "
            f"within {within:g}, expected 3 or more. Check that both lie in one frame "
            "and unit, and that the sections overlap."
        )
    return Matched(
        pcc_per_gene(other_values[nearest[close]], values[close]),
        int(close.sum()),
        len(places),
    )
