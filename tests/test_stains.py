"""Stains: against the law of Beer and Lambert, skimage, known dyes and real tissue."""

import os
from pathlib import Path

import numpy as np
import pytest
from skimage.color import separate_stains

from stlearnkit import stains
from stlearnkit.slides import Slide

RNG = np.random.default_rng(0)
DYES = stains._unit(np.array([[0.75, 0.58, 0.32], [0.40, 0.80, 0.44]]))


def painted(shape=(80, 90), *, vectors=DYES, scale=(1.4, 0.7), seed=0):
    """Paint an image with both dyes, most pixels with little of one of them."""
    amounts = np.random.default_rng(seed).uniform(0, 1, (*shape, 2)) ** 2 * scale
    return stains.compose(amounts, vectors)


def disk(side=200, *, colour=(150, 90, 160), glass=(240, 236, 238), radius=0.3):
    """Paint a disk of tissue in the middle of a slide, and say where it is."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    inside = np.hypot(x, y) < radius
    return np.where(inside[..., None], colour, glass).astype(np.uint8), inside


# --- optical density and dyes --------------------------------------------------------


def test_optical_density_by_hand():
    image = np.array([[[255, 26, 1], [0, 128, 255]]], np.uint8)
    expected = [[[0, 0.99157, 2.40654], [2.40654, 0.29933, 0]]]
    np.testing.assert_allclose(stains.optical_density(image), expected, atol=1e-5)


def test_densities_of_two_layers_add():
    one, other = RNG.uniform(0, 0.5, (2, 6, 7, 2))
    both = stains.compose(one + other).astype(float) / 255
    product = stains.compose(one) / 255 * (stains.compose(other) / 255)
    np.testing.assert_allclose(both, product, atol=0.01)


def test_ruifrok_vectors_have_length_one_and_are_read_only():
    np.testing.assert_allclose(np.linalg.norm(stains.RUIFROK, axis=1), 1)
    with pytest.raises(ValueError, match="read-only"):
        stains.RUIFROK[0, 0] = 0


def test_separate_agrees_with_skimage():
    image = painted(vectors=stains.RUIFROK, scale=(0.8, 0.8))
    third = np.cross(*stains.RUIFROK)
    matrix = np.linalg.inv(np.vstack([stains.RUIFROK, third / np.linalg.norm(third)]))
    # skimage divides by log(1e-6), that is by 6 in our units.
    expected = 6 * separate_stains(image, matrix)[..., :2]
    np.testing.assert_allclose(
        stains.separate(image), np.maximum(expected, 0), atol=1e-4
    )


def test_separate_undoes_compose():
    amounts = RNG.uniform(0, 0.6, (20, 30, 2))
    image = stains.compose(amounts, DYES)
    np.testing.assert_allclose(stains.separate(image, DYES), amounts, atol=0.04)


def test_amounts_are_never_negative_and_shapes_are_kept():
    patches = RNG.integers(0, 256, (3, 5, 6, 3), dtype=np.uint8)
    amounts = stains.separate(patches)
    assert amounts.shape == (3, 5, 6, 2)
    assert amounts.min() >= 0


def test_compose_never_exceeds_full_light():
    vectors = stains._unit(np.array([[0.9, 0.4, -0.2], [0.1, 0.9, 0.3]]))
    assert stains.compose(np.array([1.0, 0.0]), vectors)[2] == 255


def test_vectors_that_coincide_cannot_be_separated():
    with pytest.raises(ValueError, match="point the same way"):
        stains.separate(painted(), np.vstack([DYES[0], DYES[0]]))


# --- estimation and normalisation ----------------------------------------------------


def degrees(one, other):
    return np.rad2deg(np.arccos(np.clip((one * other).sum(axis=1), -1, 1)))


@pytest.mark.parametrize("vectors", [DYES, DYES[::-1], stains.RUIFROK])
def test_known_dyes_are_found_haematoxylin_first(vectors):
    found = stains.estimate(painted((200, 200), vectors=vectors), min_density=0.05)
    expected = vectors[np.argsort(-vectors[:, 0])]
    assert degrees(found.vectors, expected).max() < 6
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1)


def test_strength_doubles_with_the_dye():
    amounts = RNG.uniform(0, 1, (150, 150, 2)) ** 2 * (0.7, 0.4) + 0.1
    pale = stains.estimate(stains.compose(amounts, DYES), min_density=0.0)
    dark = stains.estimate(stains.compose(2 * amounts, DYES), min_density=0.0)
    np.testing.assert_allclose(dark.strength / pale.strength, 2, rtol=0.05)


def test_a_few_odd_pixels_and_the_glass_do_not_matter():
    image = painted((200, 200))
    odd = image.copy()
    odd[0, :40] = (20, 200, 30)  # green ink on 0.1 %
    odd = np.concatenate([odd, np.full((100, 200, 3), 245, np.uint8)])
    before, after = stains.estimate(image), stains.estimate(odd)
    assert degrees(before.vectors, after.vectors).max() < 2


def test_mask_limits_what_is_looked_at():
    image = painted((100, 200))
    image[:, 100:] = RNG.integers(0, 150, (100, 100, 3))
    mask = np.zeros((100, 200), bool)
    mask[:, :100] = True
    only, masked = stains.estimate(image[:, :100]), stains.estimate(image, mask)
    np.testing.assert_array_equal(only.vectors, masked.vectors)
    assert degrees(only.vectors, stains.estimate(image).vectors).max() > 5


def test_estimate_needs_stained_pixels():
    with pytest.raises(ValueError, match=r"image has 0 stained pixels .* at least 100"):
        stains.estimate(np.full((50, 50, 3), 250, np.uint8))


def test_estimate_needs_two_colours():
    amounts = RNG.uniform(0.4, 1, (60, 60, 2)) * (1, 0)
    with pytest.raises(ValueError, match=r"one colour only: .* expected at least 5"):
        stains.estimate(stains.compose(amounts, DYES))


def test_normalise_to_itself_changes_nothing():
    image = painted()
    profile = stains.StainProfile(DYES, np.array([1.0, 0.5]))
    same = stains.normalise(image, profile, profile)
    assert np.abs(same.astype(int) - image).max() <= 2


def test_normalise_turns_one_lab_into_the_other():
    here = stains.StainProfile(DYES, np.array([1.0, 0.5]))
    there = stains.StainProfile(stains.RUIFROK, np.array([0.5, 1.0]))
    amounts = RNG.uniform(0, 0.8, (30, 40, 2))
    expected = stains.compose(amounts * (0.5, 2.0), stains.RUIFROK)
    found = stains.normalise(stains.compose(amounts, DYES), here, there)
    assert np.abs(found.astype(int) - expected).max() <= 6


def test_normalised_slide_is_estimated_as_the_target():
    source = stains.estimate(painted((200, 200)))
    target = stains.estimate(
        painted((200, 200), vectors=stains.RUIFROK, scale=(0.8, 0.9), seed=1)
    )
    image = stains.normalise(painted((200, 200)), source, target)
    found = stains.estimate(image)
    assert degrees(found.vectors, target.vectors).max() < 6
    assert degrees(source.vectors, target.vectors).max() > 15


def test_profile_is_checked():
    with pytest.raises(ValueError, match=r"vectors have lengths \[2.0, 2.0\]"):
        stains.StainProfile(2 * DYES, np.array([1.0, 1.0]))
    with pytest.raises(ValueError, match=r"strength is \[1.0, 0.0\]"):
        stains.StainProfile(DYES, np.array([1.0, 0.0]))


# --- tissue --------------------------------------------------------------------------


@pytest.mark.parametrize("side", [200, 500, 1000])
def test_disk_is_found_at_any_resolution(side):
    image, inside = disk(side)
    assert (stains.tissue_mask(image) != inside).mean() < 0.01


def test_holes_are_filled_and_crumbs_dropped():
    image, inside = disk()
    image[95:105, 95:105] = 240
    image[10:13, 10:13] = (150, 90, 160)
    mask = stains.tissue_mask(image)
    assert mask[inside].mean() > 0.99
    assert not mask[:20, :20].any()
    assert stains.tissue_mask(image, min_fraction=0.0)[11, 11]


def test_grey_frame_shadow_and_pale_eosin_are_not_tissue():
    image, inside = disk()
    image[:8] = image[:, :8] = 20  # slide edge
    image[-40:-30, ::6] = 60  # fiducials
    image[40:160, 165:] = (238, 220, 236)  # bled eosin
    mask = stains.tissue_mask(image)
    assert (mask != inside).mean() < 0.01


def test_tissue_that_touches_the_border_is_kept():
    image = np.full((200, 200, 3), 240, np.uint8)
    image[60:140, :90] = (150, 90, 160)
    mask = stains.tissue_mask(image)
    assert mask[62:138, :88].all()
    assert not mask[:55].any()


@pytest.mark.parametrize("noise", [0, 3])
def test_blank_slide_has_no_tissue(noise):
    image = np.array([230, 214, 232]) + RNG.normal(0, noise, (200, 200, 3))
    with pytest.raises(
        ValueError, match=r"no tissue found: .* expected at least 0\.02"
    ):
        stains.tissue_mask(image.clip(0, 255).astype(np.uint8))


def test_grey_image_has_no_tissue():
    image, _ = disk(colour=(90, 90, 90), glass=(240, 240, 240))
    with pytest.raises(ValueError, match="may be blank, grey or not stained"):
        stains.tissue_mask(image)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, np.nan])
def test_fraction_is_checked(fraction):
    with pytest.raises(ValueError, match=f"min_fraction is {fraction}, expected"):
        stains.tissue_mask(disk()[0], min_fraction=fraction)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["B4", "C2", "C3", "C4", "C5", "C6"])
def test_real_spots_lie_on_the_mask(name):
    root = Path(os.environ["STLEARNKIT_DATA"]) / "her2st" / "data"
    (image,) = (root / "ST-imgs" / name[0] / name).glob("*.jpg")
    (table,) = (root / "ST-spotfiles").glob(f"{name}_*.tsv*")
    slide = Slide.open(image)
    thumbnail = slide.thumbnail(1000)
    mask = stains.tissue_mask(thumbnail)
    x, y, selected = np.loadtxt(table, skiprows=1, usecols=(4, 5, 6)).T
    scale = thumbnail.shape[1] / slide.width
    on = mask[(y * scale).astype(int), (x * scale).astype(int)]
    assert on[selected == 1].mean() > 0.95
    assert 0.15 < mask.mean() < 0.28  # bled eosin would add half as much again
