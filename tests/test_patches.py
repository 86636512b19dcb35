"""Patches: against images whose patches are known by arithmetic."""

import threading

import numpy as np
import pytest
import tifffile
from PIL import Image

from stlearnkit import patches
from stlearnkit.patches import Scale, coverage, extract
from stlearnkit.slides import Slide

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (300, 400, 3), dtype=np.uint8)


def ramp(height, width, *, per_px=0.25):
    """Return an image with brightness `per_px` * x in red and * y in green.

    By the convention of pixel centres, the pixel in column 0 has x = 0.5.
    """
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([per_px * x, per_px * y, 100 + 0 * x], axis=2).round().astype("u1")


def expected_ramp(centre, side_px, output_px, *, per_px=0.25):
    """Return what a patch of that ramp must be, as floats."""
    steps = (np.arange(output_px) + 0.5) / output_px * side_px - side_px / 2
    x, y = np.meshgrid(centre[0] + steps, centre[1] + steps)
    return np.stack([per_px * x, per_px * y, 100 + 0 * x], axis=2)


def pyramid(path, image, *, n_levels=3, tile=64):
    """Write a pyramid whose levels are means over 2 x 2, 4 x 4, ... pixels."""
    kind = {"tile": (tile, tile), "photometric": "rgb", "compression": "deflate"}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(image, subifds=n_levels - 1, **kind)
        for level in range(1, n_levels):
            small = np.asarray(Image.fromarray(image).reduce(2**level))
            tiff.write(small, subfiletype=1, **kind)
    return path


# --- values --------------------------------------------------------------------------


@pytest.mark.parametrize("output_px", [1, 7, 32, 224])
@pytest.mark.parametrize("side_um", [3.0, 50.0, 150.0])
def test_constant_image_stays_constant(output_px, side_um):
    slide = Slide.from_array(np.full((800, 900, 3), (90, 150, 210), np.uint8), mpp=0.7)
    found = extract(slide, np.array([[450.3, 400.8]]), side_um, output_px=output_px)
    assert found.shape == (1, output_px, output_px, 3)
    assert (found == (90, 150, 210)).all()


def test_whole_numbers_at_scale_one_cut_pixels_out():
    slide = Slide.from_array(NOISE, mpp=0.5)
    found = extract(slide, np.array([[50.0, 40.0], [16.0, 16.0]]), 16.0, output_px=32)
    np.testing.assert_array_equal(found[0], NOISE[24:56, 34:66])
    np.testing.assert_array_equal(found[1], NOISE[:32, :32])


def test_odd_side_at_scale_one_is_centred_on_a_pixel():
    slide = Slide.from_array(NOISE, mpp=1.0)
    found = extract(slide, np.array([[50.5, 40.5]]), 5.0, output_px=5)
    np.testing.assert_array_equal(found[0], NOISE[38:43, 48:53])


def test_half_a_pixel_aside_is_the_mean_of_two():
    slide = Slide.from_array(NOISE, mpp=1.0)
    found = extract(slide, np.array([[50.5, 40.0]]), 8.0, output_px=8)[0]
    expected = (NOISE[36:44, 46:54].astype(float) + NOISE[36:44, 47:55]) / 2
    assert np.abs(found - expected).max() <= 1


def test_two_by_two_pixels_are_averaged_by_the_triangle():
    """By hand: each result sees 4 pixels across with weights 1, 3, 3, 1 of 8."""
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4] = 240
    found = extract(
        Slide.from_array(image, mpp=1.0), np.array([[4.0, 4.0]]), 4, output_px=2
    )
    assert found[0, :, :, 0].tolist() == [[30, 90], [30, 90]]


@pytest.mark.parametrize("centre", [(300.0, 250.0), (301.37, 247.81)])
@pytest.mark.parametrize("side_um", [60.0, 112.0, 224.0, 300.0])
@pytest.mark.parametrize("output_px", [16, 31, 224])
def test_ramp_is_sampled_at_the_right_places(centre, side_um, output_px):
    slide = Slide.from_array(ramp(560, 600), mpp=0.688)
    found = extract(slide, np.array([centre]), side_um, output_px=output_px)[0]
    expected = expected_ramp(centre, side_um / 0.688, output_px)
    assert np.abs(found - expected).max() <= 1.1  # both images are rounded
    assert np.abs(found.mean((0, 1)) - expected.mean((0, 1))).max() < 0.3


@pytest.mark.parametrize("output_px", [10, 24, 32])
def test_checkerboard_finer_than_the_result_turns_grey(output_px):
    board = np.indices((400, 400)).sum(0) % 2 * 200
    slide = Slide.from_array(np.stack([board] * 3, 2).astype(np.uint8), mpp=1.0)
    found = extract(slide, np.array([[200.3, 199.6]]), 100.0, output_px=output_px)
    assert np.abs(found.astype(int) - 100).max() <= 7
    picked = slide.crop(150, 150, 100, 100)[:: 100 // output_px, :: 100 // output_px]
    assert picked.std() > 90 or picked.min() == picked.max()  # what picking would do


def test_stripes_coarser_than_the_result_survive():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, np.arange(400) // 20 % 2 == 0] = 200
    found = extract(
        Slide.from_array(stripes, mpp=1.0),
        np.array([[200.0, 200.0]]),
        160.0,
        output_px=40,
    )[0, 20, :, 0]
    centres = found[2::5]
    assert found.max() == 200
    assert found.min() == 0
    assert set(centres[::2]) | set(centres[1::2]) == {0, 200}


def test_mean_of_patch_is_the_mean_of_its_pixels():
    slide = Slide.from_array(
        np.asarray(Image.fromarray(NOISE).resize((1600, 1200))), 0.5
    )
    for side_px, output_px in ((800, 50), (300, 224), (500, 100)):
        found = extract(
            slide, np.array([[801.0, 603.0]]), side_px / 2, output_px=output_px
        )
        half = side_px // 2
        pixels = slide.crop(801 - half, 603 - half, side_px, side_px)
        assert np.abs(found[0].mean((0, 1)) - pixels.mean((0, 1))).max() < 1.0


def test_agrees_with_pillow_on_the_whole_image():
    slide = Slide.from_array(NOISE, mpp=1.0)
    found = extract(slide, np.array([[200.2, 150.4]]), 90.5, output_px=64)[0]
    box = (200.2 - 45.25, 150.4 - 45.25, 200.2 + 45.25, 150.4 + 45.25)
    expected = Image.fromarray(NOISE).resize((64, 64), Image.Resampling.BILINEAR, box)
    assert np.abs(found.astype(int) - np.asarray(expected)).max() <= 1


# --- laws ----------------------------------------------------------------------------


def some_centres(n_spots=60):
    return RNG.uniform((0, 0), (400, 300), (n_spots, 2))


@pytest.mark.parametrize("side_um", [10.0, 60.0, 180.0])
def test_patch_depends_on_its_own_centre_only(side_um):
    slide, centres = Slide.from_array(NOISE, mpp=0.6), some_centres()
    together = extract(slide, centres, side_um, output_px=20)
    order = RNG.permutation(len(centres))
    np.testing.assert_array_equal(
        extract(slide, centres[order], side_um, output_px=20), together[order]
    )
    alone = [
        extract(slide, centre[None], side_um, output_px=20)[0] for centre in centres
    ]
    np.testing.assert_array_equal(np.stack(alone), together)


def test_moving_the_image_moves_the_patches():
    moved = Slide.from_array(np.pad(NOISE, ((24, 0), (48, 0), (0, 0))), mpp=1.0)
    centres = np.array([[200.25, 150.75], [180.0, 140.0]])
    np.testing.assert_array_equal(
        extract(moved, centres + np.array([48, 24]), 120.0, output_px=10),
        extract(Slide.from_array(NOISE, mpp=1.0), centres, 120.0, output_px=10),
    )


def test_size_is_physical():
    fine, coarse = ramp(400, 400), ramp(200, 200, per_px=0.5)
    one = extract(
        Slide.from_array(fine, 0.5), np.array([[200.0, 180.0]]), 60.0, output_px=30
    )
    two = extract(
        Slide.from_array(coarse, 1.0), np.array([[100.0, 90.0]]), 60.0, output_px=30
    )
    assert np.abs(one.astype(int) - two).max() <= 1


def test_no_spots_give_no_patches():
    found = extract(Slide.from_array(NOISE, 1.0), np.empty((0, 2)), 20.0, output_px=8)
    assert found.shape == (0, 8, 8, 3)


# --- the border ----------------------------------------------------------------------


def test_beyond_the_image_lies_white():
    slide = Slide.from_array(NOISE, mpp=1.0)
    found = extract(slide, np.array([[0.0, 0.0], [399.0, 299.0]]), 20.0, output_px=20)
    assert (found[0, :10] == 255).all()
    assert (found[0, :, :10] == 255).all()
    np.testing.assert_array_equal(found[0, 10:, 10:], NOISE[:10, :10])
    np.testing.assert_array_equal(found[1, :11, :11], NOISE[-11:, -11:])
    assert (found[1, 11:] == 255).all()


def test_patch_larger_than_the_image_holds_all_of_it():
    image = np.zeros((40, 60, 3), np.uint8)
    found = extract(
        Slide.from_array(image, 1.0), np.array([[30.0, 20.0]]), 80.0, output_px=80
    )
    assert (found[0] == 0).all(axis=2).sum() == 40 * 60
    assert (found[0] == 255).all(axis=2).sum() == 80 * 80 - 40 * 60


def test_coverage_by_hand_and_by_counting():
    slide = Slide.from_array(np.zeros((100, 200, 3), np.uint8), mpp=0.5)
    centres = np.array(
        [[100.0, 50.0], [0.0, 50.0], [0.0, 0.0], [195.0, 50.0], [3.0, 98.0]]
    )
    found = coverage(slide, centres, 10.0)
    np.testing.assert_allclose(found, [1, 0.5, 0.25, 0.75, 0.65 * 0.6])
    patches_ = extract(slide, centres, 10.0, output_px=20)
    np.testing.assert_allclose((patches_[..., 0] == 0).mean((1, 2)), found)


def test_coverage_is_exactly_1_inside_and_below_1_beyond():
    """Sides and centres that binary fractions cannot write, as real ones are."""
    slide = Slide.from_array(np.zeros((300, 400, 3), np.uint8), mpp=0.6883)
    centres = np.random.default_rng(1).uniform([80, 80], [320, 220], (500, 2))
    assert (coverage(slide, centres, 100.1) == 1.0).all()
    # A patch of the image's height, then a hair beyond it.
    middle = np.array([[200.0, 150.0]])
    assert coverage(slide, middle, 300 * 0.6883) == 1.0
    assert coverage(slide, middle, 300.001 * 0.6883) < 1.0


# --- pyramids ------------------------------------------------------------------------


class Counted:
    """An image that remembers how many of its pixels were asked for."""

    def __init__(self, image):
        self.image, self.shape, self.n_pixels = image, image.shape, 0

    def __getitem__(self, key):
        cut = self.image[key]
        self.n_pixels += cut.shape[0] * cut.shape[1]
        return cut


@pytest.mark.parametrize(
    ("side_um", "level"),
    [(32.0, 0), (63.0, 0), (64.0, 1), (126.0, 1), (128.0, 2), (190, 2)],
)
def test_the_coarsest_level_fine_enough_is_read(side_um, level):
    image = ramp(802, 1001)
    levels = [Counted(image)]
    levels += [Counted(np.asarray(Image.fromarray(image).reduce(f))) for f in (2, 4)]
    slide = Slide(tuple(levels), mpp=1.0)
    found = extract(slide, np.array([[400.5, 301.25]]), side_um, output_px=32)[0]
    assert [seen.n_pixels > 0 for seen in levels] == [n == level for n in range(3)]
    expected = expected_ramp((400.5, 301.25), side_um, 32)
    assert np.abs(found - expected).max() <= 1.5


def test_levels_need_not_come_in_order_of_size():
    levels = tuple(np.full((side, side, 3), side, np.uint8) for side in (200, 50, 100))
    slide = Slide(levels, mpp=1.0)
    found = extract(slide, np.array([[100.0, 100.0]]), 100.0, output_px=50)
    assert (found == 100).all()


@pytest.mark.parametrize("side_um", [20.0, 80.0, 200.0])
def test_file_agrees_with_memory(tmp_path, side_um):
    smooth = np.asarray(Image.fromarray(NOISE).resize((1201, 903)))
    on_disk = Slide.open(pyramid(tmp_path / "a.ome.tif", smooth), mpp=0.5)
    in_memory = Slide.from_array(smooth, mpp=0.5)
    centres = RNG.uniform((0, 0), (1201, 903), (30, 2))
    one = extract(on_disk, centres, side_um, output_px=48).astype(int)
    two = extract(in_memory, centres, side_um, output_px=48)
    assert np.abs(one - two).mean() < 3  # of 255; the noise has a deviation of 60
    if side_um == 20.0:  # level 0 both times
        np.testing.assert_array_equal(one, two)


def test_only_the_tiles_under_the_patches_are_decoded(tmp_path, tiff_reads):
    slide = Slide.open(
        pyramid(tmp_path / "a.tif", np.tile(NOISE, (4, 4, 1)), tile=64), 1.0
    )
    extract(slide, np.array([[96.0, 96.0]]), 16.0, output_px=16)  # imports, caches

    def n_reads(centres):
        tiff_reads.clear()
        extract(slide, np.array(centres), 16.0, output_px=16)
        return len(tiff_reads)

    in_one_tile = n_reads([[96.0, 96.0]])
    assert n_reads([[128.0, 96.0]]) == in_one_tile + 1
    assert n_reads([[128.0, 128.0]]) == in_one_tile + 3
    far_apart = n_reads([[96.0, 96.0], [1500.0, 1100.0]])
    assert far_apart == 2 * in_one_tile  # nothing between the two


def test_crowded_spots_are_read_together():
    image = Counted(np.tile(NOISE, (4, 4, 1)))
    grid = np.stack(
        np.meshgrid(np.arange(400, 800, 20.0), np.arange(400, 800, 20.0)), -1
    )
    extract(Slide((image,), mpp=1.0), grid.reshape(-1, 2), 100.0, output_px=20)
    assert image.n_pixels < 0.2 * 400 * 100**2  # a fifth of patch by patch
    image.n_pixels = 0
    extract(Slide((image,), mpp=1.0), grid.reshape(-1, 2), 4.0, output_px=4)
    assert image.n_pixels < 400 * 12**2  # small ones are not worth it


def test_damaged_tile_is_not_swallowed_by_a_thread(tmp_path):
    class Broken:
        shape = (100, 100, 3)

        def __getitem__(self, key):
            raise ValueError("a.tif is damaged")

    with pytest.raises(ValueError, match=r"a\.tif is damaged"):
        extract(Slide((Broken(),), mpp=1.0), np.array([[50.0, 50.0]]), 10.0)
    assert threading.active_count() < 20


# --- errors --------------------------------------------------------------------------

CENTRE = np.array([[50.0, 40.0]])


@pytest.mark.parametrize("function", [extract, coverage])
def test_slide_without_scale(function):
    with pytest.raises(ValueError, match=r"slide has no µm scale: Slide\(400 x 300"):
        function(Slide.from_array(NOISE), CENTRE, 20.0)


@pytest.mark.parametrize("side_um", [0.0, -5.0, np.nan, np.inf])
def test_side_must_be_a_length(side_um):
    with pytest.raises(ValueError, match=f"side_um is {side_um}, expected micrometres"):
        extract(Slide.from_array(NOISE, 1.0), CENTRE, side_um)
    with pytest.raises(ValueError, match=f"side_um is {side_um}, expected micrometres"):
        Scale("spot", side_um)


def test_side_given_in_mm():
    with pytest.raises(ValueError, match=r"side_um is 0\.1, which is 0\.2 pixels"):
        extract(Slide.from_array(NOISE, 0.5), CENTRE, 0.1)


@pytest.mark.parametrize("output_px", [0, -3])
def test_output_must_have_pixels(output_px):
    with pytest.raises(ValueError, match=f"output_px is {output_px}, expected 1 or"):
        extract(Slide.from_array(NOISE, 1.0), CENTRE, 20.0, output_px=output_px)


def test_patches_must_fit_into_memory():
    centres = np.full((5000, 2), 50.0)
    with pytest.raises(
        ValueError, match=r"5000 patches of output_px 4096 take 234\.4 GiB"
    ):
        extract(Slide.from_array(NOISE, 1.0), centres, 20.0, output_px=4096)


def test_source_must_fit_into_memory():
    with pytest.raises(ValueError, match="for which 200000 pixels a side must be read"):
        extract(Slide.from_array(NOISE, 0.5), CENTRE, 100_000.0)


def test_centres_must_be_finite():
    centres = np.array([[50.0, 40.0], [np.nan, 40.0], [50.0, np.inf]])
    with pytest.raises(ValueError, match="2 of 3 centres are not finite, first: row 1"):
        extract(Slide.from_array(NOISE, 1.0), centres, 20.0)


@pytest.mark.parametrize("centre", [(-0.1, 40), (40, -0.1), (400, 40), (40, 300)])
def test_centres_must_lie_on_the_image(centre):
    centres = np.array([[50.0, 40.0], centre])
    with pytest.raises(
        ValueError, match=r"1 of 2 centres lie outside the image .*: row 1"
    ):
        extract(Slide.from_array(NOISE, 1.0), centres, 20.0)


@pytest.mark.parametrize("name", ["", "224um", "a b", "a/b"])
def test_name_of_scale_must_fit_a_key(name):
    with pytest.raises(ValueError, match=f"name of the scale is '{name}', expected"):
        Scale(name, 112.0)


def test_patch_of_a_block_limit_is_capped(monkeypatch):
    monkeypatch.setattr(patches, "_MAX_BLOCK_PX", 50)
    image = Counted(NOISE)
    centres = some_centres(30)
    found = extract(Slide((image,), mpp=1.0), centres, 40.0, output_px=16)
    np.testing.assert_array_equal(
        found, extract(Slide.from_array(NOISE, 1.0), centres, 40.0, output_px=16)
    )
