"""Predictors: by hand, against the models they wrap, and what they have seen."""

import pickle
from functools import partial

import blocks
import numpy as np
import pytest
import torch

from stlearnkit.encoders import Encoder
from stlearnkit.expression import Panel, log_normalised
from stlearnkit.models.baselines import RidgeRegression, neighbourhood_features
from stlearnkit.patches import Scale, extract
from stlearnkit.predictors import (
    FittedPredictor,
    MeanPredictor,
    ObservedMeanPredictor,
    Predictor,
    RidgePredictor,
    Task,
)

PANEL = Panel(("GENE3", "GENE1"), chosen_on=("C2", "C3"))


def mean_colour():
    """Return an encoder of three features: mean red, green and blue."""
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return Encoder("colour", network, 4, mean=(0.0,) * 3, std=(1.0,) * 3)


RIDGE = RidgePredictor(mean_colour, (Scale("spot", 200.0),), model=RidgeRegression())


@pytest.fixture
def task(monkeypatch, tmp_path):
    """Two training sections of C and an observed one of B."""
    monkeypatch.setenv("STLEARNKIT_CACHE", str(tmp_path))
    train = tuple(blocks.section(name, "C", image=True) for name in ("C2", "C3"))
    return Task(train, (blocks.section("B4", "B", image=True),), PANEL)


@pytest.mark.parametrize(
    "predictor", [MeanPredictor(), ObservedMeanPredictor(), RIDGE], ids=lambda p: p.name
)
def test_members_keep_the_protocol(predictor, task):
    fitted = predictor.fit(task, seed=0)
    assert isinstance(predictor, Predictor)
    assert isinstance(fitted, FittedPredictor)
    assert fitted.predict(task.observed[0]).shape == (36, 2)
    assert pickle.loads(pickle.dumps(predictor)) == predictor


def test_mean_predictor_repeats_the_mean_of_all_training_spots(task):
    fitted = MeanPredictor().fit(task, seed=0)
    spots = [log_normalised(section, PANEL.genes) for section in task.train]
    expected = np.concatenate(spots).mean(axis=0)
    np.testing.assert_allclose(fitted.predict(task.observed[0]), [expected] * 36)
    assert fitted.seen == ("C2", "C3")


def test_observed_mean_repeats_the_profile_of_the_own_patient(task):
    both = Task(task.train, (*task.observed, task.train[0]), PANEL)
    fitted = ObservedMeanPredictor().fit(both, seed=0)
    for known in both.observed:
        expected = log_normalised(known, PANEL.genes).mean(axis=0)
        other = blocks.section("X", known.patient)
        np.testing.assert_allclose(fitted.predict(other), [expected] * 36)
    assert fitted.seen == ("B4", "C2")


def test_ridge_predictor_is_the_ridge_on_features_and_their_disc_means(task):
    def inputs(section):
        patches = extract(section.slide, section.coords_px, 200.0, output_px=4)
        colour = patches.mean(axis=(1, 2)) / 255
        return neighbourhood_features([colour], section.coords_um)

    targets = [log_normalised(section, PANEL.genes) for section in task.train]
    by_hand = RidgeRegression().fit([inputs(s) for s in task.train], targets)
    fitted = RIDGE.fit(task, seed=0)
    (test,) = task.observed
    expected = by_hand.predict(inputs(test))
    np.testing.assert_allclose(fitted.predict(test), expected, atol=1e-5)
    assert fitted.seen == ("C2", "C3")
    assert expected[:, 1].std() > 0.1  # brightness does tell where the gene is high


def test_without_discs_spots_are_on_their_own(task):
    alone = RidgePredictor(mean_colour, RIDGE.scales, radii_um=())
    (block,) = alone.blocks(task.train[0], mean_colour())
    assert block.shape == (36, 3)


def test_an_encoder_with_arguments_is_given_as_a_partial():
    predictor = RidgePredictor(partial(Encoder.load, "resnet18"))
    assert pickle.loads(pickle.dumps(predictor)).encoder.args == ("resnet18",)


def test_too_few_training_sections_are_refused(task):
    none = Task((), task.observed, PANEL)
    one = Task(task.train[:1], (), PANEL)
    with pytest.raises(ValueError, match=r"'mean profile' has 0 training section\(s\)"):
        MeanPredictor().fit(none, seed=0)
    with pytest.raises(ValueError, match=r"'ridge' has 1 training section\(s\), expec"):
        RIDGE.fit(one, seed=0)


def test_nothing_observed_is_refused(task):
    with pytest.raises(ValueError, match="'observed mean' has no observed section"):
        ObservedMeanPredictor().fit(Task(task.train, (), PANEL), seed=0)


def test_a_patient_that_was_not_observed_has_no_profile(task):
    fitted = ObservedMeanPredictor().fit(task, seed=0)
    with pytest.raises(ValueError, match=r"no section of patient 'C' was observed, on"):
        fitted.predict(task.train[0])
