"""Predictors: by hand, against the models they wrap, and what they have seen."""

import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import blocks
import numpy as np
import pytest
import torch

from stlearnkit import training
from stlearnkit.batches import SectionBatch
from stlearnkit.benchmark._scoring import withhold
from stlearnkit.encoders import Encoder
from stlearnkit.expression import Panel, log_normalised
from stlearnkit.folds import Fold, inner_folds
from stlearnkit.models.baselines import RidgeRegression, neighbourhood_features
from stlearnkit.models.cnn import STNet, STNetConfig
from stlearnkit.models.kriging import Kriging
from stlearnkit.patches import Scale, extract
from stlearnkit.predictors import (
    BestOf,
    KrigingPredictor,
    MeanOf,
    MeanPredictor,
    NetworkPredictor,
    Predictor,
    RidgePredictor,
    Task,
)
from stlearnkit.predictors._task import FittedPredictor
from stlearnkit.training import FitConfig

PANEL = Panel(("GENE3", "GENE1"), chosen_on=("C2", "C3"))


def mean_colour():
    """Return an encoder of three features: mean red, green and blue."""
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return Encoder("colour", network, 4, mean=(0.0,) * 3, std=(1.0,) * 3)


def small_batch(section, genes):
    """Return the batch of a section whose patches are small."""
    pictures = extract(section.slide, section.coords_px, 200.0, output_px=32)
    return SectionBatch.of_section(section, genes, patches=pictures)


def darker_batch(section, genes):
    """Return the same batch of pictures half as bright."""
    batch = small_batch(section, genes)
    return replace(batch, patches=batch.patches // 2)


SPOT = (Scale("spot", 200.0),)
RIDGE = RidgePredictor(mean_colour, SPOT, model=RidgeRegression())
KRIGING = KrigingPredictor(mean_colour, SPOT)


@pytest.fixture
def task(monkeypatch, tmp_path):
    """Two training sections of C and an observed one of B."""
    monkeypatch.setenv("STLEARNKIT_CACHE", str(tmp_path))
    train = tuple(blocks.section(name, "C", image=True) for name in ("C2", "C3"))
    return Task(train, (blocks.section("B4", "B", image=True),), PANEL)


@pytest.mark.parametrize(
    "predictor", [MeanPredictor(), RIDGE, KRIGING], ids=lambda p: p.name
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


def test_kriging_predictor_is_kriging_on_the_blocks_of_ridge(task):
    def blocks_of(sections):
        return [RIDGE.blocks(section, mean_colour()) for section in sections]

    by_hand = Kriging().fit(
        blocks_of(task.train),
        [log_normalised(section, PANEL.genes) for section in task.train],
        transcripts=[section.total_counts() for section in task.train],
    )
    fitted = KRIGING.fit(task, seed=0)
    (test,) = task.observed
    expected = by_hand.predict(blocks_of([test])[0])
    np.testing.assert_allclose(fitted.predict(test), expected)
    assert fitted.seen == ("C2", "C3")
    assert expected[:, 1].std() > 0.1  # brightness does tell where the gene is high


def test_ridge_leaves_out_patients_where_the_claim_is_about_them(task):
    """Three sections of C and B: two left out in turn, or three."""
    patients = {"C2": "C", "C3": "C", "B4": "B"}
    train = (*task.train, *task.observed)
    names = tuple(section.name for section in train)
    rows = {}
    for claim in ("section", "patient"):
        outer = Fold("X", names, ("X1",), claim=claim)
        inner = inner_folds(outer, {**patients, "X1": "X"})
        fitted = RIDGE.fit(Task(train, (), PANEL, inner), seed=0)
        rows[claim] = len(fitted.model.held_out_mse)
        assert fitted.seen == names
    assert rows == {"section": 3, "patient": 2}


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
    with pytest.raises(ValueError, match=r"'kriging' has 0 training section\(s\), exp"):
        KRIGING.fit(none, seed=0)


# Networks

TINY = partial(
    STNet, config=STNetConfig(backbone="test_efficientnet", pretrained=False)
)
QUICK = FitConfig(max_epochs=2, learning_rate=1e-3)
NETWORK = NetworkPredictor(
    TINY, small_batch, QUICK, trainer={"accelerator": "cpu"}, name="tiny ST-Net"
)
INNER = (Fold("C2", ("C3",), ("C2",)), Fold("C3", ("C2",), ("C3",)))


@pytest.fixture
def network_task(task):
    """The task with two inner folds."""
    return replace(task, inner=INNER)


def test_a_network_validates_on_an_inner_fold_that_the_seed_chooses(network_task):
    runs = [NETWORK.fit(network_task, seed=seed).networks[0].run for seed in (0, 1)]
    assert [run.trained_on for run in runs] == [("C3",), ("C2",)]
    assert [run.validated_on for run in runs] == [("C2",), ("C3",)]
    assert [run.fit_config["seed"] for run in runs] == [0, 1]


def test_a_network_has_seen_what_its_run_recorded(network_task):
    fitted = NETWORK.fit(network_task, seed=0)
    assert isinstance(fitted, FittedPredictor)
    assert fitted.seen == ("C3", "C2")


def test_a_network_starts_at_the_mean_of_its_own_training_sections(network_task):
    profiles = []

    def recipe(profile):
        profiles.append(profile)
        return TINY(profile)

    replace(NETWORK, model=recipe).fit(network_task, seed=0)
    expected = log_normalised(network_task.train[1], PANEL.genes).mean(axis=0)
    np.testing.assert_allclose(profiles, [expected])


def test_a_network_is_what_training_gives_and_needs_no_counts(network_task):
    batches = {
        section.name: SectionBatch.of_section(
            section,
            PANEL.genes,
            patches=extract(section.slide, section.coords_px, 200.0, output_px=32),
            targets=log_normalised(section, PANEL.genes),
        )
        for section in network_task.train
    }
    torch.manual_seed(3)
    model = TINY(log_normalised(network_task.train[0], PANEL.genes).mean(axis=0))
    by_hand = training.fit(
        model,
        [batches["C2"]],
        [batches["C3"]],
        config=replace(QUICK, seed=3),
        progress=False,
        accelerator="cpu",
    )
    fitted = NETWORK.fit(network_task, seed=3)
    (test,) = network_task.observed
    expected = by_hand.predict(small_batch(test, PANEL.genes))
    np.testing.assert_array_equal(fitted.predict(withhold(test)), expected)


def test_the_same_seed_gives_the_same_network_whatever_chance_came_before(network_task):
    (test,) = network_task.observed
    first = NETWORK.fit(network_task, seed=0).predict(test)
    torch.manual_seed(99)
    np.random.default_rng().normal()
    np.testing.assert_array_equal(
        NETWORK.fit(network_task, seed=0).predict(test), first
    )


def test_runs_are_kept_apart_and_taken_up_again(network_task, tmp_path):
    kept = replace(NETWORK, folder=tmp_path / "runs")
    for seed in (0, 1, 0):
        kept.fit(network_task, seed=seed)
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert repr(kept) == repr(NETWORK)  # where it is kept does not decide what it is


@pytest.mark.parametrize(
    "change",
    [
        {"batch": darker_batch},
        {"model": partial(TINY, config=replace(TINY.keywords["config"], dropout=0.5))},
        {"model": lambda profile: TINY(profile + 1)},
        {"config": replace(QUICK, learning_rate=2e-3)},
        {"trainer": {"accelerator": "cpu", "precision": "bf16-mixed"}},
    ],
    ids=["inputs", "configuration", "start", "training", "trainer"],
)
def test_a_run_is_taken_up_only_by_what_would_train_the_same(
    change, network_task, tmp_path
):
    runs = tmp_path / "runs"
    kept = replace(NETWORK, folder=runs, config=replace(QUICK, max_epochs=1))
    kept.fit(network_task, seed=0)
    kept.fit(network_task, seed=0)
    assert len(list(runs.iterdir())) == 1
    replace(kept, **change).fit(network_task, seed=0)
    assert len(list(runs.iterdir())) == 2


def test_networks_trained_in_several_threads_are_those_trained_in_turn(network_task):
    (test,) = network_task.observed

    def predicted(seed):
        return NETWORK.fit(network_task, seed=seed).predict(test)

    in_turn = [predicted(seed) for seed in range(2)]
    with ThreadPoolExecutor(2) as pool:
        at_once = list(pool.map(predicted, range(2)))
    np.testing.assert_array_equal(at_once, in_turn)


def test_what_was_trained_on_is_not_held_in_memory(network_task):
    held = []

    def noted(section, genes):
        batch = small_batch(section, genes)
        held.append(weakref.ref(batch.patches))
        return batch

    gc.collect()
    gc.disable()
    try:
        fitted = replace(NETWORK, batch=noted).fit(network_task, seed=0)
        assert [patches() for patches in held] == [None, None]
    finally:
        gc.enable()
    assert fitted.seen == ("C3", "C2")


def test_several_networks_see_all_sections_and_predict_their_mean(network_task):
    (test,) = network_task.observed
    both = replace(NETWORK, n_networks=2).fit(network_task, seed=0)
    alone = [NETWORK.fit(network_task, seed=seed) for seed in (0, 1)]
    assert both.seen == ("C3", "C2")
    assert [net.run.trained_on for net in both.networks] == [("C3",), ("C2",)]
    expected = np.mean([one.predict(test) for one in alone], axis=0)
    np.testing.assert_array_equal(both.predict(test), expected)
    assert both.validation_error == np.mean([one.validation_error for one in alone])


def test_two_seeds_share_no_network(network_task):
    pair = replace(NETWORK, n_networks=2)
    fits = [pair.fit(network_task, seed=seed) for seed in (0, 1)]
    seeds = [net.run.fit_config["seed"] for fit in fits for net in fit.networks]
    assert seeds == [0, 1, 2, 3]


def test_no_network_cannot_be_trained():
    with pytest.raises(ValueError, match=r"n_networks is 0, expected 1 or more"):
        replace(NETWORK, n_networks=0)


def test_grids_decide_which_run_it_is(network_task, tmp_path):
    def with_grid(section, genes, value):
        grid = torch.full((section.n_spots, 1, 2, 2), value)
        return replace(small_batch(section, genes), grids={"map": grid})

    for value in (0.0, 0.0, 1.0):
        batch = partial(with_grid, value=value)
        kept = replace(NETWORK, folder=tmp_path / "runs", batch=batch)
        kept.fit(network_task, seed=0)
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_without_an_inner_fold_no_epoch_can_be_chosen(task):
    with pytest.raises(
        ValueError, match=r"'tiny ST-Net' has 2 .* no inner fold to cho"
    ):
        NETWORK.fit(task, seed=0)


def test_the_best_has_the_least_validation_error(network_task):
    lazy = replace(NETWORK, name="lazy", config=replace(QUICK, learning_rate=1e-9))
    best = BestOf((lazy, NETWORK), name="best").fit(network_task, seed=0)
    assert best.best.predictor is NETWORK
    of_both = [some.fit(network_task, seed=0) for some in (lazy, NETWORK)]
    assert best.validation_error == min(some.validation_error for some in of_both)
    assert best.validation_error == best.best.networks[0].history["val_mse"].min()


def test_ridges_can_be_chosen_among_too(task):
    near, wide = (
        replace(RIDGE, scales=(Scale("some", side_um),)) for side_um in (60.0, 200.0)
    )
    best = BestOf((near, wide)).fit(task, seed=0)
    errors = [some.fit(task, seed=0).validation_error for some in (near, wide)]
    assert best.best.predictor == (near, wide)[np.argmin(errors)]
    assert best.best.model.held_out_mse.mean(axis=0).min() == min(errors)


@dataclass(frozen=True)
class Ready:
    """A predictor and its own fit, which predicts its error everywhere."""

    validation_error: float
    seen: tuple[str, ...]
    name: str = "ready"

    def fit(self, task, seed):
        return self

    def predict(self, section):
        return np.full((section.n_spots, 2), self.validation_error)


def test_the_best_has_seen_what_its_rivals_saw(task):
    rivals = Ready(0.3, ("C2", "C3")), Ready(0.2, ("C3",)), Ready(0.4, ("C4",))
    best = BestOf(rivals).fit(task, seed=0)
    assert best.best is rivals[1]
    assert best.seen == ("C2", "C3", "C4")
    (test,) = task.observed
    assert (best.predict(test) == 0.2).all()


def test_what_has_no_validation_error_cannot_be_chosen(task):
    with pytest.raises(
        TypeError, match="candidate 'mean profile' has no validation_er"
    ):
        BestOf((MeanPredictor(),)).fit(task, seed=0)


def test_there_must_be_something_to_choose():
    with pytest.raises(ValueError, match="candidates is empty: give at least one"):
        BestOf(())


def test_the_mean_of_several_is_their_mean_and_has_seen_what_they_saw(task):
    parts = Ready(0.3, ("C2", "C3")), Ready(0.5, ("C4", "C3"))
    fitted = MeanOf(parts, name="both").fit(task, seed=0)
    assert isinstance(fitted, FittedPredictor)
    assert fitted.seen == ("C2", "C3", "C4")
    (test,) = task.observed
    np.testing.assert_allclose(fitted.predict(test), 0.4)


def test_the_mean_is_better_than_its_parts_by_how_much_they_disagree(task):
    (test,) = task.observed
    measured = log_normalised(test, PANEL.genes)
    both = MeanOf((MeanPredictor(), RIDGE)).fit(task, seed=0)
    each = [part.predict(test) for part in both.parts]
    mean = both.predict(test)
    errors = np.mean([(part - measured) ** 2 for part in each], axis=0)
    apart = np.mean([(part - mean) ** 2 for part in each], axis=0)
    assert apart.max() > 0
    np.testing.assert_allclose((mean - measured) ** 2, errors - apart, atol=1e-12)


def test_the_seed_goes_to_all_parts(network_task):
    alone = NETWORK.fit(network_task, seed=3)
    (of_mean,) = MeanOf((NETWORK,)).fit(network_task, seed=3).parts
    assert of_mean.networks[0].run.fit_config["seed"] == 3
    assert of_mean.validation_error == alone.validation_error


def test_there_must_be_something_to_average():
    with pytest.raises(ValueError, match="parts is empty: give at least one"):
        MeanOf(())
