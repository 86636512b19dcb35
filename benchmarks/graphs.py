"""What building a graph costs, beside scipy looking for the same neighbours alone.

    python benchmarks/graphs.py

Spots lie on a square lattice of pitch 100 µm, up to 10 µm askew in x and y. Both sides
take turns within one process, the least processor time of each counts; the peak memory
is that of a process of its own above one with 100 spots.
"""

import argparse
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy.spatial import Delaunay, cKDTree

from stlearnkit import graphs

PITCH_UM, JITTER_UM, RADIUS_UM, K = 100.0, 10.0, 160.0, 6
SIZES = (1_000, 10_000, 100_000, 1_000_000)
FEW = 100


def lattice(n_spots: int, jitter_um: float) -> np.ndarray:
    """Return the first spots of a square array, row by row."""
    places = np.column_stack(np.divmod(np.arange(n_spots), math.isqrt(n_spots)))
    rng = np.random.default_rng(0)
    return PITCH_UM * places[:, ::-1] + rng.uniform(-jitter_um, jitter_um, (n_spots, 2))


def look_at_tiles(coords_um: np.ndarray) -> None:
    """Find the tiles of both default levels and the nine nearest of each spot."""
    for side in (350.0, 700.0):
        tiles = np.unique(np.floor(coords_um / side), axis=0)
        cKDTree((tiles + 0.5) * side).query(coords_um, k=min(9, len(tiles)))


def split(coords_um: np.ndarray) -> None:
    """Go through blocks of 10,000 spots with three hops around them."""
    graph = graphs.knn(coords_um, K, self_loops=True)
    for _ in graphs.blocks(graph, coords_um, n_hops=3, max_spots=10_000):
        pass


def k_nearest(coords_um: np.ndarray) -> None:
    """Find `K` nearest others."""
    cKDTree(coords_um).query(coords_um, k=K + 1)


def nine_nearest(coords_um: np.ndarray) -> None:
    """Find the eight nearest others of a square lattice."""
    cKDTree(coords_um).query(coords_um, k=9)


def pairs(coords_um: np.ndarray) -> None:
    """Find all pairs within the radius."""
    cKDTree(coords_um).query_pairs(RADIUS_UM, output_type="ndarray")


def ten_sections(coords_um: np.ndarray) -> list[np.ndarray]:
    """Cut places in ten and lay them upon each other, half a pitch askew."""
    parts = np.array_split(coords_um, 10)
    rng = np.random.default_rng(1)
    return [part - part[0] + rng.uniform(-50, 50, 2) for part in parts]


def across(coords_um: np.ndarray) -> None:
    """Join each of ten sections, as discs of a pitch, to the two next to it."""
    z_um = 16.0 * np.arange(10)
    graphs.StackGraph.build(ten_sections(coords_um), z_um, PITCH_UM, max_dz_um=16.0)


def across_trees(coords_um: np.ndarray) -> None:
    """Find the pairs of spots that overlap on sections next to each other."""
    trees = [cKDTree(places) for places in ten_sections(coords_um)]
    for below, above in pairwise(trees):
        below.sparse_distance_matrix(above, PITCH_UM, output_type="ndarray")


Build = Callable[[np.ndarray], object]
CASES: dict[str, tuple[float, Build, Build]] = {
    "`knn`, 6": (
        JITTER_UM,
        lambda xy: graphs.knn(xy, K, self_loops=False),
        k_nearest,
    ),
    "`knn`, 6, no jitter: all tie": (
        0.0,
        lambda xy: graphs.knn(xy, K, self_loops=False),
        k_nearest,
    ),
    "`radius`, 160 µm": (
        JITTER_UM,
        lambda xy: graphs.radius(xy, RADIUS_UM, self_loops=False),
        pairs,
    ),
    "`grid`, 8": (
        JITTER_UM,
        lambda xy: graphs.grid(xy, 8, self_loops=False),
        nine_nearest,
    ),
    "`delaunay`, 200 µm": (
        JITTER_UM,
        lambda xy: graphs.delaunay(xy, 200.0, self_loops=False),
        Delaunay,
    ),
    "`ScaleGraph.build`": (
        JITTER_UM,
        lambda xy: graphs.ScaleGraph.build(xy, self_loops=True),
        look_at_tiles,
    ),
    "`StackGraph.build`, 10 sections": (JITTER_UM, across, across_trees),
    "`knn` and `blocks`": (JITTER_UM, split, k_nearest),
}


def cost(build: Build, coords_um: np.ndarray) -> float:
    """Return the seconds of the processor that one call takes."""
    started = time.process_time()
    build(coords_um)
    return time.process_time() - started


def measure(case: str, n_spots: int, *, memory: bool) -> None:
    """Print seconds of both sides, or the peak memory in MiB after one call of ours."""
    jitter_um, ours, theirs = CASES[case]
    coords_um = lattice(n_spots, jitter_um)
    if memory:
        ours(coords_um)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
        return
    ours(lattice(FEW, jitter_um))
    rounds = [
        (cost(ours, coords_um), cost(theirs, coords_um))
        for _ in range(min(20, max(2, 1_000_000 // n_spots)))
    ]
    print(*np.min(rounds, axis=0))


def in_its_own_process(case: str, n_spots: int, *options: str) -> list[float]:
    """Return the numbers that a process prints."""
    words = [
        sys.executable,
        __file__,
        "--case",
        case,
        "--spots",
        str(n_spots),
        *options,
    ]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    """Print a row for each graph and number of spots."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--spots", type=int)
    parser.add_argument("--memory", action="store_true")
    asked = parser.parse_args()
    if asked.case:
        measure(asked.case, asked.spots, memory=asked.memory)
        return
    for case in CASES:
        (base,) = in_its_own_process(case, FEW, "--memory")
        for n_spots in SIZES:
            ours, theirs = in_its_own_process(case, n_spots)
            (peak,) = in_its_own_process(case, n_spots, "--memory")
            each = 1e6 * ours / n_spots
            print(
                f"| {case} | {n_spots:,} | {ours:.4f} s | {each:.2f} µs "
                f"| {ours / theirs:.2f} | {peak - base:,.0f} MiB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
