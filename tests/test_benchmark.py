"""Benchmarks: scores by hand, interrupted runs, a cluster, and planted leaks."""

import dataclasses
import json
import os
import subprocess
import sys
from functools import partial

import blocks
import numpy as np
import pandas as pd
import pytest
from kills import Killed, killed_after
from sklearn.preprocessing import StandardScaler

from stlearnkit import benchmark, metrics
from stlearnkit.batches import SectionBatch
from stlearnkit.conventions import COUNTS
from stlearnkit.datasets import her2st
from stlearnkit.expression import log_normalised, noise_ceiling, shared_genes, top_genes
from stlearnkit.folds import (
    Fold,
    LeakError,
    leave_one_patient_out,
    leave_one_section_out,
    observed_section,
)
from stlearnkit.imputation import ObservedMeanPredictor
from stlearnkit.models.cnn import STNet, STNetConfig
from stlearnkit.patches import extract
from stlearnkit.predictors import (
    FittedMean,
    MeanPredictor,
    NetworkPredictor,
    RidgePredictor,
)
from stlearnkit.sections import Section
from stlearnkit.training import FitConfig

FOLD = Fold("C4", train=("C2", "C3"), test=("C4",))
evaluate = partial(benchmark.evaluate, load=blocks.load, n_genes=5)


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What was fitted, from plain functions."""

    seen: tuple
    function: object

    def predict(self, section):
        return self.function(section)


@dataclasses.dataclass(frozen=True)
class Along:
    """Fit each gene as a plane over the coordinates, with noise from the seed."""

    name: str = "plane"
    noise: float = 0.0

    def fit(self, task, seed):
        design, target = (
            np.concatenate(parts)
            for parts in zip(
                *[
                    (self.inputs(section), log_normalised(section, task.panel.genes))
                    for section in task.train
                ],
                strict=True,
            )
        )
        weights = np.linalg.lstsq(design, target, rcond=None)[0]
        weights += self.noise * np.random.default_rng(seed).normal(size=weights.shape)
        seen = tuple(section.name for section in task.train)
        return Fitted(seen, lambda section: self.inputs(section) @ weights)

    @staticmethod
    def inputs(section):
        return np.column_stack([section.coords_px / 60, np.ones(section.n_spots)])


@dataclasses.dataclass(frozen=True)
class From:
    """Predict whatever a function of the section returns."""

    function: object
    name: str = "odd"
    seen: tuple = ()

    def fit(self, task, seed):
        return Fitted(self.seen, self.function)


@dataclasses.dataclass
class Counted:
    """The plane, and how often it was fitted."""

    name: str = "counted"
    n_fits: int = dataclasses.field(default=0, repr=False)
    fails_from: float = dataclasses.field(default=float("inf"), repr=False)
    seeds: list = dataclasses.field(default_factory=list, repr=False)

    def fit(self, task, seed):
        self.seeds.append(seed)
        if self.n_fits >= self.fails_from:
            raise RuntimeError("the machine went down")
        self.n_fits += 1
        return Along().fit(task, seed)


# The table


def test_all_columns_by_hand(tmp_path):
    table = evaluate([FOLD], [Along()], folder=tmp_path, min_transcripts=150)
    train = [blocks.load(name) for name in FOLD.train]
    whole = blocks.load("C4")
    alive = whole.total_counts() >= 150
    assert 6 < alive.sum() < whole.n_spots
    panel = top_genes(train, 5)
    test = whole.subset(alive)
    measured = log_normalised(test, panel.genes)
    spots = np.concatenate([log_normalised(s, panel.genes) for s in train])
    design = np.concatenate([Along.inputs(s) for s in train])
    predicted = Along.inputs(test) @ np.linalg.lstsq(design, spots, rcond=None)[0]
    sizes = np.log(np.concatenate([s.total_counts() for s in train]))
    lines = [np.polyval(np.polyfit(sizes, y, 1), np.log(test.total_counts()))
             for y in spots.T]  # fmt: skip
    expected = {
        "gene": list(panel.genes),
        "n_spots": [alive.sum()] * 5,
        "pcc": metrics.pcc_per_gene(predicted, measured),
        "pcc_beyond": metrics.pcc_beyond(predicted, measured, test.total_counts()),
        "mse": ((predicted - measured) ** 2).mean(axis=0),
        "mse_mean_profile": ((spots.mean(axis=0) - measured) ** 2).mean(axis=0),
        "ceiling": noise_ceiling(test, panel.genes),
        "pcc_library_size": metrics.pcc_per_gene(np.stack(lines, axis=1), measured),
        "pcc_per_spot": [metrics.pcc_per_spot(predicted, measured).mean()] * 5,
    }
    for column, values in expected.items():
        if column == "gene":
            assert list(table[column]) == values
        else:
            np.testing.assert_allclose(table[column], values, atol=1e-9, err_msg=column)
    skill = 1 - table["mse"] / table["mse_mean_profile"]
    np.testing.assert_allclose(table["skill"], skill)
    words = table[["fold", "claim", "section", "patient", "predictor", "seed"]]
    assert words.drop_duplicates().to_numpy().tolist() == [
        ["C4", "section", "C4", "C", "plane", 0]
    ]


def test_one_row_for_each_fold_section_predictor_seed_and_gene(tmp_path):
    folds = leave_one_patient_out(blocks.PATIENTS)
    predictors = [MeanPredictor(), Along(noise=0.1)]
    table = evaluate(folds, predictors, folder=tmp_path, seeds=(0, 7))
    keys = ["fold", "section", "predictor", "seed", "gene"]
    assert not table.duplicated(keys).any()
    assert len(table) == 5 * 2 * 2 * 5
    assert set(table["claim"]) == {"patient"}
    mean = table[table["predictor"] == "mean profile"]
    assert (mean["pcc"] == 0).all()
    np.testing.assert_allclose(mean["skill"], 0, atol=1e-12)
    plane = table[table["predictor"] == "plane"].pivot(
        index=["section", "gene"], columns="seed", values="pcc"
    )
    assert (plane[0] != plane[7]).all()


def test_the_panel_is_chosen_on_training_and_observed_sections(tmp_path):
    (fold,) = observed_section(blocks.PATIENTS, ["C3"])
    table = evaluate([fold], [ObservedMeanPredictor()], folder=tmp_path)
    known = [blocks.load(name) for name in ("B4", "B5", "C3")]
    assert list(table["gene"].unique()) == list(top_genes(known, 5).genes)
    assert (table["pcc"] == 0).all()


def test_genes_that_a_test_section_lacks_are_not_chosen(tmp_path):
    def load(name):
        lacking = blocks.GENES[:4] + blocks.GENES[5:]
        genes = lacking if name == "C4" else blocks.GENES
        return blocks.section(name, "C", genes=genes)

    table = evaluate([FOLD], [MeanPredictor()], folder=tmp_path, load=load, n_genes=11)
    assert set(table["gene"]) == set(blocks.GENES) - {"GENE4"}


def test_predictions_come_back_for_all_spots(tmp_path):
    evaluate([FOLD], [Along()], folder=tmp_path, min_transcripts=150)
    (name, table), *rest = benchmark.predictions(tmp_path, "C4", "plane").items()
    section = blocks.load("C4")
    assert (name, rest) == ("C4", [])
    assert list(table.index) == list(section.adata.obs_names)
    panel = top_genes([blocks.load(name) for name in FOLD.train], 5)
    assert list(table.columns) == list(panel.genes)
    measured = log_normalised(section, panel.genes)
    assert metrics.pcc_per_gene(table.to_numpy(float), measured).min() > 0.3


def test_predictions_that_are_not_there_are_asked_for(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no whole predictions of 'plane' on f"
    ):
        benchmark.predictions(tmp_path, "C4", "plane")


# What a predictor gets to see


def test_test_sections_come_without_counts(tmp_path):
    shown = []

    def look(section):
        shown.append(section)
        return np.zeros((section.n_spots, 5))

    def load(name):
        section = blocks.load(name)
        section.adata.obs["n_counts"] = section.total_counts()
        section.adata.obs["array_row"] = np.arange(section.n_spots)
        section.adata.obsm["X_pca"] = section.counts(["GENE1", "GENE2"])
        section.adata.uns["n_counts"] = section.total_counts()
        return section

    evaluate([FOLD], [From(look)], folder=tmp_path, load=load)
    (section,) = shown
    assert isinstance(section, Section)
    assert (section.name, section.patient) == ("C4", "C")
    assert (section.n_genes, section.total_counts().sum()) == (0, 0)
    assert list(section.adata.layers) == [COUNTS]
    assert list(section.adata.obs) == ["array_row"]
    assert list(section.adata.obsm) == ["spatial"]
    assert list(section.adata.uns) == ["spatial"]
    np.testing.assert_array_equal(section.coords_px, blocks.load("C4").coords_px)


def test_the_task_has_training_counts_and_inner_folds(tmp_path):
    tasks = []

    class Curious(MeanPredictor):
        def fit(self, task, seed):
            tasks.append(task)
            return super().fit(task, seed)

    folds = observed_section(blocks.PATIENTS, ["B4"])
    evaluate(folds, [Curious()], folder=tmp_path)
    (task,) = tasks
    assert [section.name for section in task.train] == ["C2", "C3", "C4"]
    assert [section.name for section in task.observed] == ["B4"]
    assert task.panel.chosen_on == ("C2", "C3", "C4", "B4")
    assert [inner.test for inner in task.inner] == [("C2",), ("C3",), ("C4",)]


# Planted leaks


def test_a_fold_with_a_patient_on_both_sides_is_refused(tmp_path):
    both = Fold("C", train=("C2", "B4"), test=("C4",), claim="patient")
    with pytest.raises(LeakError, match="patient 'C' in train"):
        evaluate([both], [MeanPredictor()], folder=tmp_path)


@dataclasses.dataclass(frozen=True)
class ScaledOnAll:
    """Standardises with all sections of the source, test included, and may say so."""

    load: object
    declares: bool
    name: str = "scaled on all"

    def fit(self, task, seed):
        genes, names = task.panel.genes, ("C2", "C3", "C4")
        targets = [log_normalised(self.load(name), genes) for name in names]
        scaler = StandardScaler().fit(np.concatenate(targets))
        return FittedMean(names if self.declares else names[:2], scaler.mean_)


@dataclasses.dataclass(frozen=True)
class PanelFromTest:
    """Predicts 1 for the three highest genes of the test section, else 0."""

    load: object
    name: str = "panel from test"

    def fit(self, task, seed):
        top = top_genes([self.load("C4")], 3, among=task.panel.genes)
        chosen = np.isin(task.panel.genes, top.genes).astype(float)
        return FittedMean(("C2", "C3"), chosen)


@dataclasses.dataclass(frozen=True)
class BestOnTest:
    """Keeps, of twenty random directions, the one that suits the test section best."""

    load: object
    declares: bool
    name: str = "best on test"

    def fit(self, task, seed):
        test = self.load("C4")
        measured = log_normalised(test, task.panel.genes)
        rng = np.random.default_rng(seed)
        epochs = [rng.normal(size=(2, measured.shape[1])) for _ in range(20)]
        scores = [
            metrics.pcc_per_gene(test.coords_px @ epoch, measured).mean()
            for epoch in epochs
        ]
        best = epochs[int(np.argmax(scores))]
        seen = ("C2", "C3", "C4") if self.declares else ("C2", "C3")
        return Fitted(seen, lambda section: section.coords_px @ best)


@pytest.mark.parametrize("leaking", [ScaledOnAll, BestOnTest])
def test_a_declared_leak_is_refused(leaking, tmp_path):
    predictor = leaking(blocks.load, declares=True)
    with pytest.raises(LeakError, match="has seen 'C4', which fold 'C4' tests on"):
        evaluate([FOLD], [predictor], folder=tmp_path)


@pytest.mark.parametrize(
    "build",
    [
        partial(ScaledOnAll, declares=False),
        PanelFromTest,
        partial(BestOnTest, declares=False),
    ],
    ids=["scaler", "panel", "checkpoint"],
)
def test_an_undeclared_leak_passes_the_guard_and_fails_the_audit(build, tmp_path):
    evaluate([FOLD], [build(blocks.load)], folder=tmp_path)
    with pytest.raises(LeakError, match=r"'C4' change by up to .* test sections \(C4"):
        benchmark.audit(build, FOLD, load=blocks.load, n_genes=5)


@pytest.mark.parametrize(
    "predictor", [MeanPredictor(), Along(), Along(noise=0.5)], ids=repr
)
def test_honest_predictors_pass_the_audit(predictor):
    benchmark.audit(lambda load: predictor, FOLD, load=blocks.load, n_genes=5)


def test_an_audit_lets_training_and_observed_sections_be_read():
    (fold,) = observed_section(blocks.PATIENTS, ["C3"])
    benchmark.audit(
        lambda load: ObservedMeanPredictor(), fold, load=blocks.load, n_genes=5
    )

    def build(load):
        profile = log_normalised(load("C3"), blocks.GENES[:5]).mean(axis=0)
        return From(lambda section: np.tile(profile, (section.n_spots, 1)))

    benchmark.audit(build, fold, load=blocks.load, n_genes=5)


def test_chance_without_a_seed_cannot_be_audited():
    rng = np.random.default_rng(0)
    noise = From(lambda section: rng.normal(size=(section.n_spots, 5)))
    with pytest.raises(ValueError, match="two fits with seed 0 on the same data diff"):
        benchmark.audit(lambda load: noise, FOLD, load=blocks.load, n_genes=5)


@pytest.mark.usefixtures("unchecked")
def test_an_audit_asks_for_a_function_that_builds():
    with pytest.raises(
        ValueError, match=r"build is MeanPredictor\(.* expected a funct"
    ):
        benchmark.audit(MeanPredictor(), FOLD, load=blocks.load, n_genes=5)


def test_the_audit_changes_maps_profile_and_library_sizes():
    source = {}

    def build(load):
        source.setdefault("versions", []).append(load("C4"))
        return MeanPredictor()

    benchmark.audit(build, FOLD, load=blocks.load, n_genes=5)
    true, false = source["versions"]
    assert false.n_spots == true.n_spots
    assert not np.allclose(false.total_counts(), true.total_counts())
    profiles = [s.counts(blocks.GENES).mean(axis=0) for s in (true, false)]
    assert top_genes([true], 3).genes != top_genes([false], 3).genes
    assert np.corrcoef(*profiles)[0, 1] < 0.9
    false.validate()


def test_a_network_is_a_competitor_like_any_other(tmp_path):
    def load(name):
        return blocks.section(name, blocks.PATIENTS[name], image=True)

    def batch(section, genes):
        pictures = extract(section.slide, section.coords_px, 200.0, output_px=32)
        return SectionBatch.of_section(section, genes, patches=pictures)

    small = STNetConfig(backbone="test_efficientnet", pretrained=False)
    network = NetworkPredictor(
        partial(STNet, config=small),
        batch,
        FitConfig(max_epochs=1),
        trainer={"accelerator": "cpu"},
    )
    request = {"load": load, "n_genes": 5}
    table = benchmark.evaluate([FOLD], [network], folder=tmp_path, **request)
    assert table["pcc"].abs().max() > 0  # it has left the mean profile
    benchmark.audit(lambda load: network, FOLD, **request)


# Interruption and resumption


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    folds = leave_one_section_out(["C2", "C3", "C4"])
    weak = Counted(fails_from=2)
    with pytest.raises(RuntimeError, match="machine went down") as error:
        evaluate(folds, [weak], folder=tmp_path)
    assert "fold 'C4', predictor 'counted', seed 0" in error.value.__notes__[0]
    strong = Counted()
    table = evaluate(folds, [strong], folder=tmp_path)
    assert (weak.n_fits, strong.n_fits) == (2, 1)
    fresh = evaluate(folds, [Counted()], folder=tmp_path / "fresh")
    pd.testing.assert_frame_equal(table, fresh)


def test_a_finished_run_computes_nothing(tmp_path):
    first = evaluate([FOLD], [Along()], folder=tmp_path)
    idle = dataclasses.replace(Along(), name="plane")
    again = evaluate([FOLD], [idle], folder=str(tmp_path))
    pd.testing.assert_frame_equal(first, again)


def test_more_folds_predictors_and_seeds_compute_only_those(tmp_path):
    folds = leave_one_section_out(["C2", "C3", "C4"])
    counted = Counted()
    evaluate(folds[:1], [counted], folder=tmp_path)
    table = evaluate(
        folds[:2], [counted, MeanPredictor()], folder=tmp_path, seeds=(0, 1)
    )
    assert counted.n_fits == 4
    assert len(table) == 2 * 2 * 2 * 5
    fewer = evaluate(folds[1:2], [MeanPredictor()], folder=tmp_path)
    assert set(fewer["predictor"]) == {"mean profile"}
    assert set(fewer["fold"]) == {"C3"}


@pytest.mark.parametrize("kind", ["scores", "predictions"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "renamed", "gone"])
def test_a_damaged_file_is_computed_again(kind, damage, tmp_path, caplog):
    counted = Counted()
    table = evaluate([FOLD], [counted], folder=tmp_path)
    (file,) = tmp_path.rglob(f"seed_0.{kind}.parquet")
    content = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "renamed":  # a column: no checksum of Parquet covers its name
        column = b"pcc" if kind == "scores" else b"GENE"
        file.write_bytes(content.replace(column, column[::-1]))
    else:
        content[20] ^= 0xFF
        file.write_bytes(content)
    again = evaluate([FOLD], [counted], folder=tmp_path)
    pd.testing.assert_frame_equal(table, again)
    assert counted.n_fits == 2
    assert ("is damaged and will be computed again" in caplog.text) == (
        damage != "gone"
    )


def test_no_unfinished_file_is_left_or_read(tmp_path):
    counted = Counted()
    evaluate([FOLD], [counted], folder=tmp_path)
    (file,) = tmp_path.rglob("seed_0.b2")
    file.rename(file.with_name(f"{file.name}.0.tmp"))  # as a kill would leave it
    evaluate([FOLD], [counted], folder=tmp_path)
    assert counted.n_fits == 2
    written = [path.name for path in tmp_path.rglob("*.*")]
    assert sorted(name for name in written if not name.endswith(".0.tmp")) == [
        "seed_0.b2",
        "seed_0.predictions.parquet",
        "seed_0.scores.parquet",
        "settings.json",
    ]


def test_scores_and_predictions_of_different_runs_are_no_result(tmp_path):
    """As a kill leaves it that came between writing the one and the other anew."""
    counted = Counted()
    for folder, noise in (("one", 0.0), ("two", 1.0)):
        evaluate([FOLD], [Along("counted", noise)], folder=tmp_path / folder)
    (old,), (new,) = (
        (tmp_path / folder).rglob("*.predictions.parquet") for folder in ("one", "two")
    )
    old.write_bytes(new.read_bytes())
    (tmp_path / "one" / "settings.json").unlink()
    evaluate([FOLD], [counted], folder=tmp_path / "one")
    assert counted.n_fits == 1


def test_a_kill_between_any_two_writes_loses_one_result_at_most(tmp_path):
    folds = leave_one_section_out(["C2", "C3"])
    expected = evaluate(folds, [Counted()], folder=tmp_path / "whole")
    for n_writes in range(7):  # the settings, and three files for each result
        folder, counted = tmp_path / str(n_writes), Counted()
        with pytest.raises(Killed), killed_after(n_writes):
            evaluate(folds, [counted], folder=folder)
        table = evaluate(folds, [counted], folder=folder)
        pd.testing.assert_frame_equal(table, expected)
        assert counted.n_fits == (3 if n_writes else 2)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(
        OSError, match=r"cannot write to .*file.*Give a folder that can"
    ):
        evaluate([FOLD], [MeanPredictor()], folder=tmp_path / "file" / "results")


def test_any_name_is_a_file_name(tmp_path):
    odd = dataclasses.replace(FOLD, name="../C4: all?")
    predictor = MeanPredictor(name="mean / profile.v1 (µ)")
    table = evaluate([odd], [predictor], folder=tmp_path / "inner")
    assert set(table["predictor"]) == {"mean / profile.v1 (µ)"}
    assert [path.name for path in tmp_path.iterdir()] == ["inner"]
    maps = benchmark.predictions(tmp_path / "inner", odd.name, predictor.name)
    assert list(maps) == ["C4"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_genes": 4}, "n_genes was 5, now 4"),
        ({"min_transcripts": 2}, "min_transcripts was 1, now 2"),
        ({"load": lambda name: blocks.load(name)}, "load was <function load>, now"),
        ({"folds": [Fold("C4", ("C2",), ("C4",))]}, "folds 'C4' was"),
        ({"predictors": [Along(noise=1.0)]}, r"predictors 'plane' was Along\("),
        ({"predictors": [Along("Plane")]}, "predictors 'plane' is there, now 'Plane'"),
        ({"folds": [Fold("c4", ("C2",), ("C4",))]}, "folds 'C4' is there, now 'c4'"),
    ],
)
def test_a_folder_of_other_settings_is_refused(change, message, tmp_path):
    request = {"folds": [FOLD], "predictors": [Along()]}
    evaluate(**request, folder=tmp_path)
    with pytest.raises(ValueError, match=f"results of other settings: {message}"):
        evaluate(**{**request, **change}, folder=tmp_path)


def test_results_of_another_release_are_refused(tmp_path, monkeypatch):
    evaluate([FOLD], [Along()], folder=tmp_path)
    monkeypatch.setattr(benchmark, "version", lambda package: "999.0")
    with pytest.raises(ValueError, match=r"stlearnkit was .*, now 999\.0\. Choose"):
        evaluate([FOLD], [Along()], folder=tmp_path)


def test_settings_without_results_bind_nobody(tmp_path):
    """Whoever corrects what stopped the first run can keep the folder."""
    with pytest.raises(ValueError, match="n_genes is 13"):
        evaluate([FOLD], [Along()], folder=tmp_path, n_genes=13)
    with pytest.raises(ValueError, match="not finite"):
        evaluate([FOLD], [MeanPredictor(), Along(noise=np.nan)], folder=tmp_path)
    table = evaluate([FOLD], [MeanPredictor(), Along()], folder=tmp_path)
    assert set(table["predictor"]) == {"mean profile", "plane"}
    with pytest.raises(ValueError, match="n_genes was 5, now 4"):
        evaluate([FOLD], [MeanPredictor()], folder=tmp_path, n_genes=4)


@pytest.mark.parametrize("content", ["", '{"format'])
def test_damaged_settings_are_named(content, tmp_path):
    evaluate([FOLD], [MeanPredictor()], folder=tmp_path)
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(ValueError, match=r"settings\.json is damaged.*Choose another"):
        evaluate([FOLD], [MeanPredictor()], folder=tmp_path)


def test_addresses_are_no_settings(tmp_path):
    """They differ between processes; Windows writes them in capitals."""

    class At(MeanPredictor):
        def __init__(self, address):
            super().__init__()
            object.__setattr__(self, "address", address)

        def __repr__(self):
            return f"At(<function f at {self.address}>)"

    for address in ("0x7f57ab9b3ed0", "0x000001E2D5B8A7A0"):
        evaluate([FOLD], [At(address)], folder=tmp_path)
    settings = json.loads((tmp_path / "settings.json").read_text("utf-8"))
    assert settings["predictors"] == {"mean profile": "At(<function f>)"}


@pytest.mark.usefixtures("unchecked")
def test_seeds_of_numpy_are_seeds(tmp_path):
    counted = Counted()
    evaluate([FOLD], [counted], folder=tmp_path, seeds=list(np.arange(2)))
    table = evaluate([FOLD], [counted], folder=tmp_path, seeds=(0, 1))
    assert (counted.n_fits, set(table["seed"])) == (2, {0, 1})
    assert {type(seed) for seed in counted.seeds} == {int}


def test_settings_are_readable_and_the_same_in_another_process(tmp_path):
    evaluate([FOLD], [RidgePredictorOfNothing()], folder=tmp_path)
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["n_genes"] == 5
    assert settings["folds"]["C4"]["train"] == ["C2", "C3"]
    assert " at 0x" not in json.dumps(settings)


@dataclasses.dataclass(frozen=True)
class RidgePredictorOfNothing(RidgePredictor):
    """The settings of the ridge, functions among them, and the mean profile."""

    def fit(self, task, seed):
        return MeanPredictor().fit(task, seed)


def test_stored_results_on_other_genes_are_not_mixed_in(tmp_path):
    def load(name):
        return blocks.section(name, "B" if changed else "C")

    changed: list[str] = []
    evaluate([FOLD], [MeanPredictor()], folder=tmp_path, load=load)
    changed.append("data")
    with pytest.raises(ValueError, match="different gene panels: the data behind load"):
        evaluate([FOLD], [MeanPredictor(), Along()], folder=tmp_path, load=load)


# On a cluster


@pytest.fixture(scope="module")
def client():
    """A cluster of one thread in this process."""
    from distributed import Client

    with Client(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None
    ) as client:
        yield client


def test_a_cluster_gives_the_same_table(client, tmp_path):
    folds = leave_one_patient_out(blocks.PATIENTS)
    predictors = [MeanPredictor(), Along(noise=0.1)]
    here = evaluate(folds, predictors, folder=tmp_path / "here", seeds=(0, 1))
    there = evaluate(
        folds, predictors, folder=tmp_path / "there", seeds=(0, 1), client=client
    )
    pd.testing.assert_frame_equal(here, there)


def test_a_failed_job_is_named_and_the_others_are_kept(client, tmp_path):
    def broken(section):
        raise ArithmeticError("no gradient")

    request = {"folds": leave_one_section_out(["C2", "C3"]), "client": client}
    with pytest.raises(ArithmeticError, match="no gradient") as error:
        evaluate(predictors=[From(broken), MeanPredictor()], folder=tmp_path, **request)
    (note,) = error.value.__notes__
    assert "predictor 'odd', seed 0; 2 of 4 jobs failed" in note
    kept = [path.parent.name for path in tmp_path.rglob("*.scores.parquet")]
    assert kept == ["mean profile", "mean profile"]


def test_a_cancelled_job_is_named_and_the_others_are_kept(
    client, tmp_path, monkeypatch
):
    submit = client.submit

    def submit_and_cancel(function, job, *arguments, **options):
        future = submit(function, job, *arguments, **options)
        if job.predictor.name == "plane":
            future.cancel()
        return future

    monkeypatch.setattr(client, "submit", submit_and_cancel)
    request = {"folds": [FOLD], "predictors": [Along(), MeanPredictor()]}
    with pytest.raises(RuntimeError, match="no result: the job is cancelled") as error:
        evaluate(**request, folder=tmp_path, client=client)
    assert "predictor 'plane', seed 0; 1 of 2 jobs" in error.value.__notes__[0]
    monkeypatch.setattr(client, "submit", submit)
    table = evaluate(**request, folder=tmp_path, client=client)
    assert set(table["predictor"]) == {"plane", "mean profile"}


def test_jobs_that_nobody_waits_for_are_cancelled(client, tmp_path, monkeypatch):
    n_fits = []

    def count(section):
        n_fits.append(section.name)
        return np.zeros((section.n_spots, 5))

    def full(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(benchmark.Results, "write", full)
    folds = leave_one_section_out(["C2", "C3", "C4", "B4", "B5"])
    with pytest.raises(OSError, match="no space left") as error:
        evaluate(folds, [From(count)], folder=tmp_path, client=client)
    assert not client.futures
    assert len(n_fits) < 5
    del error


# Bad input


def test_nothing_to_do_is_refused(tmp_path):
    with pytest.raises(ValueError, match="folds is empty"):
        evaluate([], [MeanPredictor()], folder=tmp_path)
    with pytest.raises(ValueError, match="predictors is empty"):
        evaluate([FOLD], [], folder=tmp_path)
    with pytest.raises(ValueError, match="seeds is empty"):
        evaluate([FOLD], [MeanPredictor()], folder=tmp_path, seeds=())


def test_names_that_are_not_unique_are_refused(tmp_path):
    twins = [MeanPredictor(name="Mean"), MeanPredictor(name="mean")]
    with pytest.raises(ValueError, match=r"predictors has \['Mean', 'mean'\]: names"):
        evaluate([FOLD], twins, folder=tmp_path)
    with pytest.raises(ValueError, match=r"folds has \['C4', 'C4'\]"):
        evaluate([FOLD, FOLD], [MeanPredictor()], folder=tmp_path)
    with pytest.raises(ValueError, match=r"seeds has \['1', '1'\]"):
        evaluate([FOLD], [MeanPredictor()], folder=tmp_path, seeds=(1, 1))
    with pytest.raises(ValueError, match="predictors has an empty name"):
        evaluate([FOLD], [MeanPredictor(name="")], folder=tmp_path)


def test_spots_without_transcripts_cannot_be_scored(tmp_path):
    with pytest.raises(ValueError, match="min_transcripts is 0, expected 1 or more"):
        evaluate([FOLD], [MeanPredictor()], folder=tmp_path, min_transcripts=0)


def test_too_few_spots_to_score_are_refused(tmp_path):
    with pytest.raises(ValueError, match="section 'C4' has 0 spots of 5000 or more"):
        evaluate([FOLD], [MeanPredictor()], folder=tmp_path, min_transcripts=5000)


def test_unknown_sections_are_refused(tmp_path):
    odd = Fold("odd", train=("C2",), test=("Z9",))
    with pytest.raises(ValueError, match="fold 'odd' names section 'Z9', which load d"):
        evaluate([odd], [MeanPredictor()], folder=tmp_path)


def test_a_section_of_another_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"load\('C2'\) gave section 'B4'"):
        evaluate(
            [FOLD],
            [MeanPredictor()],
            folder=tmp_path,
            load=lambda name: blocks.load("B4"),
        )


def test_sections_that_share_too_few_genes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="fold 'C4' share 12 genes, but n_genes is 13"):
        evaluate([FOLD], [MeanPredictor()], folder=tmp_path, n_genes=13)


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        (np.zeros((36, 4)), r"has shape \(36, 4\), expected \(36, 5\)"),
        (np.zeros((5, 36)), r"has shape \(5, 36\), expected \(36, 5\)"),
        (np.full((36, 5), np.nan), "has 180 entries that are not finite"),
        (np.full((36, 5), np.inf), "has 180 entries that are not finite"),
    ],
)
def test_predictions_that_are_no_map_are_refused(predicted, message, tmp_path):
    with pytest.raises(ValueError, match=f"prediction of section 'C4' {message}") as e:
        evaluate([FOLD], [From(lambda section: predicted)], folder=tmp_path)
    assert "fold 'C4', predictor 'odd', seed 0" in e.value.__notes__[0]


def test_a_fit_that_does_not_say_what_it_saw_is_refused(tmp_path):
    class Silent:
        predict = staticmethod(lambda section: np.zeros((section.n_spots, 5)))

    @dataclasses.dataclass(frozen=True)
    class Mute(MeanPredictor):
        def fit(self, task, seed):
            return Silent()

    with pytest.raises(ValueError, match="Silent does not say which sections it has"):
        evaluate([FOLD], [Mute()], folder=tmp_path)


def test_importing_the_room_loads_neither_lightning_nor_dask():
    code = "import sys, stlearnkit.benchmark; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    loaded = set(done.stdout.split())
    assert "stlearnkit.benchmark" in loaded
    assert {"lightning", "distributed", "torch_geometric"}.isdisjoint(loaded)


# On real sections


@pytest.mark.real_data
def test_the_library_size_of_chapter_four_comes_back(tmp_path):
    """Chapter 4 fits a line in the library size, and prints 0.34 on B4."""
    fold = Fold("B4", ("C2", "C3", "C4", "C5", "C6"), ("B4",), claim="patient")
    table = benchmark.evaluate(
        [fold],
        [MeanPredictor()],
        load=partial(her2st, image=False),
        folder=tmp_path,
    )
    sections = [her2st(name, image=False) for name in (*fold.train, "B4")]
    assert set(table["gene"]) <= set(shared_genes(sections))
    assert table["pcc_library_size"].mean() == pytest.approx(0.3415, abs=1e-4)
    assert table["mse"].mean() == pytest.approx(2.9704, abs=1e-4)
