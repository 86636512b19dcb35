"""Tests of fitted predictors in files: the same predictions, and nothing foreign."""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save as bytes_of
from safetensors.torch import save_file
from tissue import save_encoder

from stlearnkit import synthetic
from stlearnkit.encoders import Encoder
from stlearnkit.expression import top_genes
from stlearnkit.folds import leave_one_section_out
from stlearnkit.models.triplex import Triplex, TriplexConfig
from stlearnkit.patches import Scale
from stlearnkit.predictors import (
    BestOf,
    KrigingPredictor,
    MeanOf,
    MeanPredictor,
    NetworkPredictor,
    RidgePredictor,
    Task,
)
from stlearnkit.predictors._blocks import ImagePredictor
from stlearnkit.predictors.fitted import Trained, load, save
from stlearnkit.recipes import ViewsRecipe
from stlearnkit.training import FitConfig

SCALES = (Scale("spot", 112.0),)


@pytest.fixture(scope="module")
def sections():
    return synthetic.stack(3, n_spots=25, n_genes=20, mpp=2.0).stack.sections


@pytest.fixture(scope="module")
def task(sections):
    train = sections[:2]
    inner = leave_one_section_out([section.name for section in train])
    return Task(train, (), top_genes(train, 4), inner)


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    """How to load a tiny encoder from a folder."""
    monkeypatch.setenv("STLEARNKIT_CACHE", str(tmp_path / "cache"))
    save_encoder(tmp_path / "weights")
    return partial(Encoder.load, f"local-dir:{tmp_path / 'weights'}")


def predictors(encoder, runs: Path):
    """Return one predictor of each kind."""
    looks = ImagePredictor(encoder, SCALES, (250.0,))
    ridge = RidgePredictor(**vars(looks))
    network = NetworkPredictor(
        partial(Triplex, config=TriplexConfig(n_cells=3, n_components=4)),
        ViewsRecipe(encoder, n_cells=3, cell_px=32, section=SCALES),
        FitConfig(max_epochs=1),
        folder=runs,
        n_networks=2,
    )
    return {
        "mean": MeanPredictor(),
        "ridge": ridge,
        "kriging": KrigingPredictor(**vars(looks)),
        "best": BestOf((ridge, replace(ridge, radii_um=(), name="alone"))),
        "mean of": MeanOf((MeanPredictor(), ridge)),
        "network": network,
    }


@pytest.mark.parametrize(
    "kind", ["mean", "ridge", "kriging", "best", "mean of", "network"]
)
def test_what_is_read_predicts_the_same(tmp_path, encoder, task, sections, kind):
    predictor = predictors(encoder, tmp_path / "runs")[kind]
    trained = Trained.fit(predictor, task, seed=0)
    expected = trained.predict(sections[2])
    file = tmp_path / "kept" / "fitted.safetensors"
    save(trained, file)
    again = load(file)
    assert (again.name, again.panel) == (trained.name, trained.panel)
    assert tuple(again.fitted.seen) == tuple(trained.fitted.seen)
    assert again.predict(sections[2]).equals(expected)
    assert again.to_bytes() == trained.to_bytes() == file.read_bytes()


def test_predictions_have_spots_and_genes(task, sections):
    table = Trained.fit(MeanPredictor(), task, seed=0).predict(sections[2])
    assert list(table.index) == list(sections[2].adata.obs_names)
    assert tuple(table.columns) == task.panel.genes
    assert table.dtypes.eq(np.float32).all()


def test_no_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no fitted predictor at .*none"):
        load(tmp_path / "none")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"words of any kind, longer than a header",
        bytes_of({"a": np.zeros(1)}),
        bytes_of({"a": np.zeros(1)}, metadata={"stlearnkit": "{}"}),
        bytes_of({}, metadata={"stlearnkit": '{"format": "predictor 1"}'}),
    ],
)
def test_other_files_are_refused(tmp_path, content):
    file = tmp_path / "other"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"holds no fitted predictor .*save wrote"):
        load(file)


def test_a_file_cut_short_is_refused(tmp_path, task):
    file = tmp_path / "cut"
    save(Trained.fit(MeanPredictor(), task, seed=0), file)
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ValueError, match="or is damaged"):
        load(file)


def write_words(file: Path, trained: dict[str, object]) -> None:
    """Write a file of the right format that holds no arrays."""
    words = json.dumps({"format": "predictor 1", "trained": trained})
    file.write_bytes(bytes_of({}, metadata={"stlearnkit": words}))


@pytest.mark.parametrize(
    "name",
    ["os:system", "stlearnkit.nowhere:x", "stlearnkit.datasets:zipfile.ZipFile"],
)
def test_nothing_but_the_library_is_read(tmp_path, name):
    write_words(tmp_path / "foreign", {"class": name, "fields": {}})
    with pytest.raises(ValueError, match=f"names '{name}', which this version"):
        load(tmp_path / "foreign")


def test_something_else_of_the_library_is_refused(tmp_path):
    write_words(tmp_path / "tuple", {"tuple": []})
    with pytest.raises(ValueError, match=r"holds no predictor\. Fit and save it"):
        load(tmp_path / "tuple")


def test_another_encoder_is_refused(tmp_path, encoder, task):
    predictor = predictors(encoder, tmp_path / "runs")["ridge"]
    save(Trained.fit(predictor, task, seed=0), tmp_path / "ridge")
    weights = tmp_path / "weights" / "model.safetensors"
    torch.manual_seed(1)
    network = encoder().network
    for parameter in network.parameters():
        parameter.data = torch.randn_like(parameter)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, weights)
    with pytest.raises(ValueError, match="was fitted on features of another encoder"):
        load(tmp_path / "ridge")


@dataclass(frozen=True, eq=False)
class Own:
    """Something fitted elsewhere."""

    seen: tuple[str, ...] = ()

    def predict(self, section):
        return np.zeros((section.n_spots, 1))


@pytest.mark.parametrize(
    ("foreign", "message"),
    [
        (Own(), "Own of test_fitted cannot be written"),
        (replace(Own(), seen=(lambda: 0,)), "Own of test_fitted cannot be written"),
        (object(), "a object cannot be written to a file"),
        (len, "len of builtins cannot be written"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_foreign_things_are_not_written(tmp_path, task, foreign, message):
    with pytest.raises(TypeError, match=message):
        save(Trained("own", task.panel, foreign), tmp_path / "own")
    assert not (tmp_path / "own").exists()
