"""Execute the book's chapters into the notebooks that stand beside them.

    python book/make_notebooks.py                 all chapters
    python book/make_notebooks.py 01_what_a_section_is

Each ``NN_name.md`` becomes ``NN_name.ipynb``, executed from top to bottom in a fresh
kernel. A notebook appears whole or not at all: it is written beside the old one and
then takes its place, so stopping the run at any moment loses nothing. The same chapter
on the same machine gives the same file, byte for byte: identifiers come from the cells'
text, and nothing that tells the time is kept. The time that a chapter took goes into
``run_times.csv``, one row per chapter and device.
"""

import argparse
import base64
import csv
import hashlib
import os
import sys
import time
from collections import Counter
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from stlearnkit.environment import gpu_name, n_cores

CHAPTERS = Path(__file__).parent / "chapters"
TIMES = "run_times.csv"
PICTURES = {"fig-linear-map": "predicted_map.jpg"}  # for the README
PATTERN = "[0-9][0-9]_*.md"
METADATA = {
    "kernelspec": {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}


def read(source: Path) -> NotebookNode:
    """Read a chapter as a notebook without outputs, with identifiers from its text."""
    notebook = jupytext.read(source)
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[digest] += 1
        cell.id = f"{digest}-{seen[digest]}"
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells in a fresh kernel whose working directory is `folder`."""
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=1800,
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    # A backend chosen outside, as for scripts, would leave notebooks without pictures.
    client.execute(env={k: v for k, v in os.environ.items() if k != "MPLBACKEND"})
    notebook.metadata = nbformat.from_dict(METADATA)


def replace(target: Path, content: bytes) -> None:
    """Write `content` beside `target`, then let it take its place in one step."""
    part = target.with_name(target.name + ".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)


def pictures(notebook: NotebookNode) -> dict[str, bytes]:
    """Return the figures of a notebook that are shown outside the book, by name."""
    found = {}
    for cell in notebook.cells:
        name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
        if name in PICTURES:
            data = next(
                o.data for o in cell.outputs if "image/jpeg" in o.get("data", {})
            )
            found[name] = base64.b64decode(data["image/jpeg"])
    return found


def make(source: Path) -> Path:
    """Execute one chapter into the notebook beside it, and return its path."""
    notebook = read(source)
    execute(notebook, source.parent)
    nbformat.validate(notebook)
    target = source.with_suffix(".ipynb")
    replace(target, (nbformat.writes(notebook) + "\n").encode())
    for name, picture in pictures(notebook).items():
        replace(source.with_name(PICTURES[name]), picture)
    return target


def record(folder: Path, chapter: str, seconds: float) -> None:
    """Set the row of this chapter and device in the table of run times."""
    table = folder / TIMES
    rows: dict[tuple[str, str], str] = {}
    if table.exists():
        with table.open(encoding="utf-8", newline="") as file:
            rows = {(row[0], row[1]): row[2] for row in list(csv.reader(file))[1:]}
    rows[chapter, gpu_name() or f"{n_cores()} CPU cores"] = f"{seconds:.0f}"
    lines = [
        "chapter,device,seconds",
        *(",".join((*key, rows[key])) for key in sorted(rows)),
    ]
    replace(table, ("\n".join(lines) + "\n").encode())


def sources(folder: Path, names: list[str]) -> list[Path]:
    """Return the named chapters of `folder`, or all of them.

    Raises
    ------
    SystemExit
        If a name is not a chapter, or there is none at all.
    """
    found = {path.stem: path for path in sorted(folder.glob(PATTERN))}
    unknown = [name for name in names if name not in found]
    if unknown or not found:
        raise SystemExit(
            f"no chapter {', '.join(unknown) or PATTERN} in {folder}. "
            f"Chapters: {', '.join(found) or 'none'}."
        )
    return [found[name] for name in names or found]


def main() -> None:
    """Make the notebooks named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", help="stems, e.g. 01_what_a_section_is")
    parser.add_argument("--folder", type=Path, default=CHAPTERS)
    arguments = parser.parse_args()
    for source in sources(arguments.folder.resolve(), arguments.chapters):
        start = time.perf_counter()
        target = make(source)
        seconds = time.perf_counter() - start
        record(target.parent, target.stem, seconds)
        size_kb = target.stat().st_size / 1000
        print(f"{target.name}: {seconds:.0f} s, {size_kb:.0f} kB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
