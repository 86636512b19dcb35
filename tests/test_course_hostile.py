"""What a submission may do, it does to itself alone."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from course_toys import submission, toy_cells, write_source

from stlearnkit.course import Limits, Result, grade, release
from stlearnkit.course import _process as process
from stlearnkit.course._confine import version
from stlearnkit.course._process import Child, Stopped
from stlearnkit.course._wire import WireError

GOOD = "import numpy as np\n\ndef double(x):\n    return 2 * x"
TOTAL = "def total(values):\n    return values.sum()"
MARK = f"GRADED_BY_{os.getpid()}"  # other tests grade at the same time
LIMITS = Limits(call_s=5, total_s=120, memory_mb=700, file_mb=1)

# Each is the cell that answers question 1, and what becomes of it.
HOSTILE = {
    "loops for ever": ("def double(x):\n    while True:\n        pass", "time"),
    "loops below Python": ("def double(x):\n    return sum(range(10**12))", "time"),
    "exhausts memory": (
        "def double(x):\n    kept = []\n"
        "    while True:\n        kept.append(bytes(10**8))",
        "raised",
    ),
    "exits": ("import sys\n\ndef double(x):\n    sys.exit(0)", "raised"),
    "exits at once": ("import os\n\ndef double(x):\n    os._exit(0)", "died"),
    "exits while it is read": (
        "import os\nEND = os._exit(0)\n\ndef double(x):\n    return END",
        "died",
    ),
    "crashes": (
        "import ctypes\n\ndef double(x):\n    ctypes.string_at(0)",
        "died",
    ),
    "recurses": ("def double(x):\n    return double(x)", "raised"),
    "prints megabytes": (
        "def double(x):\n    print('x' * 5_000_000)\n    return 2 * x",
        "passed",
    ),
    "writes outside": (
        "def double(x):\n    open('{outside}', 'w').write('here')\n    return 2 * x",
        "raised",
    ),
    "removes outside": (
        "import os\n\ndef double(x):\n    os.remove('{kept}')\n    return 2 * x",
        "raised",
    ),
    "moves outside": (
        "import os\n\ndef double(x):\n    open('a', 'w').close()\n"
        "    os.rename('a', '{outside}')\n    return 2 * x",
        "raised",
    ),
    "writes inside": (
        "def double(x):\n    open('mine', 'w').write('here')\n    return 2 * x",
        "passed",
    ),
    "has temporary files": (
        "import tempfile\n\ndef double(x):\n"
        "    with tempfile.TemporaryFile() as file, tempfile.TemporaryDirectory():\n"
        "        file.write(b'here')\n    return 2 * x",
        "passed",
    ),
    "fills the disk": (
        "def double(x):\n    open('mine', 'w').write('x' * 10**7)\n    return 2 * x",
        "raised",
    ),
    "shadows modules": (
        "import os\n\ndef double(x):\n"
        "    for name in ('numpy', 'socket', 'json', 'sitecustomize'):\n"
        "        open(name + '.py', 'w').write('raise SystemExit')\n    os._exit(0)",
        "died",
    ),
    "patches the checks": (
        "import numpy as np\nimport builtins\n"
        "import stlearnkit.course._parts as parts\n"
        "\ndef double(x):\n    parts.run = lambda *_: parts.Outcome('passed')\n"
        "    np.testing.assert_allclose = lambda *_, **__: None\n"
        "    builtins.abs = builtins.all = lambda *_: True\n    return 7.0",
        "failed",
    ),
    "is equal to all": (
        "class Yes(float):\n    def __eq__(self, other):\n        return True\n"
        "    __hash__ = float.__hash__\n\ndef double(x):\n    return Yes(7)",
        "failed",
    ),
    "forges replies": (
        "import os\nfrom stlearnkit.course._wire import pack\n\ndef double(x):\n"
        "    for number in range(3, 999):\n        try:\n"
        "            os.write(number, pack({'call': 99, 'value': 2 * x}))\n"
        "        except OSError:\n            pass\n    return 2 * x",
        "died",
    ),
    "talks rubbish": (
        "import os\n\ndef double(x):\n    for number in range(3, 999):\n        try:\n"
        "            os.write(number, b'rubbish' * 100)\n"
        "        except OSError:\n            pass\n    return 2 * x",
        "died",
    ),
    "forks": ("import os\n\ndef double(x):\n    os.fork()\n    return 2 * x", "raised"),
    "starts a program": (
        "import subprocess\n\ndef double(x):\n    subprocess.run(['sleep', '600'])",
        "raised",
    ),
    "leaves a child": (
        "import ctypes, os, time\n\ndef double(x):\n    libc = ctypes.CDLL(None)\n"
        "    if libc.fork() == 0:\n        os.setsid()\n        time.sleep(600)\n"
        "    return 2 * x",
        "passed",
    ),
    "leaves a child and goes": (
        "import ctypes, os, time\n\ndef double(x):\n    libc = ctypes.CDLL(None)\n"
        "    if libc.fork() == 0:\n        os.setsid()\n        time.sleep(600)\n"
        "    os._exit(0)",
        "died",
    ),
    "kills its parent": (
        "import os\n\ndef double(x):\n    os.kill(os.getppid(), 9)\n    return 2 * x",
        "raised",
    ),
    "calls home": (
        "import socket\n\ndef double(x):\n"
        "    socket.create_connection(('127.0.0.1', 9))\n    return 2 * x",
        "raised",
    ),
    "returns a thing": ("def double(x):\n    return object()", "unsendable"),
    "returns too much": (
        "import numpy as np\n\ndef double(x):\n    return np.zeros(3_000_000)",
        "unsendable",
    ),
    "returns a well": (
        "def double(x):\n    well = []\n    for _ in range(10**5):\n"
        "        well = [well]\n    return well",
        "unsendable",
    ),
    "returns an ocean": ("def double(x):\n    return 10**5000", "died"),
    "raises its own": (
        "class Odd(BaseException):\n    def __str__(self):\n        raise self\n\n"
        "def double(x):\n    raise Odd",
        "raised",
    ),
    "is no Python": ("def double(x):\n    return 2 x", "missing"),
    "is no function": ("double = 4", "missing"),
    "has another name": ("def Double(x):\n    return 2 * x", "missing"),
}
UNREADABLE = {
    "broken": b'{"cells": [',
    "empty": b"",
    "no notebook": b'{"a": 1}',
    "a list": b"[1, 2]",
    "a well": b"[" * 10**6,
    "not text": b"\xff\xfe\x00\x01",
    "odd cells": b'{"cells": [3]}',
    "odd source": b'{"cells": [{"cell_type": "code", "source": [1]}]}',
    "half a character": b'{"cells": [{"cell_type": "code", "source": "\\ud800"}]}',
    "too large": b" " * 20_000_001,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "kept").write_text("kept")
    cells = [cell for cell in toy_cells() if "Nothing at all" not in cell["source"]]
    release(write_source(folder, cells), hidden=folder / "hidden")
    return folder


@pytest.fixture(scope="module")
def results(folder) -> dict[str, Result]:
    """All hostile submissions, graded in one go with a good one."""
    submitted = folder / "submitted"
    submitted.mkdir()
    places = {"{outside}": str(folder / "outside"), "{kept}": str(folder / "kept")}
    for name, (answer, _) in HOSTILE.items():
        for mark, place in places.items():
            answer = answer.replace(mark, place)
        (submitted / f"{name}.ipynb").write_text(submission(answer, TOTAL))
    for name, content in UNREADABLE.items():
        (submitted / f"file {name}.ipynb").write_bytes(content)
    (submitted / "zoe.ipynb").write_text(submission(GOOD, TOTAL))
    out, hidden = folder / "out", folder / "hidden"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_TOKEN", MARK)
        book = grade("toys", submitted, out, hidden=hidden, limits=LIMITS)
    return {result.student: result for result in book.results}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_submission_scores_only_itself(results, name):
    hand, total = results[name].parts
    assert hand.status == HOSTILE[name][1], hand.message
    assert hand.points == (2 if HOSTILE[name][1] == "passed" else 0)
    assert total.status == "passed", total.message
    assert total.points == 2


@pytest.mark.parametrize("name", UNREADABLE)
def test_file_that_is_no_notebook_scores_nothing(results, name):
    result = results[f"file {name}"]
    assert {part.status for part in result.parts} == {"unreadable"}
    assert (result.points, result.possible) == (0, 4)
    assert "no notebook that can be read" in result.page()


def test_all_are_graded_and_have_a_page(results, folder):
    assert results["zoe"].points == results["zoe"].possible == 4
    assert len(results) == len(HOSTILE) + len(UNREADABLE) + 1
    book = json.loads((folder / "out" / "gradebook.json").read_text())
    assert len(book["results"]) == len(results)
    rows = (folder / "out" / "gradebook.csv").read_text().splitlines()
    assert len(rows) == len(results) + 1
    for name in results:
        assert (folder / "out" / "feedback" / f"{name}.md").is_file()


def test_nothing_was_written_or_removed_elsewhere(results, folder):
    assert not (folder / "outside").exists()
    assert (folder / "kept").read_text() == "kept"


def test_no_process_is_left(results):
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            assert f"{MARK}=".encode() not in entry.read_bytes()
        except OSError:
            continue  # it ended while we looked


def test_below_python_the_kernel_holds_where_it_can(tmp_path):
    # Where it cannot, this is what the documentation says is not held.
    target, secret = tmp_path / "target", tmp_path / "secret"
    secret.write_text("secret")
    break_out = (
        "import ctypes, os\n\n"
        "def write(path):\n"
        "    return ctypes.CDLL(None).open(path.encode(), os.O_CREAT | os.O_WRONLY)\n\n"
        "def signal():\n"
        "    return ctypes.CDLL(None).kill(os.getppid(), 0)\n\n"
        "def look(path):\n"
        "    return open(path).read()"
    )
    with Child([break_out], LIMITS) as child:
        assert (child.function("write")(str(target)) == -1) == (version() >= 1)
        assert (child.function("signal")() == -1) == (version() >= 6)
        try:
            seen = child.function("look")(str(secret))
        except PermissionError:
            seen = ""
        assert (seen == "") == (version() >= 1)


def test_time_for_all_is_limited_too():
    sleepy = "import time\n\ndef sleepy():\n    time.sleep(600)"
    with Child([sleepy], Limits(call_s=50, total_s=3)) as child:
        with pytest.raises(Stopped, match="sleepy did not return within"):
            child.function("sleepy")()
        with pytest.raises(Stopped, match="The 3 s for all are used up"):
            child.function("sleepy")()


def test_arguments_and_results_come_through_as_they_are():
    values = [
        *(None, True, 3, 2.5, float("inf"), "text", (1, (2.0, "b")), [1, [2]]),
        {"a": 1, 2: (3, 4), (1, 2): None},
        np.arange(6).reshape(2, 3),
        np.array(["C2", "C3"]),
        np.zeros((0, 4)),
        np.array([True, False]),
        np.float32(0.5),
    ]
    with Child(["def same(*values, key=None):\n    return values"], LIMITS) as child:
        found = child.function("same")(*values, key="word")
    assert isinstance(found, tuple)
    for before, after in zip(values, found, strict=True):
        assert type(after) is type(before)
        assert np.all(after == before)
        for attribute in ("dtype", "shape"):
            assert getattr(after, attribute, 0) == getattr(before, attribute, 0)


def test_a_check_that_sends_what_cannot_be_sent_is_told_apart():
    with (
        Child(["def same(x):\n    return x"], LIMITS) as child,
        pytest.raises(WireError, match="a value of type set cannot be sent"),
    ):
        child.function("same")({1, 2})


def test_errors_of_python_come_through_with_their_place():
    picky = "def picky(x):\n    if x < 0:\n        raise ValueError('x is negative')"
    with Child(["y = 1", picky], LIMITS) as child:
        with pytest.raises(ValueError, match="x is negative") as caught:
            child.function("picky")(-1)
        assert caught.value.__notes__ == ["line 3 of cell 2"]
        assert child.function("picky")(1) is None


def test_only_what_an_answer_needs_is_run():
    cells = [
        "import numpy as np\nimport no_such_package",
        "%matplotlib inline\nside = 3\nraise SystemExit('not needed')",
        "%%time\nside = 4",
        "def helper(x):\n    loaded = x * side\n    return loaded",
        "loaded = open('/etc/hostname-that-is-not-there')",
        "def answer(x):\n    !ls\n    return helper(np.add(x, 1))",
    ]
    with Child(cells, LIMITS) as child:
        assert child.function("answer")(1.0) == 6.0


def test_the_last_definition_counts_as_in_a_notebook():
    cells = [
        "def f():\n    return 1",
        "def f():\n    return g()",
        "def g():\n    return 3",
    ]
    with Child(cells, LIMITS) as child:
        assert child.function("f")() == 3


def test_why_an_answer_is_missing_is_told():
    cells = ["x = (", "y = 1 / 0\n\ndef f():\n    return y"]
    with Child(cells, LIMITS) as child:
        with pytest.raises(NameError) as caught:
            child.function("f")()
        assert (
            "Cell 1 is left out: '(' was never closed, line 1" in caught.value.__notes__
        )
        assert any("ZeroDivisionError" in note for note in caught.value.__notes__)
        with pytest.raises(Stopped, match=r"g is not defined. Cell 1 is left out"):
            child.function("g")()
