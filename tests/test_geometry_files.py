"""Transforms in files: what is written is what is read, by us and by SimpleITK."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from stlearnkit.geometry import (
    Affine2D,
    Displacement,
    load,
    pull,
    read_itk,
    save,
    write_itk,
)

POINTS = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 5.0], [3.0, 7.0]])
SHEARED = Affine2D(
    np.array([[1.1, 0.2, 5.0], [-0.3, -0.9, 1 / 3], [0, 0, 1]]), "C2/um", "C3/um"
)


@pytest.fixture
def bent() -> Displacement:
    coefficients = np.random.default_rng(0).normal(size=(9, 8, 2))
    return Displacement.on_grid(SHEARED, coefficients, step=7.0, origin=(-14.0, -21.0))


def test_json_returns_the_same_bits_and_frames(tmp_path):
    save(SHEARED, tmp_path / "new" / "map.json")
    back = load(tmp_path / "new" / "map.json")
    assert isinstance(back, Affine2D)
    assert (back.source, back.target) == ("C2/um", "C3/um")
    np.testing.assert_array_equal(back.matrix, SHEARED.matrix)


def test_json_of_displacements_there_and_back(bent, tmp_path):
    for transform in (bent, bent.inverse()):
        save(transform, tmp_path / "map.json")
        back = load(tmp_path / "map.json")
        assert type(back) is type(transform)
        assert (back.source, back.target) == (transform.source, transform.target)
        np.testing.assert_array_equal(back(POINTS), transform(POINTS))


def test_json_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path):
    save(Affine2D.identity("a", "b"), tmp_path / "map.json")
    save(SHEARED, str(tmp_path / "map.json"))
    assert [file.name for file in tmp_path.iterdir()] == ["map.json"]
    assert load(tmp_path / "map.json").target == "C3/um"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format and version are"),
        ({"version": 9}, r"format and version are \('stlearnkit transform', 9\)"),
        ({"kind": "wave"}, "kind is 'wave'"),
        ({"source": None}, "KeyError: 'source'"),
        ({"matrix": [[1, 0], [0, 1]]}, r"shape \(2, 2\), expected \(3, 3\)"),
        ({"matrix": [[1, 2, 0], [2, 4, 0], [0, 0, 1]]}, "maps the plane onto a line"),
        ({"matrix": "abc"}, "could not convert"),
    ],
)
def test_other_json_is_refused(change, message, tmp_path):
    save(SHEARED, tmp_path / "map.json")
    content = json.loads((tmp_path / "map.json").read_text()) | change
    content = {key: value for key, value in content.items() if value is not None}
    (tmp_path / "map.json").write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=rf"map\.json is not a transform of version 1.*{message}"
    ):
        load(tmp_path / "map.json")


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "17", "\x89PNG\r\n"])
def test_other_files_are_refused(text, tmp_path):
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(ValueError, match=r"map\.json is not a transform of version 1"):
        load(tmp_path / "map.json")


@pytest.mark.parametrize(
    "read", [load, lambda path: read_itk(path, source="a", target="b")]
)
def test_missing_file(read, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no transform at .*absent\.json"):
        read(tmp_path / "absent.json")


def test_simpleitk_applies_the_way_back(tmp_path):
    write_itk(SHEARED, tmp_path / "map.tfm")
    theirs = sitk.ReadTransform(str(tmp_path / "map.tfm"))
    back = [theirs.TransformPoint(point) for point in SHEARED(POINTS).tolist()]
    np.testing.assert_allclose(back, POINTS, atol=1e-12)


def test_simpleitk_applies_the_spline(bent, tmp_path):
    """Inside its grid, where ITK's spline is defined."""
    forward = bent.inverse()  # as of a registration: exact from fixed to moving
    write_itk(forward, tmp_path / "map.tfm")
    theirs = sitk.ReadTransform(str(tmp_path / "map.tfm"))
    # The grid, with one node spare on each side, lies after the affine map of `bent`.
    inside = np.random.default_rng(1).uniform([-6, -13], [27, 27], (50, 2))
    fixed = SHEARED.inverse()(inside)
    expected = [theirs.TransformPoint(point) for point in fixed.tolist()]
    np.testing.assert_allclose(bent(fixed), expected, atol=1e-9)
    assert np.abs(bent(fixed) - inside).max() > 0.5


@pytest.mark.parametrize("inverted", [False, True])
def test_itk_there_and_back(bent, inverted, tmp_path):
    transform = bent.inverse() if inverted else SHEARED
    write_itk(transform, tmp_path / "map.txt")
    back = read_itk(
        tmp_path / "map.txt", source=transform.source, target=transform.target
    )
    assert (back.source, back.target) == (transform.source, transform.target)
    np.testing.assert_allclose(back(POINTS), transform(POINTS), atol=1e-9)


def itk_kinds() -> dict[str, sitk.Transform]:
    """One of each kind that is read, with centres and all."""
    similarity = sitk.Similarity2DTransform(1.3, 0.4, (5.0, -2.0), (10.0, 20.0))
    affine = sitk.AffineTransform([1.1, 0.2, -0.3, 0.9], (5.0, -2.0), (10.0, 20.0))
    grid = sitk.Image([40, 30], sitk.sitkFloat64)
    grid.SetOrigin((-20.0, -10.0))
    grid.SetSpacing((1.0, 1.5))
    turn = np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
    grid.SetDirection(turn.ravel().tolist())
    spline = sitk.BSplineTransformInitializer(grid, [4, 5], 3)
    size = len(spline.GetParameters())
    spline.SetParameters(np.random.default_rng(0).normal(0, 0.5, size).tolist())
    return {
        "affine": affine,
        "rigid": sitk.Euler2DTransform((10.0, 20.0), 0.3, (5.0, -2.0)),
        "similarity": similarity,
        "translation": sitk.TranslationTransform(2, (5.0, -2.0)),
        "composite": sitk.CompositeTransform([similarity, affine]),
        "spline": spline,
        "affine after spline": sitk.CompositeTransform([affine, spline]),
        "spline after affine": sitk.CompositeTransform([spline, affine.GetInverse()]),
    }


@pytest.mark.parametrize("kind", itk_kinds())
def test_kinds_of_simpleitk_are_read(kind, tmp_path):
    theirs = itk_kinds()[kind]
    sitk.WriteTransform(theirs, str(tmp_path / "map.tfm"))
    ours = read_itk(tmp_path / "map.tfm", source="moving", target="fixed")
    assert (ours.source, ours.target) == ("moving", "fixed")
    fixed = POINTS + np.array([-3.0, 4.0])
    if kind == "spline after affine":
        fixed = np.array([affine_point(theirs, point) for point in fixed])
    expected = np.array([theirs.TransformPoint(point) for point in fixed.tolist()])
    np.testing.assert_allclose(ours.inverse()(fixed), expected, atol=1e-9)
    np.testing.assert_allclose(ours(expected), fixed, atol=2e-3)


def affine_point(theirs, point):
    """A place that the affine part takes into the grid."""
    return theirs.GetNthTransform(1).GetInverse().TransformPoint(point.tolist())


def test_resample_of_simpleitk_draws_what_pull_draws(tmp_path):
    image = np.random.default_rng(0).uniform(size=(30, 40))
    moving, fixed = 2.0, 3.0  # µm per px
    transform = Affine2D.rigid(
        20, (4.0, -6.0), source="M/um", target="F/um", center=(40.0, 30.0)
    )
    write_itk(transform, tmp_path / "map.tfm")
    theirs = sitk.GetImageFromArray(image)
    theirs.SetSpacing((moving, moving))
    theirs.SetOrigin((moving / 2, moving / 2))
    grid = sitk.Image([25, 20], sitk.sitkFloat64)
    grid.SetSpacing((fixed, fixed))
    grid.SetOrigin((fixed / 2, fixed / 2))
    drawn = sitk.Resample(
        theirs, grid, sitk.ReadTransform(str(tmp_path / "map.tfm")), sitk.sitkLinear, -1
    )
    ours = pull(image, transform, (20, 25), step=moving, new_step=fixed, fill=-1)
    np.testing.assert_allclose(ours, sitk.GetArrayFromImage(drawn), atol=1e-9)


def test_a_displacement_has_no_spline_back(bent, tmp_path):
    with pytest.raises(
        ValueError, match=r"from 'C3/um' to 'C2/um', is no spline.*inve"
    ):
        write_itk(bent, tmp_path / "map.tfm")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line is not"),
        ("#Insight Transform File V1.0\n", "holds no transform"),
        (
            "Transform: AffineTransform_double_3_3",
            "'AffineTransform_double_3_3' is not",
        ),
        ("Transform: ThinPlateSplineTransform_double_2_2", "it holds a ThinPlate"),
        ("Transform: AffineTransform_double_2_2\nParameters: 1 0", "cannot reshape"),
        ("Transform: AffineTransform_double_2_2\nParameters: a", "could not convert"),
        ("Parameters: 1 0", "'Transform'"),
    ],
)
def test_other_itk_files_are_refused(text, message, tmp_path):
    if text.startswith(("T", "P")):
        text = f"#Insight Transform File V1.0\n#Transform 0\n{text}\n"
    (tmp_path / "map.tfm").write_text(text)
    with pytest.raises(
        ValueError, match=rf"map\.tfm cannot be read as a transform of ITK: .*{message}"
    ):
        read_itk(tmp_path / "map.tfm", source="a", target="b")


def test_two_splines_are_refused(tmp_path):
    spline = itk_kinds()["spline"]
    both = sitk.CompositeTransform([spline, spline])
    sitk.WriteTransform(both, str(tmp_path / "map.tfm"))
    with pytest.raises(ValueError, match="holds two B-splines"):
        read_itk(tmp_path / "map.tfm", source="a", target="b")
