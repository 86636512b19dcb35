"""What linear models and kriging are told of a section: frozen features in blocks."""

__all__ = ["SCALES", "image_blocks"]

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from stlearnkit.encoders import Encoder, features
from stlearnkit.models.baselines import neighbourhood_features
from stlearnkit.patches import Scale
from stlearnkit.sections import Section

SCALES = (Scale("spot", 112.0), Scale("near", 224.0), Scale("wide", 560.0))


def image_blocks(
    section: Section,
    encoder: Encoder,
    scales: Sequence[Scale],
    radii_um: Sequence[float],
) -> list[Float[np.ndarray, "spots _"]]:
    """Return the features of a section at all scales, and their means over discs."""
    by_scale = [features(section, encoder, scale) for scale in scales]
    return neighbourhood_features(by_scale, section.coords_um, radii_um=radii_um)
