"""Imputation: trivial rules by hand, places, the real block, and every error."""

import pickle

import blocks
import numpy as np
import pytest
import torch

from stlearnkit import benchmark, datasets
from stlearnkit.conventions import RegistrationError
from stlearnkit.encoders import Encoder
from stlearnkit.expression import Panel, log_normalised
from stlearnkit.folds import observed_section
from stlearnkit.imputation import (
    CopyPredictor,
    KrigingImputer,
    ObservedMeanPredictor,
    ObservedRidgePredictor,
    Placement,
)
from stlearnkit.metrics import pcc_per_gene
from stlearnkit.models.baselines import RidgeRegression
from stlearnkit.models.kriging import Kriging
from stlearnkit.patches import Scale
from stlearnkit.predictors import Predictor, Task
from stlearnkit.predictors._task import FittedPredictor
from stlearnkit.registration import align

PANEL = Panel(("GENE3", "GENE1"), chosen_on=("C2",))
LYING = Placement("as they lie")
SPOT = (Scale("spot", 200.0),)


def mean_colour():
    """Return an encoder of three features: mean red, green and blue."""
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return Encoder("colour", network, 4, mean=(0.0,) * 3, std=(1.0,) * 3)


COPY = CopyPredictor(placement=LYING)
RIDGE = ObservedRidgePredictor(mean_colour, SPOT)
KRIGING = KrigingImputer(mean_colour, SPOT, placement=LYING)
ALL = [ObservedMeanPredictor(), COPY, RIDGE, KRIGING]


@pytest.fixture
def task(monkeypatch, tmp_path):
    """Observed sections of two patients."""
    monkeypatch.setenv("STLEARNKIT_CACHE", str(tmp_path))
    observed = (
        blocks.section("C2", "C", image=True),
        blocks.section("B4", "B", image=True),
    )
    return Task((), observed, PANEL)


@pytest.fixture
def other():
    """Another section of patient C, its counts hidden."""
    return benchmark._scoring.withhold(blocks.section("C3", "C", image=True))


@pytest.mark.parametrize("predictor", ALL, ids=lambda p: p.name)
class TestAll:
    """What holds for every imputing predictor."""

    def test_they_keep_the_protocol(self, predictor, task, other):
        fitted = predictor.fit(task, seed=0)
        assert isinstance(predictor, Predictor)
        assert isinstance(fitted, FittedPredictor)
        assert fitted.seen == ("C2", "B4")
        assert fitted.predict(other).shape == (36, 2)
        assert pickle.loads(pickle.dumps(predictor)) == predictor

    def test_sections_of_other_patients_play_no_part(self, predictor, task, other):
        alone = Task((), task.observed[:1], PANEL)
        np.testing.assert_array_equal(
            predictor.fit(alone, seed=0).predict(other),
            predictor.fit(task, seed=0).predict(other),
        )

    def test_nothing_observed_is_refused(self, predictor, task):
        nothing = Task(task.observed, (), PANEL)
        with pytest.raises(ValueError, match=f"'{predictor.name}' has no observed sec"):
            predictor.fit(nothing, seed=0)

    def test_a_patient_that_was_not_observed_is_refused(self, predictor, task):
        fitted = predictor.fit(task, seed=0)
        with pytest.raises(ValueError, match=r"no section of patient 'D' was observed"):
            fitted.predict(blocks.section("D1", "D", image=True))

    def test_they_pass_the_audit(self, predictor, monkeypatch, tmp_path):
        monkeypatch.setenv("STLEARNKIT_CACHE", str(tmp_path))
        (fold,) = observed_section(blocks.PATIENTS, ["C3"])

        def load(name):
            return blocks.section(name, blocks.PATIENTS[name], image=True)

        benchmark.audit(lambda load: predictor, fold, load=load, n_genes=5)


def test_observed_mean_repeats_the_profile_of_the_own_patient(task):
    fitted = ObservedMeanPredictor().fit(task, seed=0)
    for known in task.observed:
        expected = log_normalised(known, PANEL.genes).mean(axis=0)
        other = blocks.section("X", known.patient)
        np.testing.assert_allclose(fitted.predict(other), [expected] * 36)


class TestCopy:
    """The mean of the nearest observed spots."""

    def test_one_nearest_spot_is_the_one_below(self, task, other):
        fitted = CopyPredictor((1,), LYING).fit(task, seed=0)
        expected = log_normalised(task.observed[0], PANEL.genes)
        np.testing.assert_allclose(fitted.predict(other), expected)

    def test_five_nearest_are_a_cross(self, task, other):
        fitted = CopyPredictor((5,), LYING).fit(task, seed=0)
        known = log_normalised(task.observed[0], PANEL.genes)
        cross = known[[7, 6, 8, 1, 13]].mean(axis=0)  # around column 1 of row 1
        np.testing.assert_allclose(fitted.predict(other)[7], cross)

    def test_the_number_is_that_which_predicts_spots_from_their_neighbours(self, task):
        known = log_normalised(task.observed[0], PANEL.genes)
        places = task.observed[0].coords_um
        errors = {}
        for k in (2, 8, 30):
            apart = np.hypot(*(places[:, None] - places).transpose(2, 0, 1))
            np.fill_diagonal(apart, np.inf)
            # Where distances tie the tree is free to choose: compare as it chose.
            nearest = np.argsort(apart, axis=1, kind="stable")[:, :k]
            errors[k] = np.mean((known[nearest].mean(axis=1) - known) ** 2)
        best = min(errors, key=errors.get)
        fitted = CopyPredictor((2, 8, 30), LYING).fit(task, seed=0)
        assert fitted.fitted["C"].n_nearest == best == 8

    def test_more_than_there_are_spots_are_not_chosen(self, task, other):
        fitted = CopyPredictor((5, 100), LYING).fit(task, seed=0)
        assert fitted.fitted["C"].n_nearest == 5
        fitted = CopyPredictor((100,), LYING).fit(task, seed=0)
        assert fitted.fitted["C"].n_nearest == 1

    def test_several_observed_sections_count_by_their_height(self, task, other):
        third = blocks.section("C4", "C", image=True)
        both = Task((), (task.observed[0], third), PANEL)
        heights = Placement("as they lie", {"C2": 0.0, "C3": 48.0, "C4": 64.0})
        fitted = CopyPredictor((1,), heights).fit(both, seed=0)
        expected = log_normalised(third, PANEL.genes)  # 16 µm away, not 48
        np.testing.assert_allclose(fitted.predict(other), expected)

    @pytest.mark.parametrize("n_nearest", [(), (0, 5)])
    def test_numbers_that_cannot_be_meant_are_refused(self, n_nearest):
        with pytest.raises(ValueError, match=r"n_nearest is .*expected one or more"):
            CopyPredictor(n_nearest)


def test_ridge_is_chosen_by_stripes_and_knows_each_section_by_itself(task, other):
    section = task.observed[0]
    blocks_of = RIDGE.blocks(section, mean_colour())
    for block in blocks_of:
        np.testing.assert_allclose(block.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(block.std(axis=0), 1, atol=1e-5)
    order = np.argsort(section.coords_um[:, 0], kind="stable")
    target = log_normalised(section, PANEL.genes)
    stripes = np.array_split(order, 4)
    by_hand = RidgeRegression().fit(
        [[block[s] for block in blocks_of] for s in stripes],
        [target[s] for s in stripes],
    )
    expected = by_hand.predict(RIDGE.blocks(other, mean_colour()))
    np.testing.assert_allclose(RIDGE.fit(task, seed=0).predict(other), expected)


def test_kriging_is_kriging_with_places(task, other):
    section = task.observed[0]
    by_hand = Kriging().fit(
        [KRIGING.blocks(section, mean_colour())],
        [log_normalised(section, PANEL.genes)],
        transcripts=[section.total_counts()],
        places_um=[LYING.places_um(section, section)],
    )
    places = LYING.places_um(section, other)
    expected = by_hand.predict(KRIGING.blocks(other, mean_colour()), places)
    np.testing.assert_allclose(KRIGING.fit(task, seed=0).predict(other), expected)


class TestPlacement:
    """Where spots of one section lie in the frame of another."""

    def test_the_reference_stays_where_it_is(self):
        section = blocks.section("C2", "C", image=True)
        for how in ("as they lie", "centred", "rigid", "affine", "deformable"):
            places = Placement(how).places_um(section, section)
            np.testing.assert_array_equal(places[:, :2], section.coords_um)
            assert not places[:, 2].any()

    def test_centred_undoes_a_shift_and_a_scale(self):
        small, large = (
            blocks.section("C2", "C", image=True),
            blocks.section("C3", "C", image=True),
        )
        moved = large.adata.copy()
        moved.obsm["spatial"] = 30 + 2 * moved.obsm["spatial"]
        moving = type(large)(moved, large.slide, "C3", "C")
        places = Placement("centred").places_um(small, moving)
        np.testing.assert_allclose(places[:, :2], small.coords_um)

    def test_a_single_spot_can_be_centred(self):
        section = blocks.section("C2", "C", image=True)
        one = blocks.section("C3", "C", image=True).subset(np.arange(36) == 5)
        places = Placement("centred").places_um(section, one)
        np.testing.assert_allclose(places[0, :2], section.coords_um.mean(axis=0))

    def test_heights_are_those_given(self):
        below, above = (
            blocks.section("C2", "C", image=True),
            blocks.section("C3", "C", image=True),
        )
        heights = Placement("as they lie", {"C2": 16.0, "C3": 64.0})
        assert set(heights.places_um(below, below)[:, 2]) == {16.0}
        assert set(heights.places_um(below, above)[:, 2]) == {64.0}

    def test_a_section_without_its_height_is_refused(self):
        section = blocks.section("C2", "C", image=True)
        with pytest.raises(ValueError, match=r"z_um has heights of \['C3'\], not of"):
            Placement(z_um={"C3": 1.0}).places_um(section, section)

    def test_a_way_that_there_is_not_is_refused(self, unchecked):
        with pytest.raises(ValueError, match="how is 'elastic', expected one of"):
            Placement("elastic")

    @pytest.mark.real_data
    def test_sections_are_aligned_by_their_images(self):
        below, above = datasets.her2st("C4"), datasets.her2st("C5")
        found = {
            how: Placement(how).places_um(below, above)[:, :2]
            for how in ("as they lie", "rigid", "affine", "deformable")
        }
        expected = align(below, above).transform(above.coords_um)
        np.testing.assert_allclose(found["affine"], expected)

        def apart(one, other):
            return np.median(np.hypot(*(found[one] - found[other]).T))

        assert apart("as they lie", "affine") > 100
        assert 0 < apart("rigid", "affine") < 60
        assert 0 < apart("deformable", "affine") < 60

    @pytest.mark.real_data
    def test_another_patient_cannot_be_placed(self):
        with pytest.raises(RegistrationError, match="cannot be aligned"):
            Placement().places_um(datasets.her2st("C4"), datasets.her2st("B4"))


@pytest.mark.real_data
def test_one_section_tells_of_the_next():
    """C4 is measured, C5 is not: kriging is better than a copy, than the mean."""
    known, hidden = datasets.her2st("C4"), datasets.her2st("C5")
    panel = Panel(("ERBB2", "GNAS", "FASN", "B2M", "COL1A1"), chosen_on=("C4",))
    truth = log_normalised(hidden, panel.genes)
    task = Task((), (known,), panel)
    bare = benchmark._scoring.withhold(hidden)

    def score(predictor):
        predicted = predictor.fit(task, seed=0).predict(bare)
        return pcc_per_gene(predicted, truth).mean()

    copied, kriged = score(CopyPredictor()), score(KrigingImputer())
    assert 0.2 < copied < kriged
