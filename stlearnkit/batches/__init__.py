"""Batches: one section, or one stack, as tensors, and what a model makes of it.

Below this room everything is numpy, from here up it is torch. A batch always knows its
whole section: models that look at neighbours need them, even while only some spots, the
*queries*, are to be predicted. So a network can be trained on a few patches at a time
and still see the context it will see at the end.

Taught in the chapter "A first network".
"""

__all__ = [
    "Edges",
    "Level",
    "Prediction",
    "SectionBatch",
    "SpotPredictor",
    "check_same_genes",
]

from stlearnkit.batches._batch import SectionBatch, check_same_genes
from stlearnkit.batches._graph import Edges, Level
from stlearnkit.batches._predictor import Prediction, SpotPredictor
