"""What TRIPLEX needs of a batch, or one clear word on what is missing."""

__all__ = ["features", "grid", "inside"]

import torch
from jaxtyping import Bool, Float, Num

from stlearnkit.batches import SectionBatch


def grid(batch: SectionBatch, name: str) -> Num[torch.Tensor, "queries _ _ _"]:
    """Return a grid of the batch.

    Raises
    ------
    ValueError
        If it has none of that name.
    """
    if name not in batch.grids:
        how = "guides=GuideRecipe()" if name.endswith("boundaries") else "..."
        raise ValueError(
            f"the batch of section {batch.sections[0]!r} has no grid {name!r}, only "
            f"{sorted(batch.grids)}. Make it by batches.ViewsRecipe({how})."
        )
    return batch.grids[name]


def features(batch: SectionBatch) -> Float[torch.Tensor, "spots features"]:
    """Return the features of all spots.

    Raises
    ------
    ValueError
        If there are none.
    """
    if batch.features is None:
        raise ValueError(
            f"the batch of section {batch.sections[0]!r} has no features, which the "
            "section branch sees. Make it by batches.ViewsRecipe(...)."
        )
    return batch.features


def inside(batch: SectionBatch) -> Bool[torch.Tensor, "queries tokens"]:
    """Return which cells of the surroundings lie on the image."""
    return grid(batch, "inside").flatten(1) > 0.5
