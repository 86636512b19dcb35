"""Encoders: frozen networks that turn a patch into a row of features.

Any timm network can serve, by name or from a folder. Features are kept on disk, so
that the slow step is done once: `features` returns in milliseconds what it has
computed before. `feature_maps` keeps the places within a patch apart, and
`surroundings` looks at a grid of patches around each spot. torch is used inside; what
comes out is numpy.

Taught in the chapter "Features and the linear baseline".
"""

__all__ = [
    "Encoder",
    "default_encoder",
    "feature_maps",
    "features",
    "random_encoder",
    "surroundings",
    "tutorial_encoder",
]

from stlearnkit.encoders._encoder import (
    Encoder,
    default_encoder,
    random_encoder,
    tutorial_encoder,
)
from stlearnkit.encoders._features import feature_maps, features, surroundings
