"""Imputation: trivial rules by hand, places, the real block, and every error."""

import pickle
from dataclasses import replace

import blocks
import numpy as np
import pytest
import torch

from stlearnkit import benchmark, datasets
from stlearnkit.conventions import RegistrationError
from stlearnkit.encoders import Encoder
from stlearnkit.expression import Panel, log_normalised
from stlearnkit.folds import observed_section
from stlearnkit.graphs import StackGraph, knn
from stlearnkit.imputation import (
    AsignImputer,
    CopyPredictor,
    KrigingImputer,
    ObservedMeanPredictor,
    ObservedRidgePredictor,
    Placement,
    PropagationPredictor,
)
from stlearnkit.imputation._lessons import part_of
from stlearnkit.imputation._programmes import Trust, mean_of_some
from stlearnkit.metrics import pcc_per_gene
from stlearnkit.models.asign import Asign3dConfig
from stlearnkit.models.baselines import RidgeRegression
from stlearnkit.models.kriging import Kriging
from stlearnkit.patches import Scale
from stlearnkit.predictors import Predictor, Task
from stlearnkit.predictors._task import FittedPredictor
from stlearnkit.recipes import GraphRecipe
from stlearnkit.registration import align

PANEL = Panel(("GENE3", "GENE1"), chosen_on=("C2",))
LYING = Placement("as they lie")
SPOT = (Scale("spot", 200.0),)


def mean_colour():
    """Return an encoder of three features: mean red, green and blue."""
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return Encoder("colour", network, 4, mean=(0.0,) * 3, std=(1.0,) * 3)


def eight(coords_um):
    """Join spots as pickle can find it again."""
    return knn(coords_um, 8, self_loops=True)


COPY = CopyPredictor(placement=LYING)
RIDGE = ObservedRidgePredictor(mean_colour, SPOT)
KRIGING = KrigingImputer(mean_colour, SPOT, placement=LYING)
LABELS = PropagationPredictor(mean_colour, SPOT, diameter_um=500.0, placement=LYING)
ASIGN = AsignImputer(
    GraphRecipe(mean_colour, SPOT, eight, (Scale("region", 400.0),), n_nearest=4),
    Asign3dConfig(
        width=8,
        n_heads=2,
        n_components=3,
        n_tile_components=3,
        radii_um=(),
        levels=("region",),
    ),
    diameter_um=500.0,
    n_steps=3,
    n_networks=2,
    placement=LYING,
)
ALL = [ObservedMeanPredictor(), COPY, RIDGE, KRIGING, LABELS, ASIGN]


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


def test_propagation_is_a_mean_by_overlap_likeness_and_transcripts(task, other):
    known = task.observed[0]
    overlap = np.zeros((36, 36))
    graph = StackGraph.build([known.coords_um, other.coords_um], [0, 0], 500.0).graph
    to_hidden = graph.edge_index[1] >= 36
    source, target = graph.edge_index[:, to_hidden]
    overlap[target - 36, source] = graph.weights[to_hidden]
    looks = [LABELS.looks(each, mean_colour()) for each in (other, known)]
    units = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in looks]
    totals = known.total_counts()
    tells = 1 / (1 + 0.5 * np.median(totals) / totals)
    weights = overlap * np.clip(units[0] @ units[1].T, 0, 1) ** 2 * tells
    by_hand = (
        weights @ log_normalised(known, PANEL.genes) / weights.sum(axis=1)[:, None]
    )
    np.testing.assert_allclose(LABELS.fit(task, seed=0).predict(other), by_hand)


class TestAsign:
    """Training on the observed sections, and what is known in prediction."""

    def test_each_observed_section_is_hidden_in_turn(self, task):
        pair = [task.observed[0], blocks.section("C4", "C", image=True)]
        batches = [ASIGN.known(each, pair[0], PANEL.genes) for each in pair]
        weights = [np.ones(36), np.arange(1.0, 37)]
        first, second = ASIGN.lessons(batches, weights)
        assert first.sections == ("C4", "C2")
        assert second.sections == ("C2", "C4")
        assert torch.equal(first.targets, batches[0].targets)
        np.testing.assert_array_equal(second.spot_weights, weights[1])

    def test_a_single_section_is_predicted_from_itself(self, task):
        batch = ASIGN.known(*[task.observed[0]] * 2, PANEL.genes)
        (lesson,) = ASIGN.lessons([batch], [np.ones(36)])
        assert lesson.sections == ("C2", "C2")
        assert (lesson.propagated - lesson.targets).abs().max() > 0.1

    def test_features_are_by_the_standards_of_their_section(self, task):
        batch = ASIGN.placed(task.observed[0], task.observed[0], PANEL.genes)
        for rows in (batch.features, batch.levels[0].features):
            torch.testing.assert_close(
                rows.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0
            )
            spread = rows.std(dim=0, correction=0)
            assert ((spread - 1).abs() < 1e-4).logical_or(spread == 0).all()

    def test_each_network_leaves_out_another_quarter(self, task):
        batch = ASIGN.known(*[task.observed[0]] * 2, PANEL.genes)
        (lesson,) = ASIGN.lessons([batch], [np.arange(1.0, 37)])
        parts = torch.stack([part_of(lesson, number) for number in range(4)])
        assert parts.sum(dim=1).tolist() == [9] * 4
        assert parts.sum(dim=0).tolist() == [1] * 36
        assert torch.equal(part_of(lesson, 5), parts[1])
        rest = lesson.subset(~parts[1])
        assert rest.n_queries == 27
        for name in ("propagated", "targets", "spot_weights", "reached"):
            assert torch.equal(getattr(rest, name), getattr(lesson, name)[~parts[1]])

    def test_left_out_spots_are_not_learnt_from(self, task):
        """Their labels reach a network as those of neighbours, and no other way."""
        batch = ASIGN.known(*[task.observed[0]] * 2, PANEL.genes)
        alone = replace(ASIGN, diameter_um=5.0)  # no spot is anyone's neighbour
        profile, weights = batch.targets.mean(dim=0).double().numpy(), [np.ones(36)]
        part = part_of(alone.lessons([batch], weights)[0], 0)
        # Changes that leave the mean of all labels as it is.
        moved = batch.targets.clone()
        moved[part.nonzero().flatten()[:2]] += torch.tensor([[1.0], [-1.0]])
        said = []
        for each in (batch, replace(batch, targets=moved)):
            network = alone._untrained(profile, [each], 0)
            lessons = alone.lessons([network.condense(each)], weights)
            said.append(alone._trained(network, lessons, 0)[1])
        one, other = said
        assert np.isfinite(one).all(axis=1).tolist() == part.tolist()
        np.testing.assert_allclose(one, other, rtol=1e-6)

    def test_a_section_of_few_spots_is_refused(self, task):
        few = task.observed[0].subset(np.arange(36) < 3)
        with pytest.raises(ValueError, match="'C2' has 3 spots, expected 4 or more"):
            ASIGN.fit(Task((), (few,), PANEL), seed=0)

    def test_hidden_counts_play_no_part(self, task):
        """Sections of the patient that are hidden may have counts, or none."""
        fitted = ASIGN.fit(task, seed=0)
        hidden = blocks.section("C3", "C", image=True)
        np.testing.assert_array_equal(
            fitted.predict(hidden), fitted.predict(benchmark._scoring.withhold(hidden))
        )

    def test_it_learns_and_is_repeated_by_its_seed(self, task, other):
        first, again, seeded = (
            ASIGN.fit(task, seed).predict(other) for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - seeded).max() > 1e-6

    def test_the_caller_draws_as_before(self, task):
        torch.manual_seed(3)
        expected = torch.rand(3)
        torch.manual_seed(3)
        ASIGN.fit(task, seed=0)
        assert torch.equal(torch.rand(3), expected)

    def test_several_observed_sections_are_all_known(self, task, other):
        both = (task.observed[0], blocks.section("C4", "C", image=True))
        fitted = ASIGN.fit(Task((), both, PANEL), seed=0)
        alone = ASIGN.fit(Task((), both[:1], PANEL), seed=0)
        assert np.abs(fitted.predict(other) - alone.predict(other)).max() > 1e-3

    @pytest.mark.parametrize(
        ("setting", "expected"),
        [
            ("n_steps", "1 or more"),
            ("n_networks", "1 or more"),
            ("counting", "0 or more"),
            ("likeness", "0 or more"),
            ("diameter_um", "above 0"),
            ("learning_rate", "above 0"),
        ],
    )
    def test_settings_that_cannot_be_meant_are_refused(self, setting, expected):
        value = 0 if setting in ("n_steps", "n_networks") else -1.0
        with pytest.raises(
            ValueError, match=f"{setting} is {value}, expected {expected}"
        ):
            AsignImputer(**{setting: value})


class TestTrust:
    """Programmes that are kept as far as left-out spots confirm them."""

    MEASURED = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])

    def test_shares_by_hand(self):
        said = self.MEASURED * [2.0, -1.0]  # twice too far, and the wrong way
        trust = Trust.learn(self.MEASURED, said, np.ones(4))
        np.testing.assert_allclose(trust.shares, [0.5, 0.0], atol=1e-12)
        np.testing.assert_allclose(trust(said), self.MEASURED * [1.0, 0.0], atol=1e-12)

    def test_what_is_too_short_is_hardly_stretched(self):
        trust = Trust.learn(self.MEASURED, self.MEASURED / 10, np.ones(4))
        np.testing.assert_allclose(trust.shares, [1.2, 1.2])

    def test_spots_of_which_nothing_was_said_do_not_count(self):
        said = self.MEASURED * 2.0
        said[1] = np.nan
        trust = Trust.learn(self.MEASURED, said, np.ones(4))
        np.testing.assert_allclose(trust.shares, [0.5, 0.5])

    def test_a_prediction_that_does_not_vary_is_the_mean(self):
        said = np.zeros((4, 2))
        trust = Trust.learn(self.MEASURED + 3, said + 3, np.ones(4))
        np.testing.assert_allclose(trust(said), np.full((4, 2), 3.0))

    def test_spots_count_by_their_weights(self):
        weights = np.array([3.0, 1.0, 2.0, 2.0])
        said = self.MEASURED.copy()
        said[1] = 7.0
        heavy = Trust.learn(self.MEASURED, said, weights)
        mean = np.average(self.MEASURED, axis=0, weights=weights)
        np.testing.assert_allclose(heavy.mean, mean)
        axis = heavy.programmes[0]
        own, theirs = (self.MEASURED - mean) @ axis, (said - mean) @ axis
        share = (weights * own * theirs).sum() / (weights * theirs**2).sum()
        assert heavy.shares[0] == pytest.approx(np.clip(share, 0, 1.2))


def test_the_mean_of_some_is_that_of_numbers():
    first, second = (
        np.array([[1.0], [np.nan], [np.nan]]),
        np.array([[3.0], [2.0], [np.nan]]),
    )
    found = mean_of_some([first, second])
    np.testing.assert_array_equal(found, [[2.0], [2.0], [np.nan]])


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("diameter_um", "above 0"), ("likeness", "0 or more"), ("counting", "0 or more")],
)
def test_settings_of_propagation_that_cannot_be_meant_are_refused(setting, expected):
    with pytest.raises(ValueError, match=rf"{setting} is -1\.0, expected {expected}"):
        PropagationPredictor(**{setting: -1.0})


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
    """C4 is measured, C5 is not: who sees the image is better than a copy."""
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
    assert score(PropagationPredictor()) > copied
    assert score(AsignImputer(n_steps=20, n_networks=2)) > copied
