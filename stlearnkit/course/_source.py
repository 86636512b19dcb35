"""The one source of a problem set: a MyST notebook with solutions and all checks.

Cells carry nbgrader's metadata, so that nbgrader reads the same file: one locked cell
named ``setup``; for each question a cell with a solution, named e.g. ``q1``, and locked
cells with checks and points, named ``q1-inside`` and so on.
"""

__all__ = ["Sheet", "read"]

import ast
import copy
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stlearnkit.course._parts import Part, ProblemSet, Question

_STUB = "{0}# YOUR CODE HERE\n{0}raise NotImplementedError()"
_REGION = r"^(?P<indent>[ \t]*)### BEGIN {0}[^\n]*\n.*?^[ \t]*### END {0}[^\n]*$\n?"
_SOLUTION = re.compile(_REGION.format("SOLUTION"), re.MULTILINE | re.DOTALL)
_HIDDEN = re.compile(_REGION.format("HIDDEN TESTS"), re.MULTILINE | re.DOTALL)
_METADATA = {
    "kernelspec": {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    },
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}

Cell = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Sheet:
    """A problem set as its author wrote it.

    Parameters
    ----------
    name
        E.g. ``"ps1"``.
    cells
        Of the notebook: `cell_type`, `source` and `metadata` of each.
    """

    name: str
    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        """Refuse a source that could not be graded.

        Raises
        ------
        ValueError
            If a cell or its metadata is not as the rules say.
        """
        _check(self)

    def solved(self) -> dict[str, Any]:
        """Return the notebook with its solutions and all checks."""
        return _notebook(self.cells)

    def released(self) -> dict[str, Any]:
        """Return the notebook for students: stubs for solutions, no hidden checks."""
        cells = copy.deepcopy(self.cells)
        for cell in cells:
            if _kind(cell) == "answer":
                cell["source"] = _SOLUTION.sub(_stub, cell["source"]).rstrip("\n")
                cell["metadata"]["deletable"] = False
            if _kind(cell) == "checks":
                cell["source"] = _HIDDEN.sub("", cell["source"]).rstrip("\n")
            if _kind(cell) in ("checks", "setup"):
                cell["metadata"] |= {"deletable": False, "editable": False}
        return _notebook(cells)

    def problem_set(self, *, hidden: bool) -> ProblemSet:
        """Return what grading needs, with or without the hidden checks."""
        title, questions, setup = "", list[Question](), ""
        for cell in self.cells:
            headings = re.findall(r"^#{1,2} (.+)$", cell["source"], re.MULTILINE)
            if cell["cell_type"] == "markdown" and headings:
                title = title or headings[0]
                heading = headings[-1]
            elif _kind(cell) == "setup":
                setup = cell["source"]
            elif _kind(cell) == "answer":
                name, function = _grade_id(cell), _function(cell)
                questions.append(Question(name, heading, function, ()))
            elif _kind(cell) == "checks":
                *before, last = questions
                parts = (*last.parts, _part(cell, hidden))
                now = Question(last.name, last.title, last.function, parts)
                questions = [*before, now]
        return ProblemSet(self.name, title, setup, tuple(questions))


def read(file: Path) -> Sheet:
    """Read the source of a problem set, a MyST notebook or an `.ipynb`.

    Raises
    ------
    ValueError
        If it is not there or could not be graded.
    ModuleNotFoundError
        If reading it needs jupytext, and that is not installed.
    """
    if not file.is_file():
        raise ValueError(f"source is {str(file)!r}, but there is no such file.")
    if file.suffix == ".ipynb":
        cells = _cells(file)
    else:
        try:
            import jupytext
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"reading {file.name} needs jupytext. Install stlearnkit[book]."
            ) from error
        cells = jupytext.read(file).cells
    return Sheet(file.stem, tuple(_plain(cell) for cell in cells))


def _cells(file: Path) -> list[Any]:
    """Return the cells of a notebook.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        cells = json.loads(file.read_bytes())["cells"]
        wanted = {"cell_type", "source", "metadata"}
        complete = all(wanted <= set(cell) for cell in cells)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"source is {str(file)!r}, which is no notebook: {error!r}. Save it again "
            "from Jupyter, as .ipynb."
        ) from error
    if not complete:
        raise ValueError(
            f"source is {str(file)!r}, a notebook with cells that lack their type, "
            "source or metadata. Save it again from Jupyter."
        )
    return list(cells)


def _plain(cell: Any) -> Cell:
    """Return the three entries of a cell that matter, as a plain dictionary."""
    source = cell["source"]
    return {
        "cell_type": cell["cell_type"],
        "metadata": json.loads(json.dumps(cell["metadata"])),
        "source": source if isinstance(source, str) else "".join(source),
    }


def _notebook(cells: tuple[Cell, ...]) -> dict[str, Any]:
    """Return a notebook without outputs, the same each time."""
    seen: Counter[str] = Counter()
    made = []
    for cell in cells:
        digest = hashlib.sha256(cell["source"].encode()).hexdigest()[:8]
        seen[digest] += 1
        extra: Cell = {"execution_count": None, "outputs": []}
        made.append(
            {
                **copy.deepcopy(cell),
                "id": f"{digest}-{seen[digest]}",
                **(extra if cell["cell_type"] == "code" else {}),
            }
        )
    return {"cells": made, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5}


def _grade_id(cell: Cell) -> str:
    return str(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))


def _kind(cell: Cell) -> str:
    """Return ``"answer"``, ``"checks"``, ``"setup"`` or, for all else, ``""``."""
    marks = cell["metadata"].get("nbgrader", {})
    if marks.get("solution"):
        return "answer"
    if marks.get("grade"):
        return "checks"
    return "setup" if marks.get("grade_id") == "setup" else ""


def _stub(region: re.Match[str]) -> str:
    return _STUB.format(region["indent"]) + "\n"


def _function(cell: Cell) -> str:
    """Return the name of the first function in a cell, or nothing."""
    nodes = ast.parse(cell["source"]).body
    return next((n.name for n in nodes if isinstance(n, ast.FunctionDef)), "")


def _part(cell: Cell, hidden: bool) -> Part:
    """Return the checks of a cell."""
    marks = cell["metadata"]["nbgrader"]
    whole = cell["source"]
    code = whole if hidden else _HIDDEN.sub("", whole)
    title = whole.splitlines()[0].lstrip("# ").rstrip(".")
    points = float(marks["points"])
    return Part(
        marks["grade_id"], title, points, code if ast.parse(code).body else None
    )


def _check(sheet: Sheet) -> None:
    """Refuse a source that could not be graded.

    Raises
    ------
    ValueError
        If so.
    """
    names = Counter(_grade_id(cell) for cell in sheet.cells if _kind(cell))
    if names["setup"] != 1:
        raise ValueError(
            f"{sheet.name} has {names['setup']} cells with the grade_id 'setup', "
            "expected one: the imports and data that all checks share."
        )
    twice = sorted(name for name, n in names.items() if n > 1)
    if twice:
        raise ValueError(f"{sheet.name} has the grade_id {twice[0]!r} more than once.")
    question = ""
    for cell in sheet.cells:
        kind, name = _kind(cell), _grade_id(cell)
        if kind and cell["metadata"]["nbgrader"].get("schema_version") != 3:
            raise ValueError(
                f"cell {name!r} of {sheet.name} has not the schema_version 3 of "
                "nbgrader's metadata."
            )
        if kind == "answer":
            question = name
            _check_answer(sheet.name, cell)
        if kind == "checks":
            _check_part(sheet.name, cell, question)


def _check_answer(sheet: str, cell: Cell) -> None:
    """Refuse an answer without a function or without a solution to take out.

    Raises
    ------
    ValueError
        If so.
    """
    name = _grade_id(cell)
    if not _function(cell):
        raise ValueError(f"cell {name!r} of {sheet} defines no function to grade.")
    begun = cell["source"].count("### BEGIN SOLUTION")
    if not begun or begun != len(_SOLUTION.findall(cell["source"])):
        raise ValueError(
            f"cell {name!r} of {sheet} has {begun} lines '### BEGIN SOLUTION', "
            "expected one or more, each with its '### END SOLUTION'."
        )


def _check_part(sheet: str, cell: Cell, question: str) -> None:
    """Refuse checks that belong to no question, have no title or no points.

    Raises
    ------
    ValueError
        If so.
    """
    name, source = _grade_id(cell), cell["source"]
    if not question or not name.startswith(f"{question}-"):
        raise ValueError(
            f"cell {name!r} of {sheet} stands below question {question!r}: its "
            f"grade_id must begin with '{question}-'."
        )
    if not source.startswith("# "):
        raise ValueError(
            f"cell {name!r} of {sheet} must begin with a comment, its title."
        )
    if not cell["metadata"]["nbgrader"].get("points", 0) > 0:
        raise ValueError(f"cell {name!r} of {sheet} has no points.")
    if source.count("### BEGIN HIDDEN TESTS") != len(_HIDDEN.findall(source)):
        raise ValueError(f"cell {name!r} of {sheet} lacks an '### END HIDDEN TESTS'.")
