"""Smooth displacements: by hand, against sums of splines, and their way back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from stlearnkit.conventions import FrameError
from stlearnkit.geometry import Affine2D, Displacement, InverseDisplacement, pull

STAY = Affine2D.identity("M/um", "F/um")
TURN = Affine2D.rigid(25, (300.0, -200.0), source="M/um", target="F/um")
POINTS = np.random.default_rng(5).uniform(-200, 2200, (60, 2))


def smooth(
    seed: int = 0, amount_um: float = 40.0, affine: Affine2D = STAY
) -> Displacement:
    """A random field on a grid of 250 µm over 2 mm of tissue."""
    rng = np.random.default_rng(seed)
    coefficients = rng.normal(0, amount_um, (11, 11, 2))
    return Displacement.on_grid(affine, coefficients, step=250.0, origin=(-250, -250))


def crooked(seed: int = 0) -> Displacement:
    """A field whose grid is turned, sheared and not square."""
    matrix = np.array([[190.0, 60.0, -300.0], [-40.0, 260.0, 100.0], [0, 0, 1]])
    coefficients = np.random.default_rng(seed).normal(0, 30.0, (9, 12, 2))
    return Displacement(TURN, Affine2D(matrix, "nodes", "F/um"), coefficients)


def test_one_node_by_hand():
    """The cubic spline is 2/3 at its node, 1/6 a step and 0 two steps away."""
    push = np.zeros((5, 5, 2))
    push[2, 1] = (36.0, -18.0)  # row 2, column 1: at (10, 20)
    bent = Displacement.on_grid(STAY, push, step=10.0)
    places = np.array([[10.0, 20], [20, 20], [20, 30], [30, 20], [10, 0], [-10, 20]])
    np.testing.assert_allclose(
        bent.field(places),
        np.array([[16.0, -8], [4, -2], [1, -0.5], [0, 0], [0, 0], [0, 0]]),
        atol=1e-12,
    )
    np.testing.assert_allclose(bent(places), places + bent.field(places))


def test_affine_comes_first():
    shift = Affine2D.rigid(0, (10.0, 0.0), source="M/um", target="F/um")
    push = np.zeros((5, 5, 2))
    push[2, 2] = (9.0, 0.0)
    bent = Displacement.on_grid(shift, push, step=10.0)
    np.testing.assert_allclose(bent(np.array([[10.0, 20.0]])), [[24.0, 20.0]])
    assert (bent.source, bent.target) == ("M/um", "F/um")


def test_field_equals_a_sum_of_scipy_splines():
    bent = crooked()
    x, y = bent.nodes.inverse()(POINTS).T
    beta = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
    expected = np.zeros_like(POINTS)
    for row in range(9):
        for column in range(12):
            weight = np.nan_to_num(beta(x - column)) * np.nan_to_num(beta(y - row))
            expected += weight[:, None] * bent.coefficients[row, column]
    np.testing.assert_allclose(bent.field(POINTS), expected, atol=1e-9)


def test_field_has_faded_two_steps_beyond_its_grid():
    bent = smooth()
    outside = np.array([[-750.0, 500], [500, -750], [2750, 500], [1e6, -1e6]])
    np.testing.assert_allclose(bent.field(outside), 0, atol=1e-12)
    np.testing.assert_allclose(bent.area_change(outside), 1)


@pytest.mark.parametrize("make", [smooth, crooked])
def test_area_change_equals_numerical_differences(make):
    bent, h = make(), 1e-3
    along = [
        (bent.field(POINTS + step) - bent.field(POINTS - step)) / (2 * h)
        for step in (np.array([h, 0]), np.array([0, h]))
    ]
    jacobian = np.eye(2) + np.stack(along, axis=2)
    np.testing.assert_allclose(
        bent.area_change(POINTS), np.linalg.det(jacobian), atol=1e-6
    )


def test_area_change_is_of_the_field_alone():
    """Whatever the affine map does to areas."""
    doubled = Affine2D.scaling(2.0, source="M/um", target="F/um")
    np.testing.assert_array_equal(
        smooth(affine=doubled).area_change(POINTS), smooth().area_change(POINTS)
    )


def test_area_range_holds_what_random_places_show():
    bent = crooked()
    rng = np.random.default_rng(1)
    inside = bent.nodes(rng.uniform([-2, -2], [13, 10], (20_000, 2)))
    changes = bent.area_change(inside)
    low, high = bent.area_range
    assert low == pytest.approx(changes.min(), abs=0.03)
    assert high == pytest.approx(changes.max(), abs=0.03)
    assert not bent.folds


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10_000), amount_um=st.floats(0, 60), angle=st.floats(-180, 180)
)
def test_there_and_back_is_the_original_point(seed, amount_um, angle):
    """To a hundredth of a micrometre, both ways."""
    turn = Affine2D.rigid(angle, (50.0, 90.0), source="M/um", target="F/um")
    bent = smooth(seed, amount_um, turn)
    np.testing.assert_allclose(bent.inverse()(bent(POINTS)), POINTS, atol=0.01)
    np.testing.assert_allclose(bent(bent.inverse()(POINTS)), POINTS, atol=0.01)


def test_inverse_of_the_inverse_is_the_map_itself():
    bent = crooked()
    back = bent.inverse()
    assert back.inverse() is bent
    assert (back.source, back.target) == ("F/um", "M/um")


@pytest.mark.parametrize("inverted", [False, True])
def test_composition_with_affine_maps_on_both_sides(inverted):
    """The result is one displacement, not a chain, and exactly the maps in turn."""
    bent = crooked().inverse() if inverted else crooked()
    before = Affine2D(
        np.array([[0.8, 0.3, 40.0], [-0.1, 1.2, 9.0], [0, 0, 1]]), "A", bent.source
    )
    after = Affine2D(
        np.array([[1.1, -0.2, 7.0], [0.4, -0.9, 3.0], [0, 0, 1]]), bent.target, "Z"
    )
    whole = after @ bent @ before
    assert type(whole) is type(bent)
    assert (whole.source, whole.target) == ("A", "Z")
    np.testing.assert_allclose(whole(POINTS), after(bent(before(POINTS))), atol=0.01)
    np.testing.assert_allclose(whole.inverse()(whole(POINTS)), POINTS, atol=0.02)
    assert bent.then(after).target == "Z"


@pytest.mark.parametrize("inverted", [False, True])
def test_composition_in_the_wrong_frame_is_refused(inverted):
    bent = smooth().inverse() if inverted else smooth()
    elsewhere = Affine2D.identity("X/um", "Y/um")
    with pytest.raises(FrameError, match="first map ends in frame 'Y/um'"):
        _ = bent @ elsewhere
    with pytest.raises(FrameError, match="second starts from 'X/um'"):
        _ = elsewhere @ bent


@pytest.mark.parametrize("inverted", [False, True])
def test_an_image_goes_where_its_points_go(inverted):
    bent = smooth(3, 60.0).inverse() if inverted else smooth(3, 60.0)
    y, x = np.mgrid[:80, :80] * 25.0 + 12.5
    bump = np.exp(-((x - 900) ** 2 + (y - 1100) ** 2) / (2 * 60.0**2))
    drawn = pull(bump, bent, (80, 80), step=25.0)
    row, column = np.unravel_index(np.argmax(drawn), drawn.shape)
    expected = bent(np.array([[900.0, 1100.0]]))[0]
    found = (np.array([column, row]) + 0.5) * 25
    np.testing.assert_allclose(found, expected, atol=20.0)
    assert np.hypot(*(expected - [900.0, 1100.0])) > 30.0


def test_a_fold_is_seen_and_has_no_way_back():
    """A slope of the field below -1 lays tissue over itself."""
    push = np.zeros((5, 5, 2))
    push[2, 2] = (30.0, 0.0)  # the steepest slope is -30/10 * 2/3 * 2/3
    folded = Displacement.on_grid(STAY, push, step=10.0)
    assert folded.area_range[0] == pytest.approx(1 - 4 / 3, abs=0.01)
    assert folded.folds
    with pytest.raises(
        ValueError, match=r"field folds.* it makes areas -0\.33 to 2\.33"
    ):
        folded.inverse()
    half = Displacement.on_grid(STAY, push / 2, step=10.0)
    assert half.area_range[0] == pytest.approx(1 / 3, abs=0.01)
    assert not half.folds


def test_a_way_back_that_is_not_found_is_said(monkeypatch):
    monkeypatch.setattr("stlearnkit.geometry._displacement._MOST_STEPS", 2)
    back = smooth().inverse()
    with pytest.raises(
        ValueError, match=r"of 60 points was not found in 2 steps, first"
    ):
        back(POINTS)


def test_no_points_map_to_no_points():
    for transform in (smooth(), smooth().inverse()):
        assert transform(np.zeros((0, 2))).shape == (0, 2)


def test_coefficients_cannot_be_changed_from_outside():
    coefficients = np.zeros((4, 4, 2))
    bent = Displacement.on_grid(STAY, coefficients, step=10.0)
    coefficients[0] = 7.0
    assert not bent.coefficients.any()
    with pytest.raises(ValueError, match="read-only"):
        bent.coefficients[0] = 7.0


def test_refused_parts():
    with pytest.raises(
        ValueError, match="coefficients has entries that are not finite"
    ):
        Displacement.on_grid(STAY, np.full((4, 4, 2), np.nan), step=10.0)
    nodes = Affine2D.identity("nodes", "M/um")
    with pytest.raises(FrameError, match=r"nodes end in frame 'M/um', .* in 'F/um'"):
        Displacement(STAY, nodes, np.zeros((4, 4, 2)))
    assert isinstance(smooth().inverse(), InverseDisplacement)
