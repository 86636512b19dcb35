"""Affine maps: by hand, their laws, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import AffineTransform

from stlearnkit.conventions import FrameError
from stlearnkit.geometry import Affine2D, pull

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


@given(
    angle=st.floats(-179.9, 180),
    scales=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)),
    shear=st.floats(-3, 3),
    mirrored=st.booleans(),
)
def test_parts_are_those_it_was_made_of(angle, scales, shear, mirrored):
    turn = Affine2D.rigid(angle, (3.0, 4.0), source="b", target="c")
    inner = np.eye(3)
    inner[:2, :2] = np.array([[1, shear], [0, 1]]) @ np.diag(
        [scales[0], -scales[1] if mirrored else scales[1]]
    )
    parts = (turn @ Affine2D(inner, "a", "b")).parts
    found = [parts.scale_x, parts.scale_y, parts.shear]
    np.testing.assert_allclose(found, [*scales, shear], atol=1e-9)
    off = np.deg2rad(parts.angle_deg - angle)
    np.testing.assert_allclose(np.exp(1j * off), 1, atol=1e-9)
    assert parts.mirrored == mirrored


def test_parts_by_hand():
    """(1, 0) goes to (0, 2); (0, 1) to (-3, 6), which is 3 to its left and 6 along."""
    parts = Affine2D(np.array([[0.0, -3, 9], [2, 6, 9], [0, 0, 1]]), "a", "b").parts
    assert parts == pytest.approx((90.0, 2.0, 3.0, 2.0, False))
    assert parts.scale == pytest.approx(6**0.5)


def test_stretch_is_the_same_in_any_frame():
    stretched = Affine2D(np.diag([3.0, -2.0, 1.0]), "a", "b")
    turn = Affine2D.rigid(33, source="b", target="c")
    assert stretched.parts.stretch == pytest.approx(1.5)
    assert (turn @ stretched).parts.stretch == pytest.approx(1.5)
    assert (
        stretched @ turn.inverse().then(Affine2D.identity("b", "a"))
    ).parts.stretch == (pytest.approx(1.5))
    assert turn.parts.stretch == pytest.approx(1.0)


def test_turning_a_mirror_over_only_changes_its_hand():
    parts = Affine2D(np.diag([-1.0, 1.0, 1.0]), "a", "b").parts
    assert parts.mirrored
    assert abs(parts.angle_deg) == pytest.approx(180)  # y turned over, then half a turn


def blob(x_px: float, y_px: float, height: int = 40, width: int = 50) -> np.ndarray:
    """An image of a bright bump about a point."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.exp(-((x - x_px) ** 2 + (y - y_px) ** 2) / 18)


def centre(image: np.ndarray) -> np.ndarray:
    """The centre of mass (x, y) of an image, in its pixels."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(image * x).sum(), (image * y).sum()]) / image.sum()


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_an_image_goes_where_its_points_go(mirror):
    """Other scale on each side, turned, moved and mirrored."""
    flip = Affine2D(np.diag([1.0, mirror, 1.0]), "M/um", "M/um")
    turn = Affine2D.rigid(25, (30.0, 90.0), source="M/um", target="F/um")
    transform = turn @ flip.then(
        Affine2D.rigid(
            0, (0.0, 0.0 if mirror > 0 else 60.0), source="M/um", target="M/um"
        )
    )
    drawn = pull(blob(20.0, 15.0), transform, (110, 120), step=2.0, new_step=1.5)
    expected = transform(np.array([[20.0, 15.0]]) * 2.0)[0] / 1.5
    np.testing.assert_allclose(centre(drawn), expected, atol=0.05)


def test_pull_equals_a_quarter_turn_of_numpy():
    """Pixels are areas: a turn about the middle of the image loses none of them."""
    image = np.arange(35.0).reshape(5, 7)
    # (x, y) goes to (5 - y, x): clockwise on the screen.
    turn = Affine2D.rigid(90, (5.0, 0.0), source="a/px", target="b/px")
    np.testing.assert_allclose(pull(image, turn, (7, 5)), np.rot90(image, -1))


def test_pull_of_the_identity_changes_nothing_in_any_dtype():
    same = Affine2D.identity("a/px", "b/px")
    rng = np.random.default_rng(0)
    for image in (
        rng.integers(0, 256, (6, 5, 3), np.uint8),
        rng.uniform(size=(6, 5)) > 0.5,
        rng.normal(size=(6, 5)).astype(np.float32),
    ):
        drawn = pull(image, same, (6, 5))
        assert drawn.dtype == image.dtype
        np.testing.assert_array_equal(drawn, image)


def test_pull_fills_outside_and_keeps_labels_apart():
    image = np.array([[0, 7], [0, 7]], np.int32)
    shift = Affine2D.rigid(0, (1.4, 0.0), source="a/px", target="b/px")
    labels = pull(image, shift, (2, 4), fill=-1, nearest=True)
    np.testing.assert_array_equal(labels, [[-1, 0, 7, -1]] * 2)
    mixed = pull(image.astype(np.uint8), shift, (2, 4), fill=255)
    np.testing.assert_array_equal(mixed[0, [0, 2, 3]], [255, 4, 255])
    mask = pull(image > 0, shift, (2, 4))
    np.testing.assert_array_equal(mask[0], [False, False, True, False])


def test_pull_in_bands_equals_pull_at_once(monkeypatch):
    image = np.random.default_rng(0).uniform(size=(20, 30, 2))
    turn = Affine2D.rigid(10, source="a/px", target="b/px")
    whole = pull(image, turn, (23, 31))
    monkeypatch.setattr("stlearnkit.geometry._pull._BAND_PX", 70)
    np.testing.assert_array_equal(pull(image, turn, (23, 31)), whole)


def test_pull_refuses_empty_grids():
    same = Affine2D.identity("a/px", "b/px")
    with pytest.raises(ValueError, match=r"new_step is 0\.0, expected the side"):
        pull(np.zeros((2, 2)), same, (2, 2), new_step=0.0)
    with pytest.raises(ValueError, match="step is nan, expected the side of a pixel"):
        pull(np.zeros((2, 2)), same, (2, 2), step=float("nan"))
    with pytest.raises(ValueError, match=r"shape is \(0, 2\), expected height and"):
        pull(np.zeros((2, 2)), same, (0, 2))
