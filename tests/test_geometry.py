"""Affine maps: by hand, their laws, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import AffineTransform

from stlearnkit.conventions import FrameError
from stlearnkit.geometry import Affine2D

POINTS = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 5.0], [3.0, 7.0]])


def test_quarter_turn_about_a_centre_by_hand():
    turn = Affine2D.rigid(90, (1.0, 2.0), source="a", target="b", center=(10.0, 0.0))
    # (10, 0) stays, then moves by (1, 2); (11, 0) turns to (10, 1) first.
    np.testing.assert_allclose(
        turn(np.array([[10.0, 0.0], [11.0, 0.0]])), [[11, 2], [11, 3]], atol=1e-12
    )


def test_positive_angle_turns_clockwise_on_the_screen():
    """With y pointing down, x turns towards y: rightwards becomes downwards."""
    turn = Affine2D.rigid(90, source="a", target="b")
    np.testing.assert_allclose(turn(np.array([[1.0, 0.0]])), [[0.0, 1.0]], atol=1e-12)


def test_equals_scikit_image():
    matrix = np.array([[1.1, 0.2, 5.0], [-0.3, 0.9, -2.0], [0, 0, 1]])
    np.testing.assert_allclose(
        Affine2D(matrix, "a", "b")(POINTS), AffineTransform(matrix)(POINTS)
    )


@given(
    angle=st.floats(-360, 360),
    x=st.floats(-1e4, 1e4),
    y=st.floats(-1e4, 1e4),
    factor=st.floats(0.01, 100),
)
def test_inverse_returns_the_original_points(angle, x, y, factor):
    rigid = Affine2D.rigid(angle, (x, y), source="a", target="b")
    both = Affine2D.scaling(factor, source="b", target="c") @ rigid
    np.testing.assert_allclose(both.inverse()(both(POINTS)), POINTS, atol=1e-6)
    assert (both.inverse().source, both.inverse().target) == ("c", "a")


def test_composition_is_application_in_turn():
    first = Affine2D.rigid(30, (4.0, -1.0), source="a", target="b")
    second = Affine2D.scaling(2.5, source="b", target="c")
    both = second @ first
    np.testing.assert_allclose(both(POINTS), second(first(POINTS)))
    assert (both.source, both.target) == ("a", "c")


def test_fit_recovers_a_known_map():
    truth = Affine2D(
        np.array([[0.9, 0.3, 12.0], [-0.2, 1.2, 7.0], [0, 0, 1]]), "a", "b"
    )
    found = Affine2D.fit(POINTS, truth(POINTS), source="a", target="b")
    np.testing.assert_allclose(found.matrix, truth.matrix, atol=1e-12)


def test_fit_minimises_the_squared_distance():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 2))
    images = points @ np.array([[1.0, 0.2], [0.1, 0.8]]) + rng.normal(size=(20, 2))
    fitted = Affine2D.fit(points, images, source="a", target="b")
    residual = images - fitted(points)
    # At the minimum the residual is orthogonal to every column of the design.
    design = np.column_stack([points, np.ones(20)])
    np.testing.assert_allclose(design.T @ residual, 0, atol=1e-10)


def test_area_scale_tells_mirrors():
    mirror = Affine2D(np.diag([-2.0, 3.0, 1.0]), "a", "b")
    assert mirror.area_scale == pytest.approx(-6.0)
    assert Affine2D.identity("a", "b").area_scale == pytest.approx(1.0)


def test_matrix_cannot_be_changed_from_outside():
    matrix = np.eye(3)
    transform = Affine2D(matrix, "a", "b")
    matrix[0, 0] = 5.0
    assert transform.matrix[0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        transform.matrix[0, 0] = 5.0


def test_composition_in_the_wrong_frame_is_refused():
    a_to_b = Affine2D.identity("C2/um", "C3/um")
    with pytest.raises(
        FrameError, match=r"first map ends in frame 'C3/um'.*starts from 'C2/um'"
    ):
        _ = a_to_b @ a_to_b


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.full((3, 3), np.nan), "entries that are not finite"),
        (np.array([[1.0, 0, 0], [0, 1, 0], [0.1, 0, 1]]), r"last row is \[0.1, 0.0, 1"),
        (np.array([[1.0, 2, 0], [2, 4, 0], [0, 0, 1]]), "maps the plane onto a line"),
    ],
)
def test_refused_matrices(matrix, message):
    with pytest.raises(ValueError, match=message):
        Affine2D(matrix, "a", "b")


def test_small_units_are_not_mistaken_for_singular():
    """A map from nanometres to metres is fine: singularity is relative."""
    tiny = Affine2D.scaling(1e-9, source="nm", target="m")
    np.testing.assert_allclose(tiny.inverse()(tiny(POINTS)), POINTS)


def test_fit_needs_three_points_off_a_line():
    with pytest.raises(ValueError, match="points has 2 rows, expected at least 3"):
        Affine2D.fit(POINTS[:2], POINTS[:2], source="a", target="b")
    line = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    with pytest.raises(ValueError, match="points lie on one line"):
        Affine2D.fit(line, line, source="a", target="b")
