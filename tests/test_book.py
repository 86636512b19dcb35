"""The rules of the book, on its sources and on the notebooks that are committed.

They are written for authors in CONTRIBUTING.md, section "Chapters".
"""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
import yaml
from nbformat import NotebookNode

import stlearnkit

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
SOURCES = sorted((BOOK / "chapters").glob("[0-9][0-9]_*.md"))
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
URL = CONFIG["repository"]["url"]

SPINE = [
    "A tiny example",
    "The maths",
    "From scratch",
    "With the library",
    "On real sections",
    "Verdict",
    "Summary",
    "Check yourself",
    "Exercises",
    "References",
]
FIRST_CELL = """\
import sys

if "google.colab" in sys.modules:  # Colab's own numpy and torch are kept
    !pip list --format=freeze | grep -E "^(numpy|torch|torchvision)==" > held.txt
    %pip install -q -c held.txt "stlearnkit @ git+{url}@v{version}"

import stlearnkit as stk

stk.environment.report(cpu_minutes={cpu}, gpu_minutes={gpu})"""
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}

MAX_NOTEBOOK_BYTES = 500_000
MAX_CELL_LINES = 30
MAX_SCRATCH_LINES = 20
MAX_LINE_LENGTH = 88
MAX_CPU_MINUTES = 3
MAX_GPU_MINUTES = 5
# What tables of chapters may quote of the benchmarks: their scores, to three decimals.
BENCHMARK_NUMBERS = {
    f"{float(number):.3f}"
    for section in (ROOT / "benchmarks" / "README.md").read_text().split("\n## ")
    if section.startswith(("Models:", "Trials:"))
    for number in re.findall(r"\d+\.\d{3,4}\b", section)
}


class Chapter:
    """One chapter: its source, its executed notebook, and its parts by heading."""

    def __init__(self, path: Path):
        self.path = path
        self.text = path.read_text()
        self.source = jupytext.read(path)
        self.notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
        self.title = re.search(r"^# (.+)$", self.text, re.MULTILINE)[1]

    @property
    def code(self) -> list[NotebookNode]:
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]

    @property
    def prose(self) -> str:
        cells = [c.source for c in self.notebook.cells if c.cell_type == "markdown"]
        return "\n\n".join(cells)

    @property
    def headings(self) -> list[str]:
        return re.findall(r"^## (.+)$", without_fences(self.prose), re.MULTILINE)

    def part(self, heading: str) -> list[NotebookNode]:
        """Return the cells below a heading of the spine."""
        cells, inside = [], False
        for cell in self.notebook.cells:
            if cell.cell_type == "markdown":
                for line in re.findall(r"^## (.+)$", cell.source, re.MULTILINE):
                    inside = line.split(":")[0] == heading
            if inside:
                cells.append(cell)
        return cells

    def part_text(self, heading: str) -> str:
        """Return the prose from a heading of the spine to the next heading."""
        pattern = rf"^## {re.escape(heading)}(?::.*)?$(.*?)(?=^## |\Z)"
        return re.search(pattern, self.prose, re.MULTILINE | re.DOTALL)[1]


def without_fences(text: str) -> str:
    """Drop fenced blocks, directives included."""
    return re.sub(r"^(`{3,}|:{3,}).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def images(cell: NotebookNode) -> int:
    return sum(
        any(mime.startswith("image/") for mime in output.get("data", {}))
        for output in cell.outputs
    )


def printed(cell: NotebookNode) -> str:
    """Return the text that a cell gave."""
    return "".join(
        output.get("text", "") or output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    )


@pytest.fixture(scope="module", params=SOURCES, ids=lambda path: path.stem)
def chapter(request) -> Chapter:
    return Chapter(request.param)


# The book as a whole


def test_toc_lists_the_executed_notebook_of_each_chapter_in_order():
    toc = (ROOT / "_toc.yml").read_text()
    listed = re.findall(r"file: book/chapters/(\S+)", toc)
    assert listed == [path.with_suffix(".ipynb").name for path in SOURCES]
    assert len(SOURCES) >= 4


def test_start_page_links_every_chapter():
    page = (BOOK / "index.md").read_text()
    assert re.findall(r":link: chapters/(\S+)", page) == [p.stem for p in SOURCES]
    for path in SOURCES:
        assert Chapter(path).title in page


def test_repository_url_is_the_same_everywhere():
    files = ["pyproject.toml", "CITATION.cff", "README.md", "CONTRIBUTING.md"]
    for path in [*(ROOT / name for name in files), *SOURCES]:
        found = re.findall(r"https://github\.com/[\w-]+/stlearnkit\b", path.read_text())
        assert found, f"{path.name} does not name the repository"
        assert set(found) == {URL}, path.name


def test_labels_are_unique_in_the_book():
    text = "".join(path.read_text() for path in SOURCES)
    labels = re.findall(r"^:label: (\S+)|^\((\S+)\)=$|^ +name: (fig-\S+)", text, re.M)
    names = ["".join(groups) for groups in labels]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)


def test_execution_is_off_and_colab_is_on():
    assert CONFIG["execute"]["execute_notebooks"] == "off"
    assert CONFIG["launch_buttons"] == {
        "colab_url": "https://colab.research.google.com"
    }


# A chapter and its notebook


def test_notebook_is_the_executed_source(chapter):
    def cells(notebook):
        return [(c.cell_type, c.source, dict(c.metadata)) for c in notebook.cells]

    assert cells(chapter.notebook) == cells(chapter.source)


def test_notebook_ran_from_top_to_bottom_in_a_fresh_kernel(chapter):
    counts = [cell.execution_count for cell in chapter.code]
    assert counts == list(range(1, len(counts) + 1))


def test_notebook_has_no_error_warning_or_place_in_its_outputs(chapter):
    for cell in chapter.code:
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", output.text
        place = re.search(rf"/(home|root|tmp|Users)/|{ROOT.parent}/", printed(cell))
        assert place is None, printed(cell)


def test_notebook_is_small_and_its_kernel_is_python3(chapter):
    assert chapter.path.with_suffix(".ipynb").stat().st_size <= MAX_NOTEBOOK_BYTES
    assert chapter.notebook.metadata.kernelspec == KERNELSPEC
    assert chapter.source.metadata.kernelspec == KERNELSPEC
    assert chapter.notebook.metadata.language_info.name == "python"


def test_code_cells_are_short_and_tidy(chapter):
    for cell in chapter.code:
        lines = cell.source.splitlines()
        assert 0 < len(lines) <= MAX_CELL_LINES, cell.source
        assert max(map(len, lines)) <= MAX_LINE_LENGTH or cell is chapter.code[0]
        assert not any(line.rstrip().endswith(";") for line in lines), cell.source
    for cell in chapter.part("From scratch"):
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= MAX_SCRATCH_LINES, cell.source


# The first cell


def test_first_cell_is_that_of_every_chapter(chapter):
    first = chapter.code[0]
    minutes = r"cpu_minutes=([\d.]+), gpu_minutes=([\d.]+)\)$"
    cpu, gpu = re.search(minutes, first.source).groups()
    assert first.source == FIRST_CELL.format(
        url=URL, version=stlearnkit.__version__, cpu=cpu, gpu=gpu
    )
    assert tags(first) == ["hide-cell"]
    assert float(cpu) <= MAX_CPU_MINUTES
    assert float(gpu) <= MAX_GPU_MINUTES
    told = rf"\*\*Time:\*\* about {cpu} min on two CPU cores, {gpu} min on a GPU"
    assert re.search(told, chapter.prose)


def test_nothing_is_installed_after_the_first_cell(chapter):
    for cell in chapter.code[1:]:
        assert not re.search(r"^\s*[%!].*(pip|conda|apt)", cell.source, re.MULTILINE)


def test_promised_minutes_cover_the_measured_ones(chapter):
    table = (BOOK / "chapters" / "run_times.csv").read_text()
    row = rf"^{chapter.path.stem},2 CPU cores,(\d+)$"
    seconds = int(re.search(row, table, re.MULTILINE)[1])
    promised = float(re.search(r"cpu_minutes=([\d.]+)", chapter.code[0].source)[1])
    assert seconds <= promised * 60


# The spine


def test_spine_is_complete_and_in_order(chapter):
    named = [heading.split(":")[0] for heading in chapter.headings]
    assert [heading for heading in named if heading in SPINE] == SPINE
    assert named[-1] == "References"


def test_chapter_opens_with_what_a_reader_needs_to_know(chapter):
    opening = chapter.prose.split("\n## ")[0]
    box = re.search(
        r"^```\{admonition\} What you will learn\n:class: objectives\n(.*?)^```$",
        opening,
        re.MULTILINE | re.DOTALL,
    )
    assert box, "no box 'What you will learn'"
    assert len(re.findall(r"^- ", box[1], re.MULTILINE)) >= 2
    for word in ["Before you start:", "Time:", "Download:", "Memory:"]:
        assert f"**{word}**" in box[1]


def test_scratch_and_library_are_asserted_to_agree(chapter):
    code = [c.source for c in chapter.part("With the library") if c.cell_type == "code"]
    assert any(re.search(r"^\s*assert |assert_\w+\(", c, re.MULTILINE) for c in code)


def test_exercises_have_dropdown_solutions(chapter):
    text = chapter.prose
    exercises = re.findall(
        r"^`{3,}\{exercise(?:-start)?\}.*\n:label: (ex-\S+)$", text, re.MULTILINE
    )
    solutions = re.findall(
        r"^`{3,}\{solution(?:-start)?\} (\S+)\n:class: dropdown$", text, re.MULTILINE
    )
    assert len(exercises) >= 2
    assert solutions == exercises


def test_reader_can_check_himself(chapter):
    part = chapter.part_text("Check yourself")
    assert len(re.findall(r"^`{3,}\{dropdown\} .+\?$", part, re.MULTILINE)) >= 3


def test_references_are_those_that_the_chapter_cites(chapter):
    assert chapter.part_text("References").strip() == "```{footbibliography}\n```"
    assert re.search(r"\{footcite:[pt]\}`\w+`", chapter.prose)
    assert not re.search(r"\{(cite\b|bibliography)", chapter.prose)


def test_links_to_other_chapters_lead_to_chapters(chapter):
    for target in re.findall(r"\]\(([^)\s:]+\.(?:ipynb|md))\)", chapter.prose):
        assert (chapter.path.parent / target).exists(), target


# Figures


def test_each_figure_has_alt_text_a_caption_and_a_name(chapter):
    for cell in chapter.code:
        if not images(cell):
            continue
        assert images(cell) == 1, f"more than one image:\n{cell.source}"
        figure = cell.metadata.get("mystnb", {})
        alt = " ".join(figure.get("image", {}).get("alt", "").split())
        assert 20 <= len(alt) <= 300, f"alt text {alt!r} of\n{cell.source}"
        assert figure["figure"]["caption"].strip()
        assert figure["figure"]["name"].startswith("fig-")


def test_images_in_prose_have_alt_text(chapter):
    assert "![](" not in chapter.prose
    assert "<img" not in chapter.prose
    directive = r"^(`{3,}|:{3,})\{(?:figure|image)\}.*?\n(.*?)^\1$"
    for _, body in re.findall(directive, chapter.prose, re.MULTILINE | re.DOTALL):
        assert re.search(r"^:alt: .{20,}$", body, re.MULTILINE), body


# Numbers


def test_checked_cells_print_text(chapter):
    checked = [cell for cell in chapter.code if "nbval-check-output" in tags(cell)]
    assert len(checked) >= 3
    for cell in checked:
        assert printed(cell).strip(), cell.source
        assert not images(cell), cell.source


def test_no_cell_escapes_the_test(chapter):
    allowed = {
        "hide-cell",
        "hide-input",
        "hide-output",
        "nbval-check-output",
        "nbval-ignore-output",
    }
    for cell in chapter.code:
        assert set(tags(cell)) <= allowed, cell.source
        assert "NBVAL" not in cell.source


def test_quoted_decimals_are_printed_by_checked_cells(chapter):
    printed_numbers = {
        number
        for cell in chapter.code
        if "nbval-check-output" in tags(cell)
        for number in re.findall(r"\d+\.\d+", printed(cell))
    }
    prose = re.sub(r"\$\$.*?\$\$|\$[^$\n]*\$|`[^`\n]*`", "", chapter.prose, flags=re.S)
    for paragraph in without_fences(prose).split("\n\n"):
        if "{footcite:" in paragraph:
            continue
        quoted = set(re.findall(r"(?<![\w.])\d+\.\d\d+(?![\w.]\d)", paragraph))
        if paragraph.lstrip().startswith("|"):  # a table may be of the benchmarks
            quoted -= BENCHMARK_NUMBERS
        assert quoted <= printed_numbers, (quoted - printed_numbers, paragraph)


# Library and book


def _rooms_and_chapters() -> list[tuple[str, str]]:
    """Return (module, title of its chapter) for all modules that name one."""
    named = []
    for path in sorted((ROOT / "stlearnkit").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        found = re.search(r'[Cc]hapter\s+"([^"]+)"', path.read_text())
        if found and not path.name.startswith("_"):
            named.append((module, " ".join(found[1].split())))
    return named


@pytest.mark.parametrize(("module", "title"), _rooms_and_chapters())
def test_chapter_that_a_room_names_exists_and_links_back(module, title):
    chapters = {each.title: each for each in map(Chapter, SOURCES)}
    assert title in chapters
    assert f"{{mod}}`stlearnkit.{module.removeprefix('stlearnkit.')}`" in (
        chapters[title].prose
    )
