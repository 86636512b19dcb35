"""Slides as scanners write them: larger than the memory, and packed as JPEG."""

import json
import subprocess
import sys

import imagecodecs
import numpy as np
import pytest
import tifffile

from stlearnkit.patches import extract
from stlearnkit.slides import Slide

SIDE, TILE = 100_000, 1024
COLOURS = ((230, 150, 200), (120, 70, 160), (250, 250, 250), (200, 90, 140))
IMAGE = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
MIB = 2**20

# Everything is imported, and run once on a slide of one tile, before memory counts.
MEASURE = """
import json, resource, sys
from pathlib import Path
import numpy as np
import torch
from stlearnkit.encoders import Encoder, features
from stlearnkit.patches import Scale, extract
from stlearnkit.sections import Section
from stlearnkit.slides import Slide

class MeanColour(torch.nn.Module):
    def forward(self, images):
        return images.mean(dim=(2, 3))

def use(path, places):
    slide = Slide.open(path, mpp=0.5)
    names = [str(number) for number in range(len(places))]
    section = Section.build(
        np.ones((len(places), 1)), ["GENE1"], names, np.array(places, float),
        name="large", patient="P", slide=slide)
    plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    encoder = Encoder("mean", MeanColour(), input_px=224, **plain)
    cut = extract(slide, section.coords_px, 112.0, output_px=224)
    found = features(section, encoder, Scale("near", 112.0), cache_folder=folder)
    slide.thumbnail(500), slide.fingerprint()
    return cut.mean(axis=(1, 2)).round().tolist(), (255 * found).round().tolist()

folder = Path(sys.argv[2])
use(Path(sys.argv[3]), [[200, 200], [300, 300]])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
colours, means = use(Path(sys.argv[1]), json.loads(sys.argv[4]))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"colours": colours, "means": means, "kib": after - before}))
"""


def colour_of(x, y):
    """Return the colour of the tile under a pixel of level 0."""
    return COLOURS[(x // TILE + 2 * (y // TILE)) % 4]


def write_large(path, side=SIDE):
    """Write a pyramid of plain tiles: 30 GB of pixels in a few MB."""
    packed = [
        imagecodecs.zstd_encode(np.full((TILE, TILE, 3), colour, np.uint8).tobytes())
        for colour in COLOURS
    ]

    def tiles(n):
        for row in range(n):
            for column in range(n):
                yield packed[(column + 2 * row) % 4]

    kind = {"dtype": np.uint8, "photometric": "rgb", "compression": "zstd"}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for size in (side, side // 4, side // 16):
            n = -(-size // TILE)
            tiff.write(
                tiles(n),
                shape=(size, size, 3),
                tile=(TILE, TILE),
                subfiletype=int(size < side),
                subifds=2 if size == side else None,
                metadata=None,
                **kind,
            )
    return path


def test_slide_of_ten_gigapixels_never_enters_the_memory(tmp_path):
    path = write_large(tmp_path / "large.tif")
    small = write_large(tmp_path / "small.tif", side=2 * TILE)
    assert path.stat().st_size < 20 * MIB
    places = [(500, 600), (50_700, 21_000), (99_800, 99_700)]
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            MEASURE,
            *map(str, (path, tmp_path / "kept", small)),
            json.dumps(places),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(run.stdout)
    expected = [list(colour_of(x, y)) for x, y in places]
    assert told["colours"] == expected
    assert told["means"] == expected
    assert told["kib"] * 1024 < 200 * MIB  # the pixels are 28,610


def aperio(path, kind, *, mpp="0.2520"):
    """Write what Aperio's scanners do: two levels, a thumbnail, label and macro."""
    head = "Aperio Image Library v12.0.15\r\n400x300 [0,0 400x300] (128x128) JPEG/RGB"
    options = {"metadata": None, "software": None, **kind}
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(
            IMAGE,
            tile=(128, 128),
            description=f"{head} Q=70|AppMag = 40|MPP = {mpp}|Left = 25.69",
            **options,
        )
        tiff.write(
            IMAGE[::8, ::8],
            description=head,
            rowsperstrip=16,
            photometric="rgb",
            metadata=None,
            software=None,
        )
        tiff.write(
            IMAGE[::4, ::4],
            tile=(128, 128),
            description=f"{head} -> 100x75",
            **options,
        )
        for name, number in (("label", 1), ("macro", 9)):
            tiff.write(
                IMAGE[:40, :40],
                description=f"Aperio Image Library v12.0.15\r\n{name} 40x40",
                subfiletype=number,
                photometric="rgb",
                metadata=None,
                software=None,
            )
    return path


@pytest.mark.parametrize(
    "kind",
    [
        {"compression": "jpeg", "photometric": "ycbcr"},
        {"compression": "jpeg", "photometric": "rgb"},
        {"compression": "aperio_jp2000_rgb", "photometric": "rgb"},
        {"compression": "lzw", "photometric": "rgb"},
    ],
    ids=["JPEG, YCbCr", "JPEG, RGB", "JPEG 2000", "LZW"],
)
def test_aperio_by_region(tmp_path, kind):
    path = aperio(tmp_path / "a.svs", kind)
    slide = Slide.open(path)
    assert (slide.width, slide.height, slide.mpp) == (400, 300, 0.252)
    assert slide.downsamples == (1.0, 4.0)
    with tifffile.TiffFile(path) as tiff:
        levels = [level.asarray() for level in tiff.series[0].levels]
    np.testing.assert_array_equal(
        slide.crop(100, 90, 60, 50), levels[0][90:140, 100:160]
    )
    np.testing.assert_array_equal(
        slide.crop(20, 30, 40, 30, level=1), levels[1][30:60, 20:60]
    )
    patch = extract(slide, np.array([[200.0, 150.0]]), 0.252 * 64, output_px=64)[0]
    np.testing.assert_array_equal(patch, levels[0][118:182, 168:232])


@pytest.mark.parametrize("mpp", ["unknown", ""])
def test_aperio_that_does_not_say_its_scale(tmp_path, mpp):
    path = aperio(tmp_path / "a.svs", {"photometric": "rgb"}, mpp=mpp)
    assert Slide.open(path).mpp is None


@pytest.mark.parametrize("suffix", [".ndpi", ".btf"])
def test_large_files_of_other_names(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    tifffile.imwrite(
        path,
        IMAGE,
        bigtiff=True,
        tile=(128, 128),
        photometric="rgb",
        resolution=(20_000, 20_000),
        resolutionunit="centimeter",
    )
    slide = Slide.open(path)
    assert slide.mpp == 0.5
    np.testing.assert_array_equal(slide.crop(9, 5, 30, 20), IMAGE[5:25, 9:39])


def test_fingerprint_of_an_image_in_memory_is_that_of_its_bands():
    tall = np.resize(IMAGE, (1300, 40, 3))
    whole = Slide.from_array(tall).fingerprint()
    assert Slide.from_array(tall.copy()).fingerprint() == whole
    tall[1250, 3, 1] ^= 1
    assert Slide.from_array(tall).fingerprint() != whole
