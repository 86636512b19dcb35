"""The sets of landmarks: what is in them, against what others say of them."""

from itertools import combinations, permutations

import numpy as np
import pytest

from stlearnkit import landmark_sets
from stlearnkit.downloads import registry
from stlearnkit.landmark_sets import (
    BULB_SECTIONS,
    LUNG_STAINS,
    lung_lesion,
    olfactory_bulb,
    tutorial_landmarks,
)
from stlearnkit.landmarks import affine_floor, tre


def test_refused_names():
    with pytest.raises(
        ValueError, match=r"stain is 'HE', which the lung .* H&E, CD31, p"
    ):
        lung_lesion("HE")
    with pytest.raises(
        ValueError, match=r"annotator is 'JB', .* CD31 section .* one of: PS\."
    ):
        lung_lesion("CD31", annotator="JB")
    with pytest.raises(ValueError, match=r"section is '1', which the olfactory bulb"):
        olfactory_bulb("1")


def test_all_landmark_files_of_the_registry_are_read(monkeypatch):
    """Every annotation and image of these sets is one that the readers ask for."""
    asked = set()

    def note(remote):
        asked.add(remote.key)
        raise ConnectionError

    monkeypatch.setattr("stlearnkit.landmark_sets.fetch", note)
    for stain, annotators in LUNG_STAINS.items():
        for annotator in annotators:
            with pytest.raises(ConnectionError):
                lung_lesion(stain, annotator=annotator)
    marks = {key for key in registry() if key.startswith("cima/annotations/")}
    assert asked == marks


@pytest.mark.real_data
@pytest.mark.parametrize("stain", LUNG_STAINS)
def test_lung_sections(stain):
    section = lung_lesion(stain)
    assert section.slide.mpp is None
    assert section.frame == f"lung {stain}/px"
    assert section.landmarks_px.shape == (80, 2)
    size = (section.slide.width, section.slide.height)
    assert (section.landmarks_px > 0).all()
    assert (section.landmarks_px < size).all()
    assert section.diagonal_px == pytest.approx(np.hypot(892, 660), rel=0.005)


@pytest.mark.real_data
@pytest.mark.parametrize(("stain", "apart_px"), [("H&E", 7.3), ("proSPC", 2.5)])
def test_annotators_nearly_agree(stain, apart_px):
    one, other = (lung_lesion(stain, annotator=name) for name in ("PS", "JB"))
    apart = tre(one.landmarks_px, other.landmarks_px)
    assert np.median(apart) == pytest.approx(apart_px, abs=0.05)


@pytest.mark.real_data
def test_lung_landmarks_correspond():
    """An affine map explains them to a median of 0.9 % of the diagonal."""
    for stain, other in permutations(LUNG_STAINS, 2):
        moving, fixed = lung_lesion(stain), lung_lesion(other)
        left = affine_floor(moving.landmarks_px, fixed.landmarks_px)
        assert np.median(left) / fixed.diagonal_px < 0.009


@pytest.mark.real_data
@pytest.mark.parametrize("name", BULB_SECTIONS)
def test_bulb_sections(name):
    section = olfactory_bulb(name)
    assert section.slide.mpp == pytest.approx(1 / 0.3636, rel=0.002)
    assert section.frame == f"bulb {name}/px"
    assert section.landmarks_px.shape == (14, 2)
    # Landmarks lie on tissue: darker than the glass.
    image = section.slide.crop(
        left=0, top=0, width=section.slide.width, height=section.slide.height
    )
    x, y = section.landmarks_px.astype(int).T
    around = [
        image[j - 30 : j + 31, i - 30 : i + 31].mean()
        for i, j in zip(x, y, strict=True)
    ]
    assert np.median(around) < np.quantile(image.mean(axis=2), 0.75)


@pytest.mark.real_data
def test_bulb_landmarks_correspond():
    for name, other in combinations(BULB_SECTIONS, 2):
        moving, fixed = olfactory_bulb(name), olfactory_bulb(other)
        left = affine_floor(moving.landmarks_px, fixed.landmarks_px)
        assert np.median(left) / fixed.diagonal_px < 0.018
        before = tre(moving.landmarks_px, fixed.landmarks_px)
        assert np.median(left) < np.median(before) / 4


@pytest.mark.real_data
def test_tutorial_landmarks_are_those_of_the_lung():
    names = [one.name for one in tutorial_landmarks()]
    assert names == ["lung H&E", "lung CD31", "lung proSPC"]


def test_without_the_lung_landmarks_are_where_the_truth_puts_them(monkeypatch, caplog):
    def missing(stain):
        raise ConnectionError("no network")

    monkeypatch.setattr(landmark_sets, "lung_lesion", missing)
    marked = tutorial_landmarks()
    assert "SYNTHETIC TISSUE, NOT REAL DATA" in caplog.text
    first, second, _ = marked
    assert len(first.landmarks_px) > 20
    assert first.slide.mpp is None
    for one in marked:
        size = one.slide.width, one.slide.height
        assert ((one.landmarks_px >= 0) & (one.landmarks_px < size)).all()
    floor = affine_floor(second.landmarks_px, first.landmarks_px)
    apart = tre(second.landmarks_px, first.landmarks_px)
    assert np.median(floor) < 0.2 * np.median(apart)
