"""The maker of notebooks, run as `make notebooks` runs it, on small chapters."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

MAKER = Path(__file__).parents[1] / "book" / "make_notebooks.py"
CHAPTER = """\
# A small chapter

```{code-cell} ipython3
:tags: [nbval-check-output]

print("one")
print(1 + 1)
```

```{code-cell} ipython3
print("one")
```
"""


def command(folder: Path, *names: str) -> list[str]:
    return [sys.executable, str(MAKER), "--folder", str(folder), *names]


def make(folder: Path, *names: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(folder, *names), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with two chapters, made once, and what the maker said."""
    folder = tmp_path_factory.mktemp("chapters")
    for name in ["01_small", "02_other"]:
        (folder / f"{name}.md").write_text(CHAPTER)
    return folder, make(folder)


@pytest.fixture
def folder(made, tmp_path):
    """Return a copy of that folder."""
    return Path(shutil.copytree(made[0], tmp_path / "chapters"))


def wait_for(path: Path, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not appear"
        time.sleep(0.05)


def test_notebook_holds_source_tags_and_outputs(made):
    folder, done = made
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        "01_small.ipynb",
        "02_other.ipynb",
    ]
    notebook = nbformat.read(folder / "01_small.ipynb", as_version=4)
    nbformat.validate(notebook)
    heading, first, second = notebook.cells
    assert heading.source == "# A small chapter"
    assert first.metadata == {"tags": ["nbval-check-output"]}
    assert [output.text for output in first.outputs] == ["one\n2\n"]
    assert (first.execution_count, second.execution_count) == (1, 2)
    assert second.metadata == {}


def test_remaking_one_chapter_gives_the_same_file_and_leaves_the_others(folder):
    first, other = folder / "01_small.ipynb", folder / "02_other.ipynb"
    before = first.read_bytes()
    first.write_bytes(b"old")
    first.with_suffix(".ipynb.part").write_bytes(before[:100])  # a kill while writing
    other.write_bytes(b"untouched")
    assert make(folder, "01_small").returncode == 0
    assert first.read_bytes() == before
    assert not first.with_suffix(".ipynb.part").exists()
    assert other.read_bytes() == b"untouched"
    head, *rows = (folder / "run_times.csv").read_text().splitlines()
    assert head == "chapter,device,seconds"
    assert [row.split(",")[0] for row in rows] == ["01_small", "02_other"]


def test_unknown_chapter_lists_the_chapters(folder):
    done = make(folder, "03_missing")
    assert done.returncode == 1
    assert "no chapter 03_missing in" in done.stderr
    assert "Chapters: 01_small, 02_other." in done.stderr


def test_failing_cell_leaves_the_old_notebook(folder):
    before = (folder / "01_small.ipynb").read_bytes()
    (folder / "01_small.md").write_text(CHAPTER.replace("1 + 1", "1 / 0"))
    done = make(folder)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert (folder / "01_small.ipynb").read_bytes() == before


def test_kill_while_a_cell_runs_loses_nothing(folder):
    before = (folder / "01_small.ipynb").read_bytes()
    slow = 'open("started", "w").close(); import time; time.sleep(60)\nprint("new")'
    source = CHAPTER.replace('print("one")\nprint(1 + 1)', slow)
    assert source != CHAPTER
    (folder / "01_small.md").write_text(source)

    maker = subprocess.Popen(command(folder, "01_small"), stderr=subprocess.DEVNULL)
    wait_for(folder / "started")
    os.kill(maker.pid, signal.SIGKILL)
    assert maker.wait() == -signal.SIGKILL
    assert (folder / "01_small.ipynb").read_bytes() == before

    (folder / "01_small.md").write_text(source.replace("sleep(60)", "sleep(0)"))
    assert make(folder, "01_small").returncode == 0
    after = nbformat.read(folder / "01_small.ipynb", as_version=4)
    assert after.cells[1].outputs[0].text == "new\n"


SOLVED = """\
# A chapter with exercises

```{code-cell} ipython3
secret = 6
```

```{exercise} Twice
:label: ex-twice

Double it.
```

````{solution} ex-twice
:class: dropdown

Think first.

```python
double = 2 * secret
print(f"{double = }")
```
````

```{exercise} In words
:label: ex-words

Why?
```

```{solution} ex-words
:class: dropdown

Because.
```

````{exercise} More
:label: ex-more

Add this to it:

```python
more = LAST
```
````

````{solution} ex-more
:class: dropdown

```python
print(double + more)
```
````
"""


@pytest.mark.parametrize(("last", "status"), [("1", 0), ("'one'", 1)])
def test_solutions_run_after_their_chapter(tmp_path, last, status):
    source = tmp_path / "01_solved.md"
    source.write_text(SOLVED.replace("LAST", last))
    script = MAKER.with_name("run_solutions.py")
    done = subprocess.run(
        [sys.executable, str(script), "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert "01_solved, ex-twice: ran\ndouble = 12\n" in done.stdout
    assert "ex-words" not in done.stdout
    if status:
        assert "01_solved, ex-more: failed" in done.stdout
        assert "unsupported operand type" in done.stderr
    else:
        assert "01_solved, ex-more: ran\n13\n" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["01_solved.md"]
