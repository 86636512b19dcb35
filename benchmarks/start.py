"""How long one waits before anything happens: import, synthetic sections.

    python benchmarks/start.py

Every import is timed in a fresh process; the time of an empty process is taken away.
"""

import subprocess
import sys
import time

from stlearnkit import synthetic


def seconds(statement: str, n_runs: int = 7) -> float:
    """Return the best time of a fresh Python that runs `statement`."""
    times = []
    for _ in range(n_runs):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Print import times, and what a synthetic stack costs."""
    empty = seconds("pass")
    ours = seconds("import stlearnkit") - empty
    table = seconds("import anndata", n_runs=3) - empty
    print(f"import stlearnkit: {ours:.3f} s, {ours / table:.3f} of import anndata")
    for n_sections in (1, 5):
        wall, processor = time.perf_counter(), time.process_time()
        stack = synthetic.stack(n_sections, seed=0)
        wall = time.perf_counter() - wall
        processor = time.process_time() - processor
        n_spots = sum(section.n_spots for section in stack.stack.sections)
        print(
            f"{n_sections} synthetic section(s), {n_spots} spots: {wall:.1f} s wall, "
            f"{processor:.1f} s processor"
        )


if __name__ == "__main__":
    main()
