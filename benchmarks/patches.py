"""What patches cost: time beside decoding the slide, and memory.

Run on a real section, named by its image and its table of spots:

    python benchmarks/patches.py

with `STLEARNKIT_DATA` set. Each figure is the best of several repeats, as a machine
may be busy with other things; memory is the peak of a process of its own.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from stlearnkit.patches import extract
from stlearnkit.slides import Slide

SIDES_UM = (112.0, 224.0, 560.0)
MPP = 0.688  # of HER2ST, from the 200 µm pitch of its spots
N_REPEATS = 5
PYRAMID_PX, TILE_PX = 30_000, 512


def section() -> tuple[Path, np.ndarray]:
    """Return the image of section C2 and the centres of its spots."""
    data = Path(os.environ["STLEARNKIT_DATA"]) / "her2st" / "data"
    (image,) = (data / "ST-imgs/C/C2").glob("*.jpg")
    (table,) = (data / "ST-spotfiles").glob("C2_*.tsv*")
    x, y, selected = np.loadtxt(table, skiprows=1, usecols=(4, 5, 6)).T
    return image, np.column_stack([x, y])[selected == 1]


def best(job: Callable[[], object]) -> tuple[float, float]:
    """Return the least wall and the least processor time of several runs, in s."""
    wall, processor = [], []
    for _ in range(N_REPEATS):
        start, used = time.perf_counter(), time.process_time()
        job()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    return min(wall), min(processor)


def decode(path: Path) -> np.ndarray:
    """Decode the slide as one would without this library."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def naive(pixels: np.ndarray, centres: np.ndarray, side_um: float) -> None:
    """Cut whole pixels out of an image in memory and resize them, one by one."""
    half = round(side_um / MPP / 2)
    for x, y in centres.round().astype(int):
        top, left = max(y - half, 0), max(x - half, 0)
        patch = Image.fromarray(pixels[top : y + half, left : x + half])
        np.asarray(patch.resize((224, 224), Image.Resampling.BILINEAR))


def peak_mib(job: str, *arguments: object) -> float:
    """Return the peak memory of a fresh process that runs one job of this file."""
    words = [sys.executable, __file__, job, *map(str, arguments)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout)


def job_section() -> None:
    """Decode the section and cut its patches at all scales, keeping them."""
    path, centres = section()
    slide = Slide.open(path, MPP)
    kept = [extract(slide, centres, side_um) for side_um in SIDES_UM]
    assert len(kept) == len(SIDES_UM)


def job_region(path: str) -> None:
    """Read regions and patches of a pyramid."""
    slide = Slide.open(path, 0.25)
    slide.crop(14_000, 9_000, 2000, 2000)
    centres = np.random.default_rng(0).uniform(0, PYRAMID_PX, (100, 2))
    for side_um in SIDES_UM:
        extract(slide, centres, side_um)


def tiles(side_px: int) -> Iterator[np.ndarray]:
    """Make the tiles of one level: smooth stripes, so that they compress."""
    for top in range(0, side_px, TILE_PX):
        for left in range(0, side_px, TILE_PX):
            x = (np.arange(left, left + TILE_PX) // 64 % 256).astype(np.uint8)
            y = (np.arange(top, top + TILE_PX) // 64 % 256).astype(np.uint8)
            yield np.stack(np.broadcast_arrays(x[None], y[:, None], np.uint8(90)), 2)


def write_pyramid(path: str) -> None:
    """Write a pyramid of 30,000 x 30,000 px, never holding more than a tile."""
    kind = {
        "dtype": np.uint8,
        "tile": (TILE_PX, TILE_PX),
        "photometric": "rgb",
        "compression": "deflate",
    }
    sides = [PYRAMID_PX // 2**level for level in range(5)]
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for level, side in enumerate(sides):
            place = {"subifds": len(sides) - 1} if level == 0 else {"subfiletype": 1}
            tiff.write(tiles(side), shape=(side, side, 3), **kind, **place)


def time_section() -> None:
    """Print the cost of patches beside that of decoding."""
    path, centres = section()
    pixels = decode(path)
    slide = Slide.from_array(pixels, MPP)
    baseline, baseline_cpu = best(lambda: decode(path))
    rows = [("decode the JPEG (Pillow to numpy)", baseline, baseline_cpu)]
    rows += [
        (
            f"{len(centres)} patches, {side:.0f} µm",
            *best(lambda s=side: extract(slide, centres, s)),
        )
        for side in SIDES_UM
    ]
    total = [sum(row[column] for row in rows[1:]) for column in (1, 2)]
    one_by_one = best(lambda: [naive(pixels, centres, side) for side in SIDES_UM])
    rows += [("patches, all scales", *total), ("one by one, all scales", *one_by_one)]
    few = best(lambda: extract(slide, centres[::4], 224.0))
    small = best(lambda: extract(slide, centres, 224.0, output_px=112))
    rows += [("a quarter of the spots, 224 µm", *few), ("224 µm to 112 px", *small)]
    print("| | wall s | processor s | ratio to decoding |\n|---|---|---|---|")
    for name, wall, processor in rows:
        print(f"| {name} | {wall:.3f} | {processor:.3f} | {wall / baseline:.2f} |")


def main() -> None:
    """Print peaks of memory, then times."""
    # Memory first: a process inherits the peak of the one that started it.
    print(f"peak memory, decode and patches: {peak_mib('section'):.0f} MiB")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pyramid.tif"
        peak_mib("write", path)
        mib = peak_mib("region", path)
        size = path.stat().st_size / 2**20
    print(f"peak memory, regions of a {PYRAMID_PX} px pyramid: {mib:.0f} MiB", end=" ")
    print(f"(file {size:.0f} MiB, pixels {3 * PYRAMID_PX**2 / 2**20:.0f} MiB)\n")
    time_section()


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        import resource

        jobs = {"section": job_section, "region": job_region, "write": write_pyramid}
        jobs[sys.argv[1]](*sys.argv[2:])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
