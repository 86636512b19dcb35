"""What ASIGN says, and where it looks."""

__all__ = ["AsignAttention", "AsignPrediction"]

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int

from stlearnkit.batches import Prediction


@dataclass(frozen=True, eq=False)
class AsignPrediction(Prediction):
    """What is predicted of the queries, and of the tiles that hold them."""

    of_tiles: Mapping[str, Float[torch.Tensor, "queries genes"]]
    """By level, what the tile of each query is said to express."""
    in_tiles: Mapping[str, Float[torch.Tensor, "queries genes"]]
    """By level, the mean of what is predicted of all spots of that tile."""


@dataclass(frozen=True, eq=False)
class AsignAttention:
    """Where an `Asign` looks; weights are shares, per head, and sum to 1."""

    tiles: Mapping[str, Float[torch.Tensor, "queries heads neighbours"]]
    """By level, over the tiles that each query looks at, as in `Level.nearest`; 0 where
    there is none."""
    edges: Int[torch.Tensor, "2 edges"]
    """The edges between all spots: row 1 looks at row 0."""
    neighbours: tuple[Float[torch.Tensor, "edges heads"], ...]
    """In each graph layer, the weight of each edge among those to the same spot."""
    layers: Float[torch.Tensor, "queries heads _"]
    """Over the states of a spot in all layers, from before the first to the last; the
    mean over asking layers."""
