"""What TRIPLEX says, and where it looks."""

__all__ = ["TriplexAttention", "TriplexPrediction"]

from dataclasses import dataclass

import torch
from jaxtyping import Float

from stlearnkit.batches import Prediction


@dataclass(frozen=True, eq=False)
class TriplexPrediction(Prediction):
    """The fused prediction, and that of each branch on its own."""

    spot: Float[torch.Tensor, "queries genes"]
    neighbourhood: Float[torch.Tensor, "queries genes"]
    section: Float[torch.Tensor, "queries genes"]

    @property
    def branches(self) -> tuple[Float[torch.Tensor, "queries genes"], ...]:
        """What the three branches predict."""
        return (self.spot, self.neighbourhood, self.section)


@dataclass(frozen=True, eq=False)
class TriplexAttention:
    """Where a `Triplex` looks, for each query and head; over places it sums to 1."""

    spot: Float[torch.Tensor, "queries heads height width"]
    """Within the patch, from the spot's token of the section."""
    neighbourhood: Float[torch.Tensor, "queries heads height width"]
    """Over the cells around it, from the same token; 0 beyond the image."""
    section: Float[torch.Tensor, "queries heads spots"]
    """Over all spots of its section, in the first block of the section branch; 0 for
    those of other sections of a stack."""
