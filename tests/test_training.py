"""Training: the same weights whatever happens on the way, and honest refusals."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import fit_toys
import lightning
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
import toys
from kills import Killed, killed_after
from torch.overrides import TorchFunctionMode

from stlearnkit import training
from stlearnkit.batches import Prediction, SpotPredictor
from stlearnkit.models.cnn import STNet
from stlearnkit.symmetries import SYMMETRIES
from stlearnkit.training import (
    FitConfig,
    SpotModule,
    TrainingError,
    fit,
    load,
    predict,
)
from stlearnkit.training._runs import save
from stlearnkit.training._steps import Epoch, plan_epoch

HERE = Path(__file__).parent
ONE_EPOCH = FitConfig(max_epochs=1)
NO_QUERIES = {
    "queries": torch.arange(0),
    "patches": None,
    "targets": torch.zeros(0, 3),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order, so that runs can be compared to the last bit."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def quick(model=None, train=None, validation=None, **options):
    settings = {"accelerator": "cpu", "progress": False, "config": ONE_EPOCH}
    return fit(
        model or toys.network(),
        [toys.batch("A", seed=1)] if train is None else train,
        [toys.batch("V", seed=3)] if validation is None else validation,
        **{**settings, **options},
    )


def weights(folder):
    return safetensors.torch.load_file(folder / "best.safetensors")


def largest_difference(one, other):
    assert one.keys() == other.keys()
    return max((one[key] - other[key]).abs().max().item() for key in one)


def script(*arguments, launcher=(sys.executable,)):
    paths = os.pathsep.join([str(HERE), str(HERE.parent)])
    return subprocess.run(
        [*launcher, str(HERE / "fit_toys.py"), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


# Steps


def test_every_spot_comes_once_an_epoch():
    steps = plan_epoch([21, 5], 8, augment=True, seed=0, epoch=3)
    assert len(steps) == 4
    for batch, size in ((0, 21), (1, 5)):
        rows = [step.rows for step in steps if step.batch == batch]
        assert sorted(np.concatenate(rows)) == list(range(size))
        assert all(5 <= len(part) <= 8 for part in rows)


def test_steps_depend_on_seed_and_epoch_alone():
    def drawn(**chosen):
        steps = plan_epoch(
            [21], 8, **{"augment": True, "seed": 0, "epoch": 0, **chosen}
        )
        return [(step.rows.tolist(), step.symmetry) for step in steps]

    assert drawn() == drawn()
    assert drawn() != drawn(epoch=1)
    assert drawn() != drawn(seed=1)


def test_steps_are_turned_only_if_asked():
    plain = plan_epoch([99], 2, augment=False, seed=0, epoch=0)
    turned = plan_epoch([99], 2, augment=True, seed=0, epoch=0)
    assert {step.symmetry for step in plain} == {SYMMETRIES[0]}
    assert {step.symmetry for step in turned} == set(SYMMETRIES)


@pytest.mark.parametrize("n_processes", [2, 3, 9])
def test_shares_of_a_step_add_up_to_its_gradient(n_processes):
    batch = toys.batch(n_spots=7)
    steps = plan_epoch([7], 7, augment=True, seed=0, epoch=0)

    def gradient(process, of):
        model = toys.network(dropout=0.0).train()
        share, weight = Epoch([batch], steps, process=process, n_processes=of)[0]
        (weight * model.loss(model(share), share)).backward()
        return model.head.weight.grad

    shares = [gradient(process, n_processes) for process in range(n_processes)]
    assert torch.allclose(torch.stack(shares).mean(dim=0), gradient(0, 1), atol=1e-6)


def test_loss_of_a_process_without_a_share_is_not_counted():
    steps = plan_epoch([3], 3, augment=False, seed=0, epoch=0)
    share, weight = Epoch([toys.batch(n_spots=3)], steps, process=4, n_processes=5)[0]
    assert (share.n_queries, weight) == (1, 0)


# Training


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    torch.set_num_threads(1)
    return folder, fit_toys.run(folder, toys.network())


def test_training_learns_what_can_be_seen(finished):
    _, fitted = finished
    history = fitted.history
    assert history["epoch"].tolist() == [0, 1, 2, 3, 4]
    assert math.isnan(history["train_loss"][0])
    assert history["val_mse"].min() < 0.5 * history["val_mse"][0]
    assert fitted.best_epoch == history["val_mse"].argmin()
    scores = np.corrcoef(
        fitted.predict(toys.batch("T", seed=9))[:, 0],
        toys.batch("T", seed=9).targets[:, 0],
    )
    assert scores[0, 1] > 0.9


def test_history_before_training_is_the_score_of_the_profile(finished):
    _, fitted = finished
    measured = toys.batch("V", seed=3).targets.numpy()
    expected = np.mean((measured - [1.5, 1.5, 3.0]) ** 2)
    assert fitted.history["val_mse"][0] == pytest.approx(expected, rel=1e-6)
    assert fitted.history["val_pcc"][0] == 0


def test_learning_rate_rises_and_falls(finished):
    rates = finished[1].history["learning_rate"].tolist()
    assert rates[0] == 0
    assert rates[1] == max(rates)
    assert rates[4] < 0.01 * rates[1]


def test_weights_kept_are_those_of_the_best_epoch(finished):
    folder, fitted = finished
    state = fitted.model.state_dict()
    assert largest_difference(weights(folder), dict(state)) == 0
    scored = predict(fitted.model, toys.batch("V", seed=3), n_symmetries=1)
    error = np.mean((scored - toys.batch("V", seed=3).targets.numpy()) ** 2)
    assert error == pytest.approx(fitted.history["val_mse"].min(), rel=1e-5)


def upside_down():
    """Return a section in which all is the other way round: learning only harms."""
    batch = toys.batch("V", seed=3)
    return replace(batch, targets=2 * torch.tensor([1.5, 1.5, 3.0]) - batch.targets)


def test_a_model_that_cannot_learn_stays_at_the_mean(tmp_path):
    fitted = quick(validation=[upside_down()], folder=tmp_path)
    assert fitted.best_epoch == 0
    assert fitted.predict(toys.batch()) == pytest.approx(
        np.tile([1.5, 1.5, 3.0], (20, 1)), abs=1e-6
    )


def test_the_epoch_may_be_chosen_by_correlation(tmp_path, monkeypatch):
    """Of made-up scores the highest correlation counts, whatever the error."""
    made_up = iter([(1.0, 0.0), (0.5, 0.3), (0.7, 0.6), (0.4, 0.5), (0.3, 0.4)])
    real = SpotModule.on_validation_epoch_end

    def score(module):
        module._validated = torch.tensor([next(made_up)])
        real(module)

    monkeypatch.setattr(SpotModule, "on_validation_epoch_end", score)
    config = FitConfig(max_epochs=9, patience=2, choose_by="pcc")
    fitted = fit_toys.run(tmp_path, toys.network(), config=config)
    assert fitted.history["epoch"].tolist() == [0, 1, 2, 3, 4]  # patience is lost
    assert fitted.best_epoch == 2
    assert fitted.validation_error == pytest.approx(0.7)
    assert load(tmp_path, STNet).best_epoch == 2


@pytest.mark.usefixtures("unchecked")
def test_unknown_score():
    with pytest.raises(ValueError, match="choose_by is 'luck', expected 'mse' or 'pcc"):
        FitConfig(choose_by="luck")


def test_training_stops_when_patience_is_lost():
    config = FitConfig(max_epochs=9, patience=2, learning_rate=1e-2)
    fitted = quick(validation=[upside_down()], config=config)
    assert len(fitted.history) < 9


def test_a_run_that_lost_patience_is_finished_before_its_state_is_saved(
    tmp_path, monkeypatch
):
    """Killed right after, it would otherwise train one more epoch when resumed."""
    finished_at_save = []
    save_checkpoint = lightning.Trainer.save_checkpoint

    def noting(trainer, path):
        finished_at_save.append((tmp_path / "done").exists())
        save_checkpoint(trainer, path)

    monkeypatch.setattr(lightning.Trainer, "save_checkpoint", noting)
    config = FitConfig(max_epochs=9, patience=2, learning_rate=1e-2)
    quick(validation=[upside_down()], config=config, folder=tmp_path)
    assert finished_at_save == [False] * (len(finished_at_save) - 1) + [True]


def test_folder_holds_settings_weights_history_and_logs(finished):
    folder, fitted = finished
    settings = json.loads((folder / "config.json").read_text())
    assert settings["model"] == "STNet"
    assert settings["model_config"]["backbone"] == "test_efficientnet"
    assert settings["genes"] == toys.GENES
    assert settings["fit_config"]["max_epochs"] == 4
    assert settings["versions"].keys() == {"stlearnkit", "timm", "torch"}
    assert fitted.run.seen == ("A", "B", "V")
    assert list((folder / "tensorboard").glob("events.*"))
    table = pd.read_csv(folder / "history.csv")
    pd.testing.assert_frame_equal(table, fitted.history)
    assert not list(folder.glob("*.tmp"))


def test_checkpoint_is_read_without_unpickling(finished):
    state = torch.load(finished[0] / "last.ckpt", weights_only=True)
    assert state["epoch"] == 3


def test_same_seed_same_weights_other_seed_others(finished, tmp_path):
    again = fit_toys.run(tmp_path / "again", toys.network())
    assert largest_difference(weights(finished[0]), dict(again.model.state_dict())) == 0
    config = replace(fit_toys.CONFIG, seed=1)
    other = fit_toys.run(tmp_path / "other", toys.network(), config=config)
    assert largest_difference(weights(finished[0]), dict(other.model.state_dict())) > 0


def test_training_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    model = toys.network()
    torch.manual_seed(1)
    quick(model)
    assert torch.rand(3).equal(expected)


def test_without_a_folder_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick()
    assert list(tmp_path.iterdir()) == []


def test_loaded_model_predicts_as_the_fitted_one(finished):
    folder, fitted = finished
    loaded = load(folder, STNet)
    batch = toys.batch("T", seed=9)
    assert (loaded.predict(batch) == fitted.predict(batch)).all()
    assert loaded.run == fitted.run
    pd.testing.assert_frame_equal(loaded.history, fitted.history)


class Counting(lightning.Callback):
    """Counts the steps of a run."""

    n_steps = 0

    def on_train_batch_end(self, *arguments):
        self.n_steps += 1


def test_callbacks_are_called_and_change_nothing():
    counting, expected = Counting(), quick()
    fitted = quick(callbacks=[counting])
    assert counting.n_steps == 1
    pd.testing.assert_frame_equal(fitted.history, expected.history)


# Interruptions


def test_killed_run_ends_as_if_it_had_not_been(finished, tmp_path):
    died = script(tmp_path, "--die-in-epoch", 3)
    assert died.returncode == -9, died.stderr
    assert pd.read_csv(tmp_path / "history.csv")["epoch"].max() == 2
    resumed = fit_toys.run(tmp_path, toys.network())
    assert largest_difference(weights(finished[0]), weights(tmp_path)) == 0
    pd.testing.assert_frame_equal(resumed.history, finished[1].history)


def test_a_run_killed_between_any_two_writes_ends_as_if_it_had_not_been(tmp_path):
    config = FitConfig(max_epochs=2, learning_rate=1e-3)
    expected = quick(config=config)
    n_kills, finished = 0, False
    while not finished:
        folder = tmp_path / str(n_kills)
        try:
            with killed_after(n_kills):
                quick(config=config, folder=folder)
            finished = True
        except Killed:
            n_kills += 1
            ended = quick(config=config, folder=folder)
            assert (
                largest_difference(weights(folder), dict(expected.model.state_dict()))
                == 0
            )
            pd.testing.assert_frame_equal(ended.history, expected.history)
    assert n_kills == 10  # settings; weights, history, state of epochs; the end


class Impatient(STNet):
    """Its user gives up in the first step."""

    def loss(self, prediction, batch):
        raise KeyboardInterrupt


def test_whoever_interrupts_training_can_interrupt_again_and_go_on(tmp_path):
    model, handler = toys.network(), signal.getsignal(signal.SIGINT)
    model.__class__ = Impatient
    Impatient.__name__ = STNet.__name__
    with pytest.raises(KeyboardInterrupt):
        quick(model, folder=tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    assert len(quick(folder=tmp_path).history) == 2


def test_a_damaged_state_is_named(finished, tmp_path):
    for name in ("config.json", "last.ckpt", "best.safetensors"):
        content = (finished[0] / name).read_bytes()
        (tmp_path / name).write_bytes(content)
    (tmp_path / "last.ckpt").write_bytes(content[:100])
    with pytest.raises(
        TrainingError, match=r"last\.ckpt cannot be read: .* Remove it to train from t"
    ):
        fit_toys.run(tmp_path, toys.network())


def test_finished_run_is_returned_not_repeated(finished, monkeypatch):
    folder, fitted = finished
    monkeypatch.setattr(training._trainer, "_run_trainer", None)
    again = fit_toys.run(folder, toys.network())
    pd.testing.assert_frame_equal(again.history, fitted.history)
    assert largest_difference(weights(folder), dict(again.model.state_dict())) == 0


def test_two_processes_do_what_one_does(tmp_path):
    launcher = (
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        "--nproc_per_node=2",
    )  # fmt: skip
    two = script(tmp_path / "two", launcher=launcher)
    assert two.returncode == 0, two.stderr
    one = fit_toys.run(tmp_path / "one", toys.network(dropout=0.0))
    difference = largest_difference(
        weights(tmp_path / "one"), weights(tmp_path / "two")
    )
    assert difference < 1e-4
    history = pd.read_csv(tmp_path / "two" / "history.csv")
    pd.testing.assert_frame_equal(history, one.history, rtol=1e-3, atol=1e-5)


class Hopeless(STNet):
    """Its loss is no number from some step on."""

    steps_left = 3

    def loss(self, prediction, batch):
        self.steps_left -= 1
        return super().loss(prediction, batch) * (
            math.nan if self.steps_left < 0 else 1
        )


def test_loss_that_is_no_number_keeps_the_last_epoch(tmp_path):
    model = toys.network()
    model.__class__ = Hopeless
    config = FitConfig(max_epochs=5, spots_per_step=10)
    with pytest.raises(
        TrainingError, match=r"loss is nan in epoch 2, section 'A'\. Low"
    ):
        quick(model, folder=tmp_path, config=config)
    assert pd.read_csv(tmp_path / "history.csv")["epoch"].tolist() == [0, 1]
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["epoch"] == 0


class Exploding(STNet):
    """Its loss is fine, but what it learns from it is no number."""

    def on_explosion(self, gradient):
        return gradient * math.nan

    def loss(self, prediction, batch):
        prediction.expression.register_hook(self.on_explosion)
        return super().loss(prediction, batch)


def test_prediction_that_is_no_number_keeps_the_last_epoch(tmp_path):
    model = toys.network()
    model.__class__ = Exploding
    with pytest.raises(
        TrainingError, match=r"predicted .* not finite in epoch 1, section 'V'\. Low"
    ):
        quick(model, folder=tmp_path)
    assert pd.read_csv(tmp_path / "history.csv")["epoch"].tolist() == [0]


@contextmanager
def files_of_at_most(n_bytes):
    """The disk has no more room; Python ignores the signal and sees the error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_keeps_what_was_there_and_the_run_goes_on_later(finished, tmp_path):
    whole, fitted = finished
    room = (whole / "best.safetensors").stat().st_size + 10_000
    assert room < (whole / "last.ckpt").stat().st_size
    with (
        files_of_at_most(room),
        pytest.raises(
            TrainingError, match=r"last\.ckpt: .*The folder keeps epoch 0; m"
        ),
    ):
        fit_toys.run(tmp_path, toys.network())
    assert load(tmp_path, STNet).best_epoch == 1
    assert not (tmp_path / "last.ckpt").exists()
    assert not list(tmp_path.glob("*.tmp"))
    again = fit_toys.run(tmp_path, toys.network())
    assert largest_difference(weights(whole), weights(tmp_path)) == 0
    pd.testing.assert_frame_equal(again.history, fitted.history)


def test_file_that_cannot_be_written_keeps_its_content(tmp_path):
    file = tmp_path / "folder" / "file"
    save(file, b"good")
    with (
        files_of_at_most(3),
        pytest.raises(TrainingError, match=r"cannot write .*call fit again to go on"),
    ):
        save(file, b"better")
    assert file.read_bytes() == b"good"


def test_old_unfinished_files_of_others_are_left_alone(tmp_path):
    ours, others = tmp_path / f"best.{'0' * 32}.tmp", tmp_path / "notes.tmp"
    for file in (ours, others):
        file.touch()
        os.utime(file, (0, 0))
    save(tmp_path / "file", b"content")
    assert (ours.exists(), others.exists()) == (False, True)


# Prediction


def test_mean_over_symmetries_does_not_change_when_the_slide_is_turned():
    model = toys.network().eval()
    torch.nn.init.normal_(model.head.weight)
    random = torch.Generator().manual_seed(0)
    picture = torch.randint(0, 256, (5, 3, 32, 32), generator=random).byte()
    batch = replace(toys.batch(n_spots=5), patches=picture)
    turned = batch.transformed(SYMMETRIES[5])
    assert predict(model, batch) == pytest.approx(predict(model, turned), abs=1e-4)
    one, other = (predict(model, b, n_symmetries=1) for b in (batch, turned))
    assert np.abs(one - other).max() > 1e-3


def test_mean_over_symmetries_by_hand():
    model = toys.network().eval()
    torch.nn.init.normal_(model.head.weight)
    batch = toys.batch(n_spots=5)
    with torch.inference_mode():
        views = [model(batch.transformed(s)).expression.numpy() for s in SYMMETRIES]
    assert predict(model, batch) == pytest.approx(np.mean(views, axis=0), abs=1e-5)


def test_prediction_does_not_depend_on_the_size_of_a_step_and_keeps_the_mode():
    model = toys.network().train()
    torch.nn.init.normal_(model.head.weight)
    batch = toys.batch()
    large, small = (predict(model, batch, spots_per_step=n) for n in (20, 3))
    assert large == pytest.approx(small, abs=1e-4)
    assert model.dropout.training


class Calls(TorchFunctionMode):
    """Notes which methods of tensors are called, in order."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_function__(self, function, types, arguments=(), named=None):
        self.names.append(function.__name__)
        return function(*arguments, **(named or {}))


def test_double_precision_is_used_on_the_cpu_alone():
    """Apple's GPUs have none."""
    with Calls() as calls:
        predict(toys.network(), toys.batch())
    assert "double" not in calls.names[: calls.names.index("cpu")]
    assert "double" in calls.names


def test_scores_are_gathered_in_single_precision():
    reduced = []
    module = training.SpotModule(
        toys.network(), [toys.batch()], [toys.batch("V")], ONE_EPOCH
    )
    trainer = lightning.Trainer(accelerator="cpu", logger=False)

    def reduce(scores, reduce_op):
        reduced.append(scores)
        return scores

    trainer.strategy.reduce = reduce
    module.trainer, module.log_dict = trainer, lambda *_, **__: None
    module.on_validation_epoch_start()
    with Calls() as calls:
        module.on_validation_epoch_end()
    assert reduced[0].dtype == torch.float32
    assert "double" not in calls.names[: calls.names.index("cpu")]


@pytest.mark.parametrize(
    ("has_bfloat16", "precision"), [(True, "bf16-mixed"), (False, "16-mixed")]
)
def test_half_precision_is_what_the_gpu_has_itself(
    has_bfloat16, precision, monkeypatch
):
    """Older ones only emulate bfloat16, which is slow."""

    def supported(including_emulation=True):
        return has_bfloat16 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert training._trainer._precision("auto") == precision
    assert training._trainer._precision("cpu") == "32-true"


def test_a_batch_without_queries_has_a_prediction_without_rows():
    empty = toys.batch().subset([])
    assert predict(toys.network(), empty).shape == (0, 3)


@pytest.mark.parametrize(("patches", "expected"), [(True, [32, 8]), (False, [40])])
def test_spots_without_patches_are_predicted_together(patches, expected):
    sizes = []

    class Noted(STNet):
        def forward(self, batch):
            sizes.append(batch.n_queries)
            shape = (batch.n_queries, self.n_genes)
            return Prediction(torch.zeros(shape))

    batch = toys.batch(n_spots=40)
    if not patches:
        batch = replace(batch, patches=None)
    model = Noted(np.zeros(3), toys.network().config)
    predict(model, batch, n_symmetries=1)
    assert sizes == expected


def test_spots_per_step_of_a_prediction():
    with pytest.raises(ValueError, match="spots_per_step is 0, expected at least 1"):
        predict(toys.network(), toys.batch(), spots_per_step=0)


@pytest.mark.parametrize("n_symmetries", [0, 9])
def test_number_of_symmetries(n_symmetries):
    with pytest.raises(ValueError, match=f"n_symmetries is {n_symmetries}, expected 1"):
        predict(toys.network(), toys.batch(), n_symmetries=n_symmetries)


# Refusals


def test_no_validation():
    with pytest.raises(
        ValueError, match=r"validation is empty\. Give at least one sec"
    ):
        quick(validation=[])


def test_no_training():
    with pytest.raises(ValueError, match=r"train is empty\. Give at least one section"):
        quick(train=[])


def test_validation_section_that_was_trained_on():
    with pytest.raises(
        ValueError, match=r"sections \['A'\] stand in train and in valid"
    ):
        quick(validation=[toys.batch("A", seed=5)])


@pytest.mark.parametrize("change", [{"targets": None}, NO_QUERIES])
def test_section_without_targets(change):
    lacking = replace(toys.batch("V"), **change)
    with pytest.raises(
        ValueError, match=r"sections \['V'\] in validation have no targ"
    ):
        quick(validation=[lacking])


def test_panels_that_differ():
    other = replace(toys.batch("V"), genes=("GENE1", "X", "GENE3"))
    with pytest.raises(ValueError, match="'V' has another panel than 'A'"):
        quick(validation=[other])


def test_model_of_another_number_of_genes():
    batches = [
        replace(b, genes=b.genes[:2], targets=b.targets[:, :2])
        for b in (toys.batch("A"), toys.batch("V"))
    ]
    with pytest.raises(ValueError, match="model predicts 3 genes, the batches have 2"):
        quick(train=batches[:1], validation=batches[1:])


def test_folder_of_another_run(finished):
    folder, _ = finished
    config = replace(fit_toys.CONFIG, max_epochs=7)
    with pytest.raises(
        ValueError, match=r"holds a run whose fit_config is .*'max_epoch"
    ):
        fit_toys.run(folder, toys.network(), config=config)
    with pytest.raises(ValueError, match="holds a run whose model_config is"):
        fit_toys.run(folder, toys.network(dropout=0.5))


@pytest.mark.parametrize("content", ["{}", "[]", "not json", '{"versions": 1, "x": 2}'])
def test_folder_with_a_config_that_no_run_wrote(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json that no run wrote\. Give each"):
        quick(folder=tmp_path)


def test_processes_that_train_together_need_a_folder():
    with pytest.raises(
        ValueError, match="folder is None, but 2 processes train together"
    ):
        quick(devices=2, strategy="ddp")


class Other(SpotPredictor):
    """Another model."""

    def forward(self, batch):
        return Prediction(batch.targets)


def test_checkpoint_of_another_model(finished):
    with pytest.raises(
        ValueError, match=r"holds a STNet, not a Other: load\(folder, STN"
    ):
        load(finished[0], Other)


def test_checkpoint_of_another_gene_list(finished):
    other = replace(toys.batch(), genes=("A1", "A2", "A3", "A4"))
    with pytest.raises(
        ValueError, match=r"panel of 4 genes, 'A1', 'A2', … 'A4', but the model was tra"
    ):
        finished[1].predict(other)


def test_folder_that_is_none(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"holds no config\.json\. Give the fold"
    ):
        load(tmp_path, STNet)


def test_run_that_stopped_before_its_first_epoch(finished, tmp_path):
    (tmp_path / "config.json").write_bytes((finished[0] / "config.json").read_bytes())
    with pytest.raises(
        FileNotFoundError, match=r"no best\.safetensors: the run stopped"
    ):
        load(tmp_path, STNet)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_epochs": 0}, "max_epochs is 0, expected at least 1"),
        ({"spots_per_step": 0}, "spots_per_step is 0, expected at least 1"),
        ({"patience": 0}, "patience is 0, expected at least 1"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0, expected above 0"),
        ({"max_gradient_norm": math.inf}, "max_gradient_norm is inf, expected above 0"),
        ({"warmup_share": 1.5}, r"warmup_share is 1\.5, expected 0 to 1"),
        ({"weight_decay": -1.0}, r"weight_decay is -1\.0, expected 0 to 1"),
    ],
)
def test_settings_that_cannot_be_meant(setting, message):
    with pytest.raises(ValueError, match=message):
        FitConfig(**setting)


# The script of the page "Training on several devices and machines"


@pytest.mark.real_data
def test_documented_script_runs_on_two_processes(tmp_path):
    launcher = (
        sys.executable,
        *("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
        str(HERE.parent / "book" / "scripts" / "train_stnet.py"),
    )
    small = "--side-px 32 --epochs 1 --n-genes 20 --backbone test_efficientnet"
    sections = "--no-pretraining --train C3 --validate C4"
    done = subprocess.run(
        [*launcher, "--folder", str(tmp_path), *small.split(), *sections.split()],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "weights in" in done.stdout
    fitted = load(tmp_path, STNet)
    assert (fitted.run.trained_on, fitted.run.validated_on) == (("C3",), ("C4",))
    assert len(fitted.run.genes) == 20


def test_documented_job_is_a_shell_script():
    job = HERE.parent / "book" / "scripts" / "train_stnet.sbatch"
    subprocess.run(["bash", "-n", str(job)], check=True)
    assert job.read_text().count("#SBATCH") == 7
