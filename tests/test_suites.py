"""Tests of suites: one definition of what the book's tables call by name."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest

from stlearnkit import suites, synthetic
from stlearnkit.folds import leave_one_section_out
from stlearnkit.imputation import KrigingImputer, PlaceImputer
from stlearnkit.predictors import MeanOf, NetworkPredictor, RidgePredictor

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", suites.COMPETITORS)
def test_every_competitor_has_its_name(name, tmp_path):
    predictor = suites.competitor(name, tmp_path)
    assert predictor.name == name


@pytest.mark.parametrize("name", suites.IMPUTERS)
def test_every_imputer_has_its_name(name):
    assert suites.imputer(name, {"C2": 0.0}).name == name


def test_competitors_are_those_of_the_library():
    assert suites.competitor("ridge") == RidgePredictor()
    triplex = suites.competitor("TRIPLEX, means")
    assert isinstance(triplex, NetworkPredictor)
    assert triplex.model.keywords["config"].asks is False
    assert triplex.n_networks == 4
    both = suites.competitor("TRIPLEX and ASIGN")
    assert isinstance(both, MeanOf)
    assert [part.name for part in both.parts] == ["TRIPLEX", "ASIGN"]


def test_heights_reach_what_needs_them():
    z_um = {"C2": 0.0, "C3": 48.0}
    place = suites.imputer("kriging, no image", z_um)
    assert isinstance(place, PlaceImputer)
    assert place.z_um == z_um
    kriging = suites.imputer("kriging, image and place", z_um)
    assert isinstance(kriging, KrigingImputer)
    assert kriging.placement.z_um == z_um


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="name is 'x', expected one of mean profile;"):
        suites.competitor("x")
    with pytest.raises(ValueError, match="name is 'x', expected one of observed mean;"):
        suites.imputer("x", {})


def test_the_benchmark_of_the_book_leaves_out_sections_and_a_patient():
    suite = suites.her2st()
    assert [fold.name for fold in suite.folds] == ["C2", "C3", "C4", "C5", "C6", "B4"]
    assert [fold.claim for fold in suite.folds] == ["section"] * 5 + ["patient"]
    assert all("B4" not in fold.train for fold in suite.folds)
    assert suite.competitors == suites.COMPETITORS
    assert set(suite.repeated) < set(suite.competitors)


def test_benchmarks_and_their_file_know_the_same_competitors(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import tables

    earlier = {"TRIPLEX, epoch by error"}
    assert set(tables.PREDICTORS) - earlier == set(suites.COMPETITORS)
    written = pd.read_csv(ROOT / "benchmarks" / "models.csv")
    assert set(written["predictor"]) <= set(tables.PREDICTORS)
    assert set(written["score"]) == set(suites.SCORES)
    assert set(written["least"]) == set(suites.her2st().least)
    repeated = written[written["seed"] > 0]["predictor"].unique()
    assert set(repeated) - earlier <= set(suites.her2st().repeated)


def test_no_benchmark_defines_a_suite_of_its_own():
    text = (ROOT / "benchmarks" / "models.py").read_text()
    assert "her2st()" in text
    assert not re.findall(r"\w+Predictor\(", text)


@pytest.fixture(scope="module")
def suite():
    made = synthetic.stack(3, n_spots=25, n_genes=20, mpp=2.0).stack.sections
    load = {section.name: section for section in made}.__getitem__
    names = tuple(section.name for section in made)
    folds = leave_one_section_out(names)
    return suites.Suite(folds, load, ("mean profile",), n_genes=4, least=(1, 2))


def test_a_suite_scores_all_spots_and_those_of_enough_transcripts(suite, tmp_path):
    table = suite.evaluate(tmp_path, seeds=(3, 4))
    assert set(table["least"]) == {1, 2}
    assert set(table["seed"]) == {3}, "what is not repeated takes the first alone"
    rows = suites.units(table)
    assert len(rows) == 2 * 3 * len(suites.SCORES)
    one = table[(table["least"] == 1) & (table["section"] == "S2")]["mse"].mean()
    row = rows.query("least == 1 and name == 'S2' and score == 'mse'")
    assert row["value"].item() == pytest.approx(one, abs=1e-5)


def test_a_suite_goes_on_where_it_was(suite, tmp_path):
    first = suite.evaluate(tmp_path, seeds=(0,))
    times = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.parquet")}
    assert suite.evaluate(tmp_path, seeds=(0,)).equals(first)
    assert {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.parquet")} == times


def test_only_refuses_who_does_not_compete(suite, tmp_path):
    with pytest.raises(
        ValueError, match=r"only has \['ridge'\], expected some of mean"
    ):
        suite.evaluate(tmp_path, only=["ridge"])
