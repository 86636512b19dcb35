"""Tests of imputation with intervals, on tissue where the truth is known."""

from dataclasses import dataclass

import numpy as np
import pytest

from stlearnkit import synthetic
from stlearnkit.expression import log_normalised, top_genes
from stlearnkit.imputation import ObservedMeanPredictor, PlaceImputer
from stlearnkit.imputation.calibrated import calibrated
from stlearnkit.predictors import Task


@pytest.fixture(scope="module")
def sections():
    return synthetic.stack(3, n_spots=100, n_genes=20, mpp=2.0).stack.sections


@pytest.fixture(scope="module")
def task(sections):
    return Task((), sections[:1], top_genes(sections[:1], 5))


def test_the_prediction_is_that_of_the_imputer(task, sections):
    predicted, _ = calibrated(PlaceImputer(), task).predict(sections[1])
    plain = PlaceImputer().fit(task, 0).predict(sections[1])
    assert np.array_equal(predicted, plain)


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_hold_about_their_share(task, sections, level):
    found = calibrated(PlaceImputer(), task, level=level)
    predicted, half = found.predict(sections[1])
    missed = np.abs(log_normalised(sections[1], task.panel.genes) - predicted)
    assert np.mean(missed <= half) == pytest.approx(level, abs=0.12)


def test_higher_levels_are_wider(task, sections):
    low, high = (
        calibrated(ObservedMeanPredictor(), task, level=level).predict(sections[1])[1]
        for level in (0.5, 0.9)
    )
    assert (low < high).all()


@dataclass
class Recorder:
    """Predicts zeros, and notes which spots it was fitted on."""

    name: str = "recorder"

    def __post_init__(self) -> None:
        self.fits: list[set[str]] = []
        self.seen: tuple[str, ...] = ()

    def fit(self, task: Task, seed: int) -> "Recorder":
        self.fits.append(set(task.observed[0].adata.obs_names))
        return self

    def predict(self, section):
        return np.zeros((section.n_spots, 5))


def test_every_spot_is_left_out_once(task):
    recorder = Recorder()
    calibrated(recorder, task, side_um=500.0)
    *parts, whole = recorder.fits
    assert whole == set(task.observed[0].adata.obs_names)
    left_out = [whole - part for part in parts]
    assert sorted(spot for each in left_out for spot in each) == sorted(whole)


def test_several_observed_sections_are_cut_alike(sections):
    two = sections[:2]
    task = Task((), two, top_genes(two, 5))
    predicted, half = calibrated(ObservedMeanPredictor(), task).predict(sections[2])
    assert predicted.shape == half.shape == (sections[2].n_spots, 5)
    assert (half > 0).all()


def test_a_task_without_observed_sections_is_refused(task):
    empty = Task((), (), task.panel)
    with pytest.raises(ValueError, match="no observed section to calibrate on"):
        calibrated(ObservedMeanPredictor(), empty)


def test_too_few_spots_for_the_level_are_refused(task):
    with pytest.raises(ValueError, match=r"too few for a level of 0\.999"):
        calibrated(ObservedMeanPredictor(), task, level=0.999)
