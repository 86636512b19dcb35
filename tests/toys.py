"""Sections small enough to check by eye, for tests of several rooms."""

import numpy as np
import pandas as pd

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
