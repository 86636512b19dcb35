"""Run the solutions of the exercises, each after the cells of its chapter.

    python book/run_solutions.py                 all chapters
    python book/run_solutions.py 01_what_a_section_is

The chapter is executed in a fresh kernel, then the Python of all its solutions in the
order of the page, each after what its exercise gives, as a reader would run it who did
every exercise. What they print is
shown, no file is changed. The first solution that fails ends the chapter; the exit
status tells whether any did.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from make_notebooks import CHAPTERS, execute, read, sources
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

EXERCISE = re.compile(
    r"^(`{3,})\{exercise\}.*?\n:label: (\S+)\n(.*?)^\1$", re.MULTILINE | re.DOTALL
)
SOLUTION = re.compile(
    r"^(`{3,})\{solution(?:-start)?\} (\S+)\n(.*?)^\1$", re.MULTILINE | re.DOTALL
)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def solutions(notebook: NotebookNode) -> dict[str, str]:
    """Return the Python of each exercise and its solution, by the exercise's label."""
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    given = {label: PYTHON.findall(body) for _, label, body in EXERCISE.findall(text)}
    solved = {label: PYTHON.findall(body) for _, label, body in SOLUTION.findall(text)}
    return {
        label: "\n".join([*given.get(label, []), *codes])
        for label, codes in solved.items()
        if codes
    }


def printed(cell: NotebookNode) -> str:
    """Return what a cell printed, and how many pictures it drew."""
    outputs = cell.get("outputs", [])
    texts = [o.get("text", "") for o in outputs if o.output_type == "stream"]
    n_pictures = sum("image" in key for o in outputs for key in o.get("data", {}))
    return "".join(texts) + f"[{n_pictures} pictures]\n" * bool(n_pictures)


def run(source: Path) -> bool:
    """Execute a chapter and its solutions; return whether all ran."""
    notebook = read(source)
    codes = solutions(notebook)
    cells = {label: nbformat.v4.new_code_cell(code) for label, code in codes.items()}
    notebook.cells += cells.values()
    message = ""
    try:
        execute(notebook, source.parent)
    except CellExecutionError as error:
        message = str(error)
    for label, cell in cells.items():
        failed = any(o.output_type == "error" for o in cell.get("outputs", []))
        state = "failed" if failed else "ran" if cell.execution_count else "not reached"
        print(f"{source.stem}, {label}: {state}\n{printed(cell)}", flush=True)
    if message:
        print(message, file=sys.stderr)
    return not message


def main() -> int:
    """Run the chapters that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NN_name")
    parser.add_argument("--folder", type=Path, default=CHAPTERS)
    arguments = parser.parse_args()
    results = [run(source) for source in sources(arguments.folder, arguments.names)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
