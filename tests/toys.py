"""Sections small enough to check by eye, for tests of several rooms."""

import numpy as np
import pandas as pd
import torch

from stlearnkit.batches import SectionBatch
from stlearnkit.models.cnn import STNet, STNetConfig
from stlearnkit.sections import Section
from stlearnkit.slides import Slide

GENES = ["GENE1", "GENE2", "GENE3"]


def section(
    name: str = "toy", counts: np.ndarray | None = None, *, image: bool = True
) -> Section:
    """Four spots on a 200 µm square, 2 µm per pixel, on an image of 300 x 240 px."""
    if counts is None:
        counts = np.array([[5, 0, 1], [3, 2, 0], [0, 7, 4], [1, 1, 9]])
    shade = np.linspace(0, 255, 300).astype(np.uint8)
    pixels = np.repeat(np.tile(shade, (240, 1))[..., None], 3, axis=2)
    spots = ["1x1", "2x1", "1x2", "2x2"]
    return Section.build(
        counts,
        GENES,
        spots,
        np.array([[60.0, 50.0], [160.0, 50.0], [60.0, 150.0], [160.0, 150.0]]),
        name=name,
        patient="P",
        slide=Slide.from_array(pixels, mpp=2.0) if image else None,
        obs=pd.DataFrame({"array_row": [1, 1, 2, 2]}, index=spots),
    )


def batch(
    name: str = "toy",
    *,
    n_spots: int = 20,
    patient: str = "P",
    side: int = 32,
    seed: int = 0,
) -> SectionBatch:
    """Plain patches of random brightness; GENE1 rises with it, GENE2 falls."""
    random = np.random.default_rng(seed)
    shade = random.integers(0, 256, n_spots)
    patches = np.broadcast_to(shade[:, None, None, None], (n_spots, side, side, 3))
    noise = random.normal(0, 0.05, (n_spots, 3))
    bright = shade[:, None] / 255
    places = random.uniform(0, 1000, (n_spots, 2))
    return SectionBatch(
        sections=(name,),
        patients=(patient,),
        genes=tuple(GENES),
        section_index=torch.zeros(n_spots, dtype=torch.int64),
        coords_um=torch.from_numpy(
            np.column_stack([places, np.zeros(n_spots)])
        ).float(),
        queries=torch.arange(n_spots),
        patches=torch.from_numpy(patches.astype(np.uint8)).permute(0, 3, 1, 2),
        targets=torch.from_numpy(noise + bright * [1.0, -1.0, 0.0] + [1, 2, 3]).float(),
    )


def network(**config: object) -> STNet:
    """The smallest network that timm has, from random weights, at the toys' means."""
    settings = {"backbone": "test_efficientnet", "pretrained": False, "dropout": 0.2}
    torch.manual_seed(0)
    return STNet(np.array([1.5, 1.5, 3.0]), STNetConfig(**{**settings, **config}))
