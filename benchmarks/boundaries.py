"""What maps of edges and nuclei cost, and how right they are on simulated tissue.

Run with `STLEARNKIT_DATA` set:

    python benchmarks/boundaries.py

Time and memory are those of a process of its own for each job, on section C2. Beside
`detect` stands what one would write first: scikit-image's functions on the whole
image. On simulated tissue the trivial rule is one threshold for haematoxylin, and its
connected parts as nuclei.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.color import rgb2hed
from skimage.feature import peak_local_max
from skimage.filters import sobel, threshold_otsu
from skimage.measure import label
from skimage.segmentation import find_boundaries, watershed

from stlearnkit import boundaries, datasets, synthetic
from stlearnkit.boundaries import BoundaryMaps

SEEDS = range(10, 15)  # the settings were chosen by looking at 0 to 5
MPP = (1.0, 0.7)
CROP_PX = (1000, 2000, 4000)


def detect(section: object) -> BoundaryMaps:
    """Map a section, in an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        return boundaries.detect(section, cache_folder=Path(folder))


def in_one_go(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Do it with scikit-image, on the whole image at once."""
    amount = rgb2hed(image)[..., 0].astype(np.float32)
    mask = amount > threshold_otsu(amount)
    distance = ndimage.distance_transform_edt(mask).astype(np.float32)
    markers = np.zeros(mask.shape, np.int32)
    peaks = peak_local_max(distance, min_distance=4, labels=mask.astype(np.int32))
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return sobel(amount), watershed(-distance, markers, mask=mask)


def parts(image: np.ndarray) -> np.ndarray:
    """Threshold haematoxylin, and take every connected part for a nucleus."""
    amount = rgb2hed(image)[..., 0]
    return label(amount > threshold_otsu(amount))


def centres_um(labels: np.ndarray, mpp: float) -> np.ndarray:
    """Return the centres (x, y) of all labels."""
    numbers = np.unique(labels[labels > 0])
    rows_columns = ndimage.center_of_mass(labels > 0, labels, numbers)
    return (np.array(rows_columns)[:, ::-1] + 0.5) * mpp


def job_detect() -> None:
    """Map C2."""
    detect(datasets.her2st("C2"))


def job_in_one_go() -> None:
    """Map C2 with scikit-image at once."""
    slide = datasets.her2st("C2").slide
    in_one_go(slide.crop(0, 0, slide.width, slide.height))


def job_cut() -> None:
    """Cut patches and fill the table, from a cache; print what each takes."""
    section = datasets.her2st("C2")
    with tempfile.TemporaryDirectory() as folder:
        maps = boundaries.detect(section, cache_folder=Path(folder))
        steps: dict[str, Callable[[], object]] = {
            "load from the cache": lambda: boundaries.detect(
                section, cache_folder=Path(folder)
            ),
            "first patches, 112 um": lambda: maps.patches(section.coords_px, 112.0),
            "more patches, 560 um": lambda: maps.patches(section.coords_px, 560.0),
            "morphology of spots": lambda: boundaries.morphology(section, maps),
        }
        for name, step in steps.items():
            start, used = time.perf_counter(), time.process_time()
            step()
            wall, processor = time.perf_counter() - start, time.process_time() - used
            print(f"{name}: {wall:.2f} s wall, {processor:.2f} s processor")
        print(f"{maps.n_nuclei} nuclei in C2, {section.n_spots} spots")


def alone(job: str) -> None:
    """Run a job in a process of its own, and print what it took."""
    start = time.perf_counter()
    subprocess.run([sys.executable, __file__, job], check=True)
    wall = time.perf_counter() - start
    print(f"{job}: {wall:.1f} s wall, imports included")


def growth() -> None:
    """Print how cost grows with pixels: one square of C2's tissue, repeated."""
    slide = datasets.her2st("C2").slide
    square = slide.crop(5500, 5500, CROP_PX[0], CROP_PX[0])
    for side in CROP_PX:
        image = np.tile(square, (side // CROP_PX[0], side // CROP_PX[0], 1))
        start = time.process_time()
        boundaries.nuclei(image, slide.mpp)
        boundaries.edge_map(image, slide.mpp)
        per_mpx = (time.process_time() - start) / side**2 * 1e6
        print(f"{side} px a side: {per_mpx:.2f} s of processor per megapixel")


def truth() -> None:
    """Print scores on simulated sections, the trivial rules beside."""
    rows = []
    for mpp in MPP:
        for seed in SEEDS:
            made = synthetic.section(n_spots=20, seed=seed, mpp=mpp, stain_shift=0.15)
            image = made.section.slide.levels[0]
            true_um = made.nuclei[["x_px", "y_px"]].to_numpy() * mpp
            borders = find_boundaries(made.nuclei_labels(), mode="inner")
            maps = detect(made.section)
            edges, split = in_one_go(image)
            scaled = np.clip(edges / np.percentile(edges, 99), 0, 1)
            nuclei = [maps.nuclei, split, parts(image)]
            lines = [
                boundaries.edge_lines(maps.edges),
                boundaries.edge_lines(scaled),
                find_boundaries(nuclei[2], mode="inner"),
            ]
            rows.append(
                [
                    boundaries.nuclei_scores(centres_um(found, mpp), true_um)["f1"]
                    for found in nuclei
                ]
                + [boundaries.edge_scores(found, borders, mpp)["f1"] for found in lines]
            )
    names = ("detect", "scikit-image at once", "connected parts")
    for column, scores in enumerate(np.array(rows).T):
        kind = "nuclei" if column < len(names) else "edges"
        print(
            f"{kind}, {names[column % len(names)]}: F1 {scores.mean():.3f} "
            f"({scores.min():.3f} to {scores.max():.3f}, {len(scores)} sections)"
        )


JOBS = {"detect": job_detect, "in_one_go": job_in_one_go, "cut": job_cut}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        start, used = time.perf_counter(), time.process_time()
        JOBS[sys.argv[1]]()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        wall, processor = time.perf_counter() - start, time.process_time() - used
        print(f"{wall:.1f} s wall, {processor:.1f} s processor, peak {peak:.2f} GiB")
    else:
        growth()
        for name in JOBS:
            alone(name)
        truth()
