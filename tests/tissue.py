"""A study on synthetic tissue that every step does in a second or two."""

import json
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

STUDY = """
sections = ["synthetic:S1", "synthetic:S2", "synthetic:S3"]
folder = "out"
[features]
encoder = "local-dir:weights"
scales_um = [112.0]
radii_um = [250.0]
[train]
sections = ["S1", "S2"]
n_genes = 6
[predict]
sections = ["S2", "S3"]
[align]
sections = ["S1", "S2"]
z_um = [0, 48]
[impute]
observed = ["S2"]
sections = ["S1"]
n_genes = 6
[evaluate]
predictors = ["mean profile", "ridge"]
sections = ["S1", "S2", "S3"]
n_genes = 6
[report]
title = "Three <small> sections"
n_maps = 1
"""


def save_encoder(folder: Path) -> None:
    """Save a tiny network with weights drawn at random, as a folder of timm."""
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet", pretrained=False, num_classes=0)
    folder.mkdir()
    save_file(network.state_dict(), folder / "model.safetensors")
    about = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.2] * 3}
    config = {"architecture": "test_efficientnet", "pretrained_cfg": about}
    (folder / "config.json").write_text(json.dumps({**config, "num_classes": 0}))


def save_study(folder: Path, text: str = STUDY) -> Path:
    """Save a file of settings beside the weights that it names."""
    folder.mkdir(exist_ok=True)
    if not (folder / "weights").exists():
        save_encoder(folder / "weights")
    file = folder / "study.toml"
    file.write_text(text)
    return file
