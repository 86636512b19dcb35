"""Registration: recovery of known maps, laws, an oracle, and every refusal."""

import dataclasses

import numpy as np
import pytest
import SimpleITK

from stlearnkit import datasets
from stlearnkit.conventions import FrameError, RegistrationError, SectionError
from stlearnkit.geometry import Affine2D
from stlearnkit.registration import (
    WorkingImage,
    affine,
    align,
    align_stack,
    coarse,
    quality,
    rigid,
)
from stlearnkit.registration._align import settled
from stlearnkit.registration._gauss_newton import refine, strain
from stlearnkit.registration._levels import REACH_UM, Level, pull
from stlearnkit.registration._quality import objections
from stlearnkit.registration._sweep import apart_um
from stlearnkit.sections import Section
from stlearnkit.slides import Slide

UM = 16.0
SIDE = 260  # px
CENTRE = np.array([SIDE, SIDE]) * UM / 2


def drawn(
    to_block: np.ndarray | None = None,
    *,
    seed: int = 0,
    layer: int = 0,
    cut: float | None = None,
    strength: float = 1.0,
) -> np.ndarray:
    """Draw a section of a made-up block: an irregular blob full of waves.

    A pixel shows what lies where `to_block` takes its place in µm. Two layers share
    most of their waves. What lies beyond `cut` µm from the centre is missing.
    """
    matrix = np.eye(3) if to_block is None else to_block
    rows, columns = np.mgrid[:SIDE, :SIDE]
    places = np.stack([columns + 0.5, rows + 0.5], -1).reshape(-1, 2) * UM
    x, y = (places @ matrix[:2, :2].T + matrix[:2, 2] - CENTRE).T
    random = np.random.default_rng(seed)
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    rim = np.full(x.shape, 1150.0)
    for k in range(1, 6):
        rim += 220 / k * np.sin(k * angle + random.uniform(0, 2 * np.pi))
    density = np.full(x.shape, 0.35)
    for source, share in ((seed, 0.05), (1000 + 10 * seed + layer, 0.02)):
        waves = np.random.default_rng(source)
        for _ in range(25):
            length, direction = waves.uniform(150, 700), waves.uniform(0, 2 * np.pi)
            along = (x * np.cos(direction) + y * np.sin(direction)) / length
            density += share * np.sin(2 * np.pi * (along + waves.uniform()))
    inside = radius < rim
    if cut is not None:
        inside &= x < cut
    grey = np.where(inside, strength * np.maximum(density, 0.05), 0.02)
    grain = np.random.default_rng(layer).normal(0, 0.002, grey.shape)
    image = 255 * 10.0 ** -np.maximum(grey + grain, 0)
    return np.repeat(image.round().astype(np.uint8).reshape(SIDE, SIDE, 1), 3, axis=2)


def picture(name: str = "M", to_block: np.ndarray | None = None, **drawing):
    slide = Slide.from_array(drawn(to_block, **drawing), UM)
    return WorkingImage.of_slide(slide, name)


def section(name: str, to_block: np.ndarray | None = None, **drawing) -> Section:
    return Section.build(
        np.ones((2, 1)),
        ["GENE1"],
        ["1x1", "2x1"],
        np.array([[120.0, 120.0], [140.0, 120.0]]),
        name=name,
        patient="P",
        slide=Slide.from_array(drawn(to_block, **drawing), UM),
    )


def moved(
    degrees: float, shift=(0.0, 0.0), *, mirrored=False, stretch=(0.0, 0.0, 0.0)
) -> np.ndarray:
    """Return a matrix that turns about the centre, stretches, and shifts."""
    turn = Affine2D.rigid(degrees, source="a", target="b").matrix[:2, :2]
    growth, wide, skew = stretch
    strained = np.array([[1 + growth + wide, skew], [skew, 1 + growth - wide]])
    linear = strained @ turn
    if mirrored:
        linear = linear @ np.diag([-1, 1])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = CENTRE - linear @ CENTRE + shift
    return matrix


def error_um(found: Affine2D, truth: np.ndarray, moving: WorkingImage) -> float:
    return apart_um(moving.level(4), found.matrix, truth)


@pytest.fixture(scope="module")
def fixed() -> WorkingImage:
    return picture("F")


# What is looked at


def test_working_image_of_a_square_by_hand():
    image = np.full((200, 300, 3), 240, np.uint8)
    image[50:150, 100:220] = (150, 80, 160)
    small = WorkingImage.of_slide(Slide.from_array(image, mpp=UM), "C2")
    rows, columns = np.nonzero(small.mask)
    x = (columns + 0.5) * small.um_per_px + small.corner_um[0]
    y = (rows + 0.5) * small.um_per_px + small.corner_um[1]
    assert small.frame == "C2/um"
    assert small.scale_is_known
    np.testing.assert_allclose([x.min(), x.max()], [1600, 3520], atol=4 * UM)
    np.testing.assert_allclose([y.min(), y.max()], [800, 2400], atol=4 * UM)
    np.testing.assert_allclose(small.extent_um, [4800, 3200])


def test_places_do_not_depend_on_the_resolution_of_the_slide():
    coarse_slide = drawn(moved(20, (150, 0)))
    fine_slide = np.kron(coarse_slide, np.ones((4, 4, 1), np.uint8))
    one = WorkingImage.of_slide(Slide.from_array(coarse_slide, UM), "A")
    other = WorkingImage.of_slide(Slide.from_array(fine_slide, UM / 4), "A")
    np.testing.assert_allclose(other.corner_um, one.corner_um, atol=UM)
    np.testing.assert_allclose(
        other.level(4).centre_um, one.level(4).centre_um, atol=2.0
    )


def test_unknown_scale_gives_pixels_and_tissue_of_usual_size():
    slide = Slide.from_array(drawn())
    found = WorkingImage.of_slide(slide, "A")
    assert found.frame == "A/px"
    assert not found.scale_is_known
    side_um = np.sqrt(found.mask.sum()) * found.um_per_px
    assert side_um == pytest.approx(4000, rel=0.05)
    shared = WorkingImage.of_slide(slide, "B", usual_mpp=20.0)
    assert shared.um_per_unit == 20.0


def test_fiducials_dirt_and_holes_are_not_outline():
    clean = drawn()
    dirty = clean.copy()
    dirty[:6, ::12] = 60  # fiducials along the border
    dirty[240:244, 30:34] = 60  # dust
    dirty[120:130, 120:130] = clean[0, 0]  # a vessel
    before = WorkingImage.of_slide(Slide.from_array(clean, UM), "A")
    after = WorkingImage.of_slide(Slide.from_array(dirty, UM), "A")
    assert after.mask.sum() == pytest.approx(before.mask.sum(), rel=0.01)
    np.testing.assert_allclose(
        after.level(4).centre_um, before.level(4).centre_um, atol=10.0
    )


def test_a_frame_of_fiducials_encloses_glass_wherever_it_lies():
    clean = np.pad(drawn(), ((50, 50), (50, 50), (0, 0)), mode="edge")
    framed = clean.copy()
    for near, far in ((40, 44), (316, 320)):
        framed[near:far, 40:320] = 60
        framed[40:320, near:far] = 60
    before = WorkingImage.of_slide(Slide.from_array(clean, UM), "A")
    after = WorkingImage.of_slide(Slide.from_array(framed, UM), "A")
    assert after.mask.sum() == pytest.approx(before.mask.sum(), rel=0.01)


def test_glass_is_not_split_from_what_was_filled_in_around_it():
    clean = drawn()
    lined = clean.astype(int)
    lined[::6] -= 14  # the printed grid of an array, on glass and on tissue
    lined = lined.clip(0, 255).astype(np.uint8)
    glass = tuple(int(colour) for colour in np.percentile(lined, 90, axis=(0, 1)))
    wide = np.empty((800, 800, 3), np.uint8)
    wide[:] = glass
    wide[270:530, 270:530] = lined
    before = WorkingImage.of_slide(Slide.from_array(clean, UM), "A")
    after = WorkingImage.of_slide(Slide.from_array(wide, UM), "A")
    assert after.mask.sum() == pytest.approx(before.mask.sum(), rel=0.03)


@pytest.mark.parametrize("grey", [0, 128, 240, 255])
def test_blank_images_show_no_tissue(grey):
    blank = np.full((100, 120, 3), grey, np.uint8)
    with pytest.raises(RegistrationError, match="no tissue found on 'A': nowhere"):
        WorkingImage.of_slide(Slide.from_array(blank, UM), "A")


def test_glass_with_a_tint_that_fades_shows_no_tissue():
    fading = np.linspace(180, 250, 200).astype(np.uint8)
    tinted = np.repeat(np.tile(fading, (200, 1))[..., None], 3, axis=2)
    with pytest.raises(RegistrationError, match="no tissue found"):
        WorkingImage.of_slide(Slide.from_array(tinted, UM), "A")


def test_sections_without_slide_or_scale_are_refused():
    whole = section("A")
    without = dataclasses.replace(whole, slide=None)
    with pytest.raises(SectionError, match="has no slide to align it by"):
        WorkingImage.of_section(without)
    unscaled = dataclasses.replace(whole, slide=Slide.from_array(drawn()))
    unscaled.adata.uns["spatial"]["A"]["metadata"] = {}
    with pytest.raises(SectionError, match="has no µm scale"):
        align(whole, unscaled)


# Levels


def test_distance_to_the_outline_by_hand():
    tissue = np.zeros((40, 60), np.float32)
    tissue[10:30, 20:60] = 1  # goes on beyond the right border
    level = Level(tissue, tissue, 16.0, np.zeros(2))
    assert level.inside_um[20, 20] == 8.0
    assert level.inside_um[20, 19] == -8.0
    assert level.inside_um[20, 59] == 10 * 16 - 8.0  # to the edge above, not the border
    assert level.inside_um[0, 0] == -REACH_UM


@pytest.mark.parametrize(("gain", "bias"), [(0.4, 0.0), (1.0, 0.3), (2.0, 0.1)])
def test_texture_does_not_depend_on_the_strength_of_the_stain(fixed, gain, bias):
    level = fixed.level(2)
    stained = dataclasses.replace(level, density=gain * level.density + bias)
    np.testing.assert_allclose(stained.texture, level.texture, atol=1e-2)


def test_pulling_moves_what_is_at_a_place_to_where_the_map_says():
    blank = np.zeros((30, 40), np.float32)
    dot = blank.copy()
    dot[10, 25] = 1
    source = Level(blank, blank, 16.0, np.array([100.0, 0.0]))
    target = Level(blank, blank, 16.0, np.zeros(2))
    shift = np.eye(3)
    shift[:2, 2] = (-100 - 5 * 16, 3 * 16)  # from column 25 to 20, from row 10 to 13
    assert np.argwhere(pull(dot, source, target, shift) > 0.99).tolist() == [[13, 20]]


# Gauss and Newton


@pytest.mark.parametrize("degrees", [0, 30, 170])
@pytest.mark.parametrize("mirrored", [False, True])
def test_strain_is_what_is_left_without_the_turn(degrees, mirrored):
    turn = moved(degrees, mirrored=mirrored)
    np.testing.assert_allclose(strain(turn), 0, atol=1e-12)
    stretch = np.diag([np.exp(0.3), np.exp(-0.1), 1])
    np.testing.assert_allclose(strain(stretch @ turn), [0.1, 0.2, 0], atol=1e-12)


def test_a_rigid_step_keeps_lengths_and_an_affine_one_finds_the_stretch(fixed):
    truth = moved(3, (40, -30), stretch=(0.03, 0.02, -0.01))
    level = picture(to_block=truth).level(2)
    still = np.eye(3)
    stiff = refine(fixed.level(2), level, still)
    np.testing.assert_allclose(strain(stiff), 0, atol=1e-9)
    free = refine(fixed.level(2), level, still, strain_sd=0.03)
    np.testing.assert_allclose(strain(free), strain(truth), atol=5e-3)


# Recovery


@pytest.mark.parametrize(
    ("degrees", "mirrored"), [(0, False), (67, False), (184, True), (301, True)]
)
def test_every_turn_and_both_sides_are_found(fixed, degrees, mirrored):
    truth = moved(degrees, (120, -90), mirrored=mirrored)
    moving = picture(to_block=truth, layer=1)
    found = coarse(fixed, moving)
    assert error_um(found.best.transform, truth, moving) < 50
    assert found.margin > 2
    fine = rigid(fixed, moving, found.best.transform)
    assert error_um(fine, truth, moving) < 10
    assert (fine.source, fine.target) == ("M/um", "F/um")
    np.testing.assert_allclose(abs(fine.area_scale), 1, atol=1e-6)


def test_affine_finds_a_stretch_and_strain_sd_holds_it_back(fixed):
    truth = moved(10, (50, 20), stretch=(0.02, -0.03, 0.01))
    moving = picture(to_block=truth, layer=1)
    start = moving.transform(moved(10, (50, 20)), fixed)
    free = affine(fixed, moving, start)
    stiff = affine(fixed, moving, start, strain_sd=1e-4)
    assert error_um(free, truth, moving) < 10
    assert error_um(stiff, truth, moving) > 20
    np.testing.assert_allclose(strain(stiff.matrix), 0, atol=2e-3)


def test_a_missing_piece_is_not_filled_by_stretching(fixed):
    truth = moved(25, (60, 60))
    moving = picture(to_block=truth, layer=1, cut=500.0)
    found = align(fixed, moving)
    assert error_um(found.transform, truth, moving) < 25
    assert found.quality.scale == pytest.approx(1, abs=0.02)
    assert found.quality.overlap > 0.95 > found.quality.dice


def test_a_cut_outline_does_not_pay_for_stretch(fixed):
    moving = picture(to_block=moved(5, (30, -20)), layer=1, cut=500.0)
    start = moving.transform(moved(5, (30, -20)), fixed)
    asked = np.abs(strain(affine(fixed, moving, start).matrix)).max()
    assert asked > 3e-3
    assert np.abs(strain(settled(fixed, moving, start).matrix)).max() < asked / 10


def test_texture_pays_for_a_stretch_that_is_there(fixed):
    truth = moved(5, (30, -20), stretch=(0.02, -0.03, 0.01))
    moving = picture(to_block=truth, layer=1)
    start = moving.transform(moved(5, (30, -20)), fixed)
    found = strain(settled(fixed, moving, start).matrix)
    np.testing.assert_allclose(found, strain(truth), atol=5e-3)


def test_a_pale_stain_changes_nothing(fixed):
    truth = moved(140, (0, 100))
    moving = picture(to_block=truth, layer=1, strength=0.4)
    assert error_um(align(fixed, moving).transform, truth, moving) < 15


def test_unknown_scales_join_frames_in_pixels():
    slide = Slide.from_array(drawn())
    truth = moved(30)
    other = Slide.from_array(drawn(truth, layer=1))
    ours = WorkingImage.of_slide(slide, "A")
    theirs = WorkingImage.of_slide(other, "B", usual_mpp=ours.um_per_unit)
    found = align(ours, theirs).transform
    assert (found.source, found.target) == ("B/px", "A/px")
    corner = np.array([[SIDE / 2, SIDE / 2]])  # the centre stays, in pixels
    np.testing.assert_allclose(found(corner), corner, atol=1.0)


def test_affine_agrees_with_simpleitk(fixed):
    """The oracle maximises correlation of the same texture, over the same tissue."""
    truth = moved(4, (30, -20), stretch=(0.01, 0.015, -0.01))
    moving = picture(to_block=truth, layer=1)
    start = moving.transform(moved(3, (20, -10)), fixed)
    ours = affine(fixed, moving, start)

    def itk(level, values):
        image = SimpleITK.GetImageFromArray(values)
        image.SetSpacing([level.um_per_px] * 2)
        image.SetOrigin([float(at) for at in level.corner_um + level.um_per_px / 2])
        return image

    back = SimpleITK.AffineTransform(2)  # ITK maps fixed to moving
    inverse = start.inverse().matrix
    back.SetMatrix(inverse[:2, :2].ravel())
    back.SetTranslation(inverse[:2, 2])
    method = SimpleITK.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    level, other = fixed.level(2), moving.level(2)
    method.SetMetricFixedMask(itk(level, (level.tissue > 0.5).astype(np.uint8)))
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetInitialTransform(back, inPlace=True)
    method.Execute(itk(level, level.texture), itk(other, other.texture))
    theirs = np.eye(3)
    theirs[:2, :2] = np.reshape(back.GetMatrix(), (2, 2))
    theirs[:2, 2] = back.GetTranslation()
    assert error_um(ours, np.linalg.inv(theirs), moving) < 10
    assert error_um(ours, truth, moving) < 10


# Quality and refusals


def test_a_section_lies_on_itself(fixed):
    still = Affine2D.identity("F/um", "F/um")
    found = quality(fixed, fixed, still)
    assert found.dice == pytest.approx(1)
    assert found.overlap == pytest.approx(1)
    assert found.ncc_before == pytest.approx(1)
    assert found.ncc_after == pytest.approx(1)
    assert (found.scale, found.shear, found.mirrored) == (1, 0, False)
    assert found.inverse_um < 1
    assert found.cues_um < 1
    assert found.margin > 2
    assert objections(found, scale_is_known=True) == []


def test_quality_knows_a_wrong_pose_from_the_right_one(fixed):
    moving = picture(to_block=moved(0), layer=1)
    wrong = moving.transform(moved(180), fixed)
    found = quality(fixed, moving, wrong)
    assert found.margin < -20
    assert found.ncc_after < 0.3
    assert found.scale == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 1.3}, "scales lengths by 1.30, expected 0.8 to 1.25"),
        ({"dice": 0.55}, "Dice of the tissues is 0.55, expected 0.6 or more"),
        ({"evidence": 3.0}, "evidence is 3.0 nats, expected 9 or more"),
        ({"margin": 0.5}, "margin is 0.5 nats, expected 4.6 or more"),
    ],
)
def test_each_objection(fixed, change, message):
    still = Affine2D.identity("F/um", "F/um")
    bad = dataclasses.replace(quality(fixed, fixed, still), **change)
    (found,) = objections(bad, scale_is_known=True)
    assert message in found
    unknown = objections(bad, scale_is_known=False)
    assert len(unknown) == (0 if "scale" in change else 1)


def test_sections_of_two_blocks_are_refused(fixed):
    with pytest.raises(RegistrationError, match=r"'M/um' cannot be aligned to 'F/um'"):
        align(fixed, picture(seed=5))


def test_noise_is_refused(fixed):
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (200, 200, 3)).astype(np.uint8)
    moving = WorkingImage.of_slide(Slide.from_array(noise, UM), "M")
    with pytest.raises(RegistrationError, match="cannot be aligned"):
        align(fixed, moving)


def test_maps_between_other_frames_are_refused(fixed):
    moving = picture()
    backwards = Affine2D.identity("F/um", "M/um")
    message = "goes from 'F/um' to 'M/um', expected 'M/um' to 'F/um'"
    for step in (rigid, affine, quality):
        with pytest.raises(FrameError, match=message):
            step(fixed, moving, backwards)


@pytest.mark.parametrize("strain_sd", [0.0, -1.0, np.nan])
def test_affine_needs_room_for_strain(fixed, strain_sd):
    still = Affine2D.identity("F/um", "F/um")
    with pytest.raises(ValueError, match="expected a number above 0, such as"):
        affine(fixed, fixed, still, strain_sd=strain_sd)


# Stacks


def test_a_stack_comes_together_in_the_middle():
    truths = [moved(-8, (60, 0)), moved(0), moved(15, (-40, 80), mirrored=True)]
    sections = [
        section(f"S{n}", truth, layer=n) for n, truth in enumerate(truths, start=1)
    ]
    found = align_stack(sections, [0, 48, 96])
    assert found.stack.reference == "S2/um"
    assert set(found.pairs) == {(0, 1), (1, 2), (0, 2)}
    assert len(found.loop_um) == 1
    assert found.loop_um[0] < 15
    assert found.stack.z_um == (0.0, 48.0, 96.0)
    for one, to, truth in zip(sections, found.stack.to_reference, truths, strict=True):
        assert error_um(to, truth, WorkingImage.of_section(one)) < 15
    np.testing.assert_array_equal(found.stack.to_reference[1].matrix, np.eye(3))


def test_another_reference_may_be_named():
    sections = [section("S1"), section("S2", moved(20), layer=1)]
    found = align_stack(sections, [0, 48], reference="S1")
    assert found.stack.reference == "S1/um"
    assert found.loop_um == ()


def test_neighbours_that_are_known_are_not_aligned_again(monkeypatch):
    sections = [section("S1"), section("S2", moved(20), layer=1)]
    found = align_stack(sections, [0, 48])
    known = align(*sections).transform
    monkeypatch.setattr("stlearnkit.registration._stack.align", None)
    again = align_stack(sections, [0, 48], neighbours=[known])
    for one, other in zip(
        found.stack.to_reference, again.stack.to_reference, strict=True
    ):
        np.testing.assert_array_equal(one.matrix, other.matrix)


def test_neighbours_of_others_are_refused():
    sections = [section("S1"), section("S2")]
    identity = Affine2D.identity("S1/um", "S2/um")
    for wrong in ([], [identity]):
        with pytest.raises(ValueError, match=r"expected \[\('S2/um', 'S1/um'\)\]: for"):
            align_stack(sections, [0, 48], neighbours=wrong)


def test_stacks_that_are_none_are_refused():
    one, two = section("S1"), section("S2")
    with pytest.raises(ValueError, match=r"1 section\(s\) in sections, expected two"):
        align_stack([one], [0.0])
    with pytest.raises(ValueError, match="expected each once"):
        align_stack([one, one], [0.0, 48.0])
    with pytest.raises(ValueError, match="reference is 'C9', expected 'middle' or one"):
        align_stack([one, two], [0.0, 48.0], reference="C9")
    with pytest.raises(ValueError, match="z_um has 1 heights for 2 sections"):
        align_stack([one, two], [0.0])


# Real sections


@pytest.mark.real_data
def test_neighbours_of_her2st_lie_on_each_other():
    found = align(datasets.her2st("C3"), datasets.her2st("C4"))
    assert found.quality.dice > 0.96
    assert found.quality.ncc_after > 0.3
    assert found.quality.scale == pytest.approx(1, abs=0.05)


@pytest.mark.real_data
def test_the_stack_of_patient_c_closes_within_a_cell():
    sections = [datasets.her2st(name) for name in ("C2", "C3", "C4", "C5", "C6")]
    found = align_stack(sections, [0.0, 48.0, 96.0, 144.0, 192.0])
    assert max(found.loop_um) < 20


@pytest.mark.real_data
def test_sections_of_two_patients_are_refused():
    with pytest.raises(RegistrationError, match="Are they sections of one block"):
        align(datasets.her2st("C4"), datasets.her2st("B4"))
