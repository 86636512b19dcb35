"""Scores of an alignment: by hand, their laws, and what they refuse."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stlearnkit.conventions import FrameError
from stlearnkit.geometry import Affine2D
from stlearnkit.landmarks import (
    affine_floor,
    dice,
    evaluate,
    loop_errors,
    matched_pcc,
    robustness,
    tre,
)

SQUARE = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
STAY = Affine2D.identity("M/px", "F/px")


def test_errors_by_hand():
    placed = SQUARE + np.array([[3.0, 4.0], [0, 0], [-6, 8], [0, -1]])
    np.testing.assert_allclose(tre(placed, SQUARE), [5, 0, 10, 1])


def test_summary_by_hand():
    """The four corners, one of them misplaced, moved by an alignment that is 1 off."""
    fixed = SQUARE + np.array([20.0, 0.0])
    shift = Affine2D.rigid(0, (19.0, 0.0), source="M/px", target="F/px")
    moving = SQUARE.copy()
    moving[3] += (-21.0, 0.0)  # it was 41 off and is 22 off
    moving[0] += (0.0, 20.0)  # sqrt(800) off at first, sqrt(401) afterwards
    scores = evaluate(shift, moving, fixed, diagonal=50.0)
    assert scores.n_landmarks == 4
    assert scores.max_tre == pytest.approx(22.0)
    assert scores.median_tre == pytest.approx((1 + 401**0.5) / 2)
    assert scores.max_rtre == pytest.approx(22 / 50)
    assert scores.median_rtre == pytest.approx((1 + 401**0.5) / 100)
    assert scores.robustness == 1.0
    assert scores.median_rtre_before == pytest.approx((20 + 800**0.5) / 100)


def test_floor_by_hand():
    """One corner of a square 4 off: the affine map spreads it as 1 over all four."""
    fixed = SQUARE.copy()
    fixed[3] += (4.0, 0.0)
    np.testing.assert_allclose(affine_floor(SQUARE, fixed), [1, 1, 1, 1])
    scores = evaluate(STAY, SQUARE, fixed, diagonal=100.0)
    assert scores.median_rtre_floor == pytest.approx(0.01)
    assert scores.over_floor == pytest.approx(0.0)  # three corners are exactly right


def test_no_ratio_over_a_floor_of_nothing():
    """Landmarks that an affine map joins exactly: here even at the first try."""
    scores = evaluate(STAY, SQUARE, SQUARE, diagonal=100.0)
    exact = scores._replace(median_rtre_floor=0.0)
    assert np.isnan(exact.over_floor)


def test_the_fitted_map_is_at_its_own_floor():
    rng = np.random.default_rng(0)
    moving = rng.uniform(0, 100, (20, 2))
    fixed = moving @ np.array([[0.9, 0.2], [-0.1, 1.1]]) + rng.normal(size=(20, 2))
    fitted = Affine2D.fit(moving, fixed, source="M/px", target="F/px")
    scores = evaluate(fitted, moving, fixed, diagonal=141.4)
    assert scores.over_floor == pytest.approx(1.0)
    assert 0 < scores.median_rtre < scores.median_rtre_before


def test_robustness_counts_only_what_fell():
    before = np.array([5.0, 5.0, 5.0, 0.0])
    assert robustness(before, np.array([4.9, 5.0, 5.1, 0.0])) == 0.25


@given(
    angle=st.floats(-180, 180),
    x=st.floats(-1e3, 1e3),
    factor=st.floats(0.1, 10),
)
def test_relative_errors_do_not_depend_on_unit_or_origin(angle, x, factor):
    rng = np.random.default_rng(0)
    moving, fixed = rng.uniform(0, 50, (2, 9, 2))
    turn = Affine2D.rigid(angle, (x, 0.0), source="M/px", target="F/px")
    to_um = Affine2D.scaling(factor, source="F/px", target="F/um")
    from_um = Affine2D.scaling(1 / factor, source="M/um", target="M/px")
    in_px = evaluate(turn, moving, fixed, diagonal=70.0)
    in_um = evaluate(
        to_um @ turn @ from_um, moving * factor, fixed * factor, diagonal=70.0 * factor
    )
    assert in_um[3:] == pytest.approx(in_px[3:])
    assert in_um.median_tre == pytest.approx(factor * in_px.median_tre)


@pytest.mark.parametrize(
    ("moving", "fixed", "message"),
    [
        (SQUARE, SQUARE[:3], "there are 4 and 3 landmarks"),
        (SQUARE[:0], SQUARE[:0], "there are 0 and 0 landmarks"),
        (SQUARE, SQUARE * np.nan, "a landmark is not finite"),
        (SQUARE[:2], SQUARE[:2], "points has 2 rows, expected at least 3"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_refused_landmarks(moving, fixed, message):
    with pytest.raises(ValueError, match=message):
        evaluate(STAY, moving, fixed, diagonal=1.0)


@pytest.mark.parametrize("diagonal", [0.0, -1.0, float("nan")])
def test_refused_diagonal(diagonal):
    with pytest.raises(ValueError, match=rf"diagonal is {diagonal}, expected the leng"):
        evaluate(STAY, SQUARE, SQUARE, diagonal=diagonal)


def test_robustness_of_nothing_is_refused():
    with pytest.raises(ValueError, match="before is empty"):
        robustness(np.zeros(0), np.zeros(0))


def test_dice_by_hand_and_its_ends():
    left = np.zeros((4, 6), bool)
    left[:, :3] = True  # 12 px
    lower = np.zeros((4, 6), bool)
    lower[2:] = True  # 12 px, 6 of them shared
    assert dice(left, lower) == pytest.approx(2 * 6 / 24)
    assert dice(left, left) == 1.0
    assert dice(left, ~left) == 0.0
    assert dice(left, np.zeros_like(left)) == 0.0


@pytest.mark.usefixtures("unchecked")
def test_dice_refuses():
    with pytest.raises(ValueError, match=r"shapes \(2, 3\) and \(3, 2\), expected the"):
        dice(np.ones((2, 3), bool), np.ones((3, 2), bool))
    with pytest.raises(ValueError, match="both masks are empty"):
        dice(np.zeros((2, 3), bool), np.zeros((2, 3), bool))


def test_a_map_and_its_inverse_are_consistent():
    turn = Affine2D.rigid(20, (3.0, 4.0), source="A/um", target="B/um")
    np.testing.assert_allclose(
        loop_errors(SQUARE, [turn, turn.inverse()]), 0, atol=1e-9
    )


def test_errors_add_up_round_a_triangle():
    names = ("A", "B", "C", "A")
    loop = [
        Affine2D.rigid(0, (1.0, 2.0), source=source, target=target)
        for source, target in pairwise(names)
    ]
    np.testing.assert_allclose(loop_errors(SQUARE, loop), np.hypot(3, 6))


def test_open_ways_are_refused():
    with pytest.raises(FrameError, match=r"transform 0 starts .* 'M/px', .* in 'F/px'"):
        loop_errors(SQUARE, [STAY])
    back = Affine2D.identity("G/px", "M/px")
    with pytest.raises(FrameError, match=r"transform 1 starts .* 'G/px', .* in 'F/px'"):
        loop_errors(SQUARE, [STAY, back])
    with pytest.raises(ValueError, match="transforms is empty"):
        loop_errors(SQUARE, [])


def test_matched_expression_by_hand():
    """Five spots in a row; the other section lies 30 further and has no fifth."""
    places = np.column_stack([np.arange(5) * 200.0, np.zeros(5)])
    values = np.column_stack([[1.0, 2, 3, 4, 90], [5.0] * 5, [1.0, 0, 1, 0, 1]])
    other = np.column_stack([[2.0, 4, 6, 8], [1.0, 2, 3, 4], [3.0] * 4])
    found = matched_pcc(values, places, other, places[:4] + 30.0, within=60.0)
    np.testing.assert_allclose(found.per_gene, [1.0, np.nan, 0.0])
    assert (found.n_pairs, found.n_spots) == (4, 5)
    assert found.median == pytest.approx(0.5)


def test_two_spots_may_share_a_partner():
    places = np.array([[0.0, 0.0], [1.0, 0.0], [50.0, 0.0], [99.0, 0.0]])
    other = np.array([[0.4, 0.0], [50.0, 0.0], [99.0, 0.0]])
    found = matched_pcc(
        np.array([[1.0], [2.0], [3.0], [5.0]]),
        places,
        np.array([[10.0], [20.0], [30.0]]),
        other,
        within=2.0,
    )
    expected = np.corrcoef([1, 2, 3, 5], [10, 10, 20, 30])[0, 1]
    assert found.per_gene[0] == pytest.approx(expected)


def test_correlation_is_highest_in_place():
    """A map that varies across the tissue, read on a grid and on one moved by 50."""
    x, y = np.meshgrid(np.arange(12) * 100.0, np.arange(12) * 100.0)
    places = np.column_stack([x.ravel(), y.ravel()])
    shifted = places + 50.0

    def measure(points):
        return np.sin(points / 150.0)

    found = [
        matched_pcc(
            measure(places), places, measure(shifted), shifted + off, within=100.0
        ).median
        for off in (0.0, 150.0, 300.0)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.85


def test_a_gene_that_is_constant_everywhere_leaves_no_median():
    places = np.arange(6.0).reshape(3, 2)
    found = matched_pcc(np.ones((3, 1)), places, np.ones((3, 1)), places, within=1.0)
    assert np.isnan(found.median)


def test_matching_refuses():
    places = np.arange(8.0).reshape(4, 2)
    values = np.arange(4.0)[:, None]
    with pytest.raises(ValueError, match=r"0 of 4 spots .* within 5, expected 3 or"):
        matched_pcc(values, places, values, places + 1e4, within=5.0)
    with pytest.raises(ValueError, match=r"within is 0\.0, expected a distance above"):
        matched_pcc(values, places, values, places, within=0.0)
