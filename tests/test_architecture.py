"""The shape of the library: sizes, names, imports, and a page for each room."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import stlearnkit
from stlearnkit.conventions import AXES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "stlearnkit"
FILES = sorted(PACKAGE.rglob("*.py"))
PUBLIC = [
    path
    for path in FILES
    if "/_" not in path.relative_to(ROOT).as_posix().replace("/__init__", "")
    and path != PACKAGE / "__init__.py"
]
ROOMS = [room for room in stlearnkit.__all__ if not room.startswith("_")]
HEAVY = {
    "SimpleITK",
    "anndata",
    "lightning",
    "ot",
    "pandas",
    "plotly",
    "scanpy",
    "scipy",
    "skimage",
    "sklearn",
    "spatialdata",
    "squidpy",
    "timm",
    "torch",
    "torch_geometric",
}

MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 40
MAX_NAMES = 8


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def code_lines(function: ast.FunctionDef) -> int:
    """Count the lines of a function without its docstring."""
    docstring = ast.get_docstring(function, clean=False)
    length = function.end_lineno - function.lineno + 1
    return length - (len(docstring.splitlines()) if docstring else 0)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_file_fits_on_a_few_screens(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for function in functions(ast.parse(text)):
        assert code_lines(function) <= MAX_FUNCTION_LINES, function.name


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_shapes_use_the_closed_list_of_axis_words(path):
    shapes = re.findall(
        r'\b[A-Z]\w+\[(?:np\.ndarray|torch\.Tensor), "([^"]*)"\]',
        path.read_text(),
    )
    for shape in shapes:
        words = {w for w in shape.split() if not w.isdigit() and w not in ("...", "_")}
        assert words <= set(AXES), shape


def test_rooms_are_the_public_modules():
    files = {path.stem for path in PACKAGE.glob("*.py") if path.stem[0] != "_"}
    packages = {path.parent.name for path in PACKAGE.glob("[!_]*/__init__.py")}
    assert set(ROOMS) == files | packages


@pytest.mark.parametrize("room", ROOMS)
def test_room_has_few_names_a_docstring_tests_and_a_page(room):
    module = import_module(f"stlearnkit.{room}")
    # A catalogue grows with what it lists.
    assert len(module.__all__) <= MAX_NAMES or room == "datasets"
    assert all(hasattr(module, name) for name in module.__all__)
    assert 'chapter "' in " ".join(module.__doc__.split())
    assert (
        f"automodule:: stlearnkit.{room}"
        in (ROOT / "book" / "api" / f"{room}.md").read_text()
    )
    assert f"book/api/{room}\n" in (ROOT / "_toc.yml").read_text()
    assert f"stlearnkit.{room}\n" in (ROOT / "book" / "api" / "index.md").read_text()


@pytest.mark.parametrize("path", PUBLIC, ids=relative)
def test_public_module_has_its_tests(path):
    room = path.parent.name if path.stem == "__init__" else path.stem
    assert (ROOT / "tests" / f"test_{room}.py").exists()


def test_public_names_are_the_ones_written_down():
    lines = []
    for path in PUBLIC:
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        names = import_module(f"stlearnkit.{module}").__all__
        lines.append(f"{module}: {' '.join(names)}")
    written = (ROOT / "tests" / "public_names.txt").read_text().splitlines()
    assert sorted(lines) == written


def test_import_of_the_package_loads_nothing_heavy():
    code = "import sys, stlearnkit; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "stlearnkit" in loaded
    assert HEAVY.isdisjoint(loaded)


def test_unknown_room_lists_the_rooms():
    with pytest.raises(AttributeError, match=r"no room 'slices'\. Rooms: benchmark,"):
        stlearnkit.slices  # noqa: B018
    assert set(ROOMS) <= set(dir(stlearnkit))
