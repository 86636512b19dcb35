"""The README shows what the book's committed notebook printed, and nothing else."""

import re
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from stlearnkit.reports import bootstrap_interval

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CHAPTERS = ROOT / "book" / "chapters"
BENCHMARK = pd.read_csv(ROOT / "benchmarks" / "models.csv")
NOTEBOOK = nbformat.read(CHAPTERS / "04_features_and_the_linear_baseline.ipynb", 4)


def printed(start: str) -> str:
    """Return the output that begins with `start`."""
    texts = (
        output.text
        for cell in NOTEBOOK.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )
    return next(text for text in texts if text.startswith(start))


def table_rows(text: str) -> dict[str, list[float]]:
    """Read a printed table: a name, two spaces or more, numbers."""
    rows = re.findall(r"^(\S.*?\S) +((?:-?\d+\.\d+ *)+)$", text, re.MULTILINE)
    return {name: [float(value) for value in values.split()] for name, values in rows}


def test_scores_are_those_of_the_notebook():
    correlations = printed("per-gene PCC").split("mean squared error")[0]
    expected = {
        name: (f"{mean:.2f} ± {error:.2f}", f"{abs(other):.2f}")
        for name, (*_, mean, error, other) in table_rows(correlations).items()
    }
    block = README.split("<!-- scores -->")[1].split("<!-- /scores -->")[0]
    shown = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", block, re.MULTILINE)[1:]
    ceiling = shown.pop()
    assert {name: (mean, other) for name, mean, other in shown} == expected
    judged = [row[3] for row in verdict("spots with 1 or more")]
    assert ceiling[0] == "noise ceiling"
    assert [float(value) for value in ceiling[1:]] == judged


def verdict(heading: str) -> list[list[float]]:
    """Return the two rows below a heading of the verdict's table."""
    text = printed("spots with 1 or more").split(heading)[1].split("spots with")[0]
    return list(table_rows(text).values())


def test_what_is_left_beyond_library_size_is_that_of_the_notebook():
    stack, patient = verdict("spots with 100 or more")
    sentence = f"ridge keeps {stack[2]:.2f} within\nthe patient and {patient[2]:.2f} on"
    assert sentence in README


def test_tables_of_the_benchmark_are_those_of_its_file(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import tables

    text = (ROOT / "benchmarks" / "README.md").read_text()
    assert f"{tables.START}\n{tables.written()}\n{tables.END}" in text


def of_sections(predictor: str, claim: str) -> "pd.Series[float]":
    """Return a network's PCC for each test section, mean over seeds."""
    rows = BENCHMARK[
        (BENCHMARK["least"] == 1)
        & (BENCHMARK["score"] == "pcc")
        & (BENCHMARK["claim"] == claim)
        & (BENCHMARK["predictor"] == predictor)
    ]
    return rows.groupby("name")["value"].mean()


@pytest.mark.parametrize("predictor", ["ST-Net", "TRIPLEX", "ASIGN", "kriging"])
def test_what_models_reach_is_what_the_benchmark_wrote(predictor):
    within, other = (of_sections(predictor, claim) for claim in ("section", "patient"))
    low, high, _ = bootstrap_interval(within.to_numpy())
    words = " ".join(README.split())
    assert (
        f"reaches {within.mean():.2f} on C2–C6 (95 % bootstrap over sections "
        f"{low:.2f} to {high:.2f}) and {other.item():.2f} on B4"
    ) in words


def test_whom_networks_beat_is_what_the_benchmark_wrote():
    ridge = of_sections("ridge", "section")
    assert (of_sections("ST-Net", "section") < ridge).all()
    words = " ".join(README.split())
    for name in ("TRIPLEX", "ASIGN"):
        gain = of_sections(name, "section") - ridge
        assert (gain > 0).all()
        low, high, _ = bootstrap_interval(gain.to_numpy())
        told = f"{name} by {gain.mean():.3f} on average ({low:.3f} to {high:.3f})"
        assert told in words
        other = of_sections(name, "patient").item()
        assert other < of_sections("ridge", "patient").item()


def test_kriging_is_ahead_of_every_network():
    kriging = of_sections("kriging", "section")
    for name in set(BENCHMARK["predictor"]) - {"kriging"}:
        assert kriging.mean() > of_sections(name, "section").mean()
    for name in ("TRIPLEX", "ASIGN", "TRIPLEX and ASIGN"):
        assert (kriging > of_sections(name, "section")).all()
    assert (
        "ahead of every network on average, and of TRIPLEX, ASIGN and the mean of both "
        "in each of the five sections"
    ) in " ".join(README.split())


def test_the_picture_is_that_of_the_notebook(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "book"), *sys.path])
    import make_notebooks

    for name, picture in make_notebooks.pictures(NOTEBOOK).items():
        assert (CHAPTERS / make_notebooks.PICTURES[name]).read_bytes() == picture
        assert make_notebooks.PICTURES[name] in README


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_links_lead_to_files(path):
    assert (ROOT / path).exists()
