"""Slides: what is read, at what scale, and what is said of files that are not right."""

import os
import pickle
import threading

import numpy as np
import pytest
import tifffile
from PIL import Image

from stlearnkit import _pixels
from stlearnkit.slides import Slide

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (90, 120, 3), dtype=np.uint8)


def write_pyramid(path, image, *, ome=True, **options):
    """Write three levels of 32 px tiles, each every second pixel of the one before."""
    kind = {"tile": (32, 32), "photometric": "rgb", "compression": "deflate"} | options
    with tifffile.TiffWriter(path, ome=ome) as tiff:
        metadata = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        tiff.write(image, subifds=2, metadata=metadata if ome else None, **kind)
        for step in (2, 4):
            tiff.write(image[::step, ::step], subfiletype=1, metadata=None, **kind)
    return path


def cut_in_half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


# --- opening -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF"])
def test_lossless_file_gives_back_its_pixels(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(IMAGE).save(path)
    slide = Slide.open(path, mpp=0.5)
    assert (slide.width, slide.height, slide.mpp, slide.path) == (120, 90, 0.5, path)
    np.testing.assert_array_equal(slide.crop(0, 0, 120, 90), IMAGE)
    np.testing.assert_array_equal(slide.crop(7, 3, 20, 10), IMAGE[3:13, 7:27])


def test_jpeg_is_decoded_as_pillow_decodes_it_across_bands(tmp_path, monkeypatch):
    monkeypatch.setattr(_pixels, "_BAND_PX", 32)
    path = tmp_path / "a.jpg"
    Image.fromarray(IMAGE).save(path)
    with Image.open(path) as image:
        expected = np.asarray(image)
    np.testing.assert_array_equal(Slide.open(path).crop(0, 0, 120, 90), expected)


@pytest.mark.parametrize("ome", [True, False])
def test_every_level_of_a_pyramid_is_read(tmp_path, ome):
    slide = Slide.open(write_pyramid(tmp_path / "a.tif", IMAGE, ome=ome))
    assert slide.downsamples == (1.0, 2.0, 4.0)
    for level, step in enumerate((1, 2, 4)):
        np.testing.assert_array_equal(
            slide.crop(5, 3, 20, 10, level=level),
            IMAGE[::step, ::step][3:13, 5:25],
        )


@pytest.mark.parametrize(
    "options",
    [{"rowsperstrip": 16}, {"tile": (32, 48), "compression": "jpeg"}],
    ids=["strips", "jpeg tiles"],
)
def test_tiff_kinds_agree_with_tifffile(tmp_path, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IMAGE, photometric="rgb", **options)
    whole = tifffile.imread(path)
    np.testing.assert_array_equal(
        Slide.open(path).crop(20, 10, 60, 50), whole[10:60, 20:80]
    )


def test_only_the_tiles_under_a_crop_are_read(tmp_path, tiff_reads):
    slide = Slide.open(write_pyramid(tmp_path / "a.tif", IMAGE))
    tiff_reads.clear()
    slide.crop(0, 0, 10, 10)
    opening_and_one_tile = len(tiff_reads)
    tiff_reads.clear()
    slide.crop(28, 28, 10, 10)
    assert len(tiff_reads) == opening_and_one_tile + 3  # the corner of four tiles


def test_levels_of_rounded_size_keep_their_whole_factor():
    slide = Slide(
        tuple(np.zeros((9, width, 3), np.uint8) for width in (1001, 501, 250, 423))
    )
    assert slide.downsamples == (1.0, 2.0, 4.0, pytest.approx(1001 / 423))


def test_slide_is_pickled_without_its_pixels(tmp_path):
    slide = Slide.open(write_pyramid(tmp_path / "a.tif", IMAGE))
    slide.crop(0, 0, 10, 10)
    pickled = pickle.dumps(slide)
    assert len(pickled) < 2000
    np.testing.assert_array_equal(
        pickle.loads(pickled).crop(3, 4, 5, 6), slide.crop(3, 4, 5, 6)
    )


def test_file_that_has_changed_is_read_again(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(IMAGE).save(path)
    slide = Slide.open(path)
    slide.crop(0, 0, 1, 1)
    Image.fromarray(255 - IMAGE).save(path)
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))
    np.testing.assert_array_equal(slide.crop(0, 0, 5, 5), 255 - IMAGE[:5, :5])


def test_at_most_two_files_stay_decoded(tmp_path):
    for name in "abc":
        Image.fromarray(IMAGE).save(tmp_path / f"{name}.png")
        Slide.open(tmp_path / f"{name}.png").crop(0, 0, 1, 1)
    assert _pixels._decode.cache_info().currsize == 2


def test_threads_share_one_decoding(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(IMAGE).save(path)
    slide, loads, load = Slide.open(path), [], _pixels._load
    monkeypatch.setattr(
        _pixels, "_load", lambda *args: (loads.append(args), load(*args))
    )
    threads = [threading.Thread(target=slide.crop, args=(0, 0, 5, 5)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


def test_decoded_pixels_cannot_be_changed_by_one_of_those_who_share_them(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(IMAGE).save(path)
    with pytest.raises(ValueError, match="read-only"):
        Slide.open(path).crop(0, 0, 5, 5)[:] = 0


# --- scale ---------------------------------------------------------------------------


def test_scale_comes_from_ome_xml(tmp_path):
    assert Slide.open(write_pyramid(tmp_path / "a.tif", IMAGE)).mpp == 0.5


@pytest.mark.parametrize(
    ("unit", "size"), [("µm", 0.25), ("nm", 250.0), ("mm", 0.00025)]
)
def test_ome_units_are_turned_into_um(tmp_path, unit, size):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
    tifffile.imwrite(path, IMAGE, photometric="rgb", metadata=metadata)
    assert Slide.open(path).mpp == pytest.approx(0.25)


def test_unknown_ome_unit_leaves_the_scale_unknown(tmp_path):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": 1.0, "PhysicalSizeXUnit": "pixel"}
    tifffile.imwrite(path, IMAGE, photometric="rgb", metadata=metadata)
    assert Slide.open(path).mpp is None


@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [
        ((50_800, 50_800), "INCH", 0.5),
        ((40_000, 40_000), "CENTIMETER", 0.25),
        ((72, 72), "INCH", None),
        ((300, 300), "NONE", None),
    ],
    ids=["inch", "cm", "printer's default", "no unit"],
)
def test_scale_comes_from_tiff_tags(tmp_path, resolution, unit, mpp):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, IMAGE, photometric="rgb", resolution=resolution, resolutionunit=unit
    )
    assert Slide.open(path).mpp == (mpp if mpp is None else pytest.approx(mpp))


def test_scale_comes_from_aperio_description(tmp_path):
    path = tmp_path / "a.svs"
    tifffile.imwrite(
        path,
        IMAGE,
        photometric="rgb",
        tile=(32, 32),
        metadata=None,
        description="Aperio Image Library v1\r\n120x90 |AppMag = 20|MPP = 0.499",
    )
    assert Slide.open(path).mpp == 0.499


def test_what_the_caller_says_beats_the_file(tmp_path):
    assert Slide.open(write_pyramid(tmp_path / "a.tif", IMAGE), mpp=2.0).mpp == 2.0


def test_jpeg_does_not_say_its_scale(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.jpg", dpi=(50_800, 50_800))
    slide = Slide.open(tmp_path / "a.jpg")
    assert slide.mpp is None
    assert repr(slide) == "Slide(120 x 90 px, unknown scale, 1 level(s), a.jpg)"


def test_repr_of_slide_in_memory():
    assert repr(Slide.from_array(IMAGE, 0.5)) == (
        "Slide(120 x 90 px, 0.500 µm/px, 1 level(s), in memory)"
    )


# --- thumbnails ----------------------------------------------------------------------


def ramp(height, width):
    """Return an image whose red is linear in x and whose green is linear in y."""
    x, y = np.meshgrid(
        (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    )
    return (255 * np.stack([x, y, np.full_like(x, 0.5)], axis=2)).astype(np.uint8)


@pytest.mark.parametrize("name", ["memory", "a.png", "a.jpg", "a.tif"])
def test_thumbnail_shows_the_same_places(tmp_path, name):
    image = ramp(1201, 1603)  # no multiple of anything
    slide = Slide.from_array(image)
    if name == "a.tif":
        slide = Slide.open(write_pyramid(tmp_path / name, image))
    elif name != "memory":
        Image.fromarray(image).save(tmp_path / name)
        slide = Slide.open(tmp_path / name)
    small = slide.thumbnail(100)
    assert small.shape == (75, 100, 3)
    inner = np.s_[2:-2, 2:-2]
    assert np.abs(small[inner].astype(int) - ramp(75, 100)[inner]).max() <= 3


def test_thumbnail_averages_fine_stripes():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 200
    inner = Slide.from_array(stripes).thumbnail(30)[2:-2, 2:-2]
    assert np.abs(inner.astype(int) - 100).max() <= 4


def test_thumbnail_of_small_slide_is_the_slide():
    np.testing.assert_array_equal(Slide.from_array(IMAGE).thumbnail(500), IMAGE)


def test_thumbnail_reads_the_coarsest_level_that_will_do():
    pictures = [np.full((side, side, 3), side, np.uint8) for side in (200, 100, 50)]
    slide = Slide(tuple(pictures))
    assert slide.thumbnail(50).max() == 50
    assert slide.thumbnail(51).max() == 100
    assert slide.thumbnail(150).max() == 200


def test_thumbnail_of_no_size_is_refused():
    with pytest.raises(ValueError, match="max_side is 0, expected 1 or more"):
        Slide.from_array(IMAGE).thumbnail(0)


# --- fingerprints --------------------------------------------------------------------


def test_fingerprint_changes_with_the_pixels_and_only_then(tmp_path):
    other = IMAGE.copy()
    other[40, 50, 1] ^= 1
    first = Slide.from_array(IMAGE).fingerprint()
    assert first == Slide.from_array(IMAGE.copy(), mpp=0.5).fingerprint()
    assert first != Slide.from_array(other).fingerprint()
    assert first != Slide.from_array(IMAGE.reshape(120, 90, 3)).fingerprint()
    marks = set()
    for name, image in (("a.png", IMAGE), ("b.png", IMAGE), ("c.png", other)):
        Image.fromarray(image).save(tmp_path / name)
        marks.add(Slide.open(tmp_path / name).fingerprint())
    assert len(marks) == 2


def test_fingerprint_of_large_file_sees_its_ends_and_its_size(tmp_path):
    content = bytearray(RNG.bytes(40 * 2**20))
    slide = Slide((IMAGE,), path=tmp_path / "a.tif")
    marks = []
    for at in (None, 0, -1):
        if at is not None:
            content[at] ^= 1
        slide.path.write_bytes(content)
        marks.append(slide.fingerprint())
    slide.path.write_bytes(content[:-1])
    assert len({*marks, slide.fingerprint()}) == 4


# --- errors --------------------------------------------------------------------------


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no slide at .*a\.jpg"):
        Slide.open(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("content", [b"", b"hello" * 100], ids=["empty", "text"])
def test_file_that_is_no_image(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} cannot be read as an image"):
        Slide.open(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("use", ["crop", "thumbnail"])
def test_image_that_breaks_off(tmp_path, name, use):
    Image.fromarray(IMAGE).save(tmp_path / name)
    cut_in_half(tmp_path / name)
    slide = Slide.open(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name} is damaged or not complete"):
        slide.crop(0, 0, 5, 5) if use == "crop" else slide.thumbnail(50)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_tiff_that_breaks_off_is_found_when_opened(tmp_path, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, IMAGE, photometric="rgb", tile=(32, 32), compression=compression
    )
    cut_in_half(path)
    with pytest.raises(ValueError, match=r"it has \d+ bytes, but its pixels reach to"):
        Slide.open(path)


def test_damaged_tile(tmp_path):
    path = write_pyramid(tmp_path / "a.tif", IMAGE)
    slide = Slide.open(path)
    with tifffile.TiffFile(path) as tiff:
        offset, size = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = b"\xff" * size
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.tif is damaged or not complete"):
        slide.crop(0, 0, 5, 5)


@pytest.mark.parametrize(
    ("image", "options", "shape"),
    [
        (IMAGE[..., 0], {}, r"\(90, 120\)"),
        (np.dstack([IMAGE, IMAGE[..., :1]]), {"photometric": "rgb"}, r"\(90, 120, 4\)"),
        (
            np.moveaxis(IMAGE, 2, 0),
            {"photometric": "rgb", "planarconfig": "separate"},
            r"\(3, 90, 120\)",
        ),
        (np.stack([IMAGE, IMAGE]), {"photometric": "rgb"}, r"\(2, 90, 120, 3\)"),
    ],
    ids=["grey", "alpha", "planar", "two pages"],
)
@pytest.mark.filterwarnings("ignore:.*extrasamples.*:DeprecationWarning")
def test_tiff_of_wrong_shape(tmp_path, image, options, shape):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image, **options)
    with pytest.raises(ValueError, match=rf"level 0 of a\.tif has shape {shape}"):
        Slide.open(path)


def test_tiff_of_wrong_depth(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", IMAGE.astype(np.uint16), photometric="rgb")
    with pytest.raises(ValueError, match=r"level 0 of a\.tif has dtype uint16"):
        Slide.open(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16"])
def test_png_of_wrong_mode(tmp_path, mode):
    image = Image.fromarray(IMAGE)
    image = image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=f"Pillow's mode '{mode}', expected 'RGB'"):
        Slide.open(tmp_path / "a.png")


def test_array_of_wrong_shape_or_type():
    with pytest.raises(ValueError, match=r"level 0 of image has shape \(90, 120\)"):
        Slide((IMAGE[..., 0],))
    with pytest.raises(ValueError, match="level 1 of image has dtype float64"):
        Slide((IMAGE, IMAGE / 255))
    with pytest.raises(ValueError, match="levels is empty"):
        Slide(())


@pytest.mark.parametrize("mpp", [0.0, -0.5, np.nan, np.inf])
def test_impossible_scale(mpp):
    with pytest.raises(ValueError, match=f"mpp is {mpp}, expected micrometres"):
        Slide.from_array(IMAGE, mpp)


@pytest.mark.parametrize(
    "rectangle",
    [(-1, 0, 5, 5), (0, -1, 5, 5), (116, 0, 5, 5), (0, 86, 5, 5), (0, 0, 0, 5)],
)
def test_rectangle_must_lie_inside(rectangle):
    with pytest.raises(ValueError, match=r"is empty or leaves level 0 of 120 x 90 px"):
        Slide.from_array(IMAGE).crop(*rectangle)


@pytest.mark.parametrize("level", [-1, 1])
def test_level_must_exist(level):
    with pytest.raises(IndexError, match=f"level is {level}, but the slide has levels"):
        Slide.from_array(IMAGE).crop(0, 0, 5, 5, level=level)
