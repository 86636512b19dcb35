"""An encoder that can be checked by hand, and a section to run it on.

Apart from the tests, so that a process that is to be killed starts quickly.
"""

import numpy as np
import torch

from stlearnkit.encoders import Encoder
from stlearnkit.patches import Scale
from stlearnkit.sections import Section
from stlearnkit.slides import Slide

SCALE = Scale("spot", 100.0)


class MeanColour(torch.nn.Module):
    """Features that can be computed by hand, and a count of patches seen."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(1))
        self.n_seen = 0

    def forward(self, batch):
        self.n_seen += len(batch)
        return self.gain * batch.mean(dim=(2, 3))


def colour_encoder(**changes):
    settings = {"input_px": 8, "mean": (0.0,) * 3, "std": (1.0,) * 3} | changes
    return Encoder("colour", MeanColour(), **settings)


def big_section(n_spots=600):
    """A section that needs three cache files."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    return Section.build(
        np.ones((n_spots, 1), int),
        ["GENE"],
        [str(spot) for spot in range(n_spots)],
        rng.uniform(20, 180, (n_spots, 2)),
        name="big",
        patient="P",
        slide=Slide.from_array(image, mpp=2.0),
    )
