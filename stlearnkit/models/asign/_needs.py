"""What ASIGN needs of a batch, or one clear word on what is missing."""

__all__ = ["edges", "levels", "patches"]

from collections.abc import Sequence

import torch
from jaxtyping import UInt8

from stlearnkit.batches import Edges, Level, SectionBatch


def edges(batch: SectionBatch) -> Edges:
    """Return the edges between spots.

    Raises
    ------
    ValueError
        If there are none.
    """
    if batch.edges is None:
        raise ValueError(
            f"the batch of section {batch.sections[0]!r} has no graph, along "
            "which spots could exchange messages. Make it by recipes.GraphRecipe(...), "
            "or SectionBatch.with_graph."
        )
    return batch.edges


def levels(batch: SectionBatch, names: Sequence[str]) -> dict[str, Level]:
    """Return the tiles that the model looks at, by name.

    Raises
    ------
    ValueError
        If one is missing.
    """
    found = {level.name: level for level in batch.levels}
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(
            f"the batch of section {batch.sections[0]!r} has levels {sorted(found)}, "
            f"but the model looks at {missing}. Give AsignConfig(levels=...) the names "
            "of GraphRecipe(tiles=...)."
        )
    return {name: found[name] for name in names}


def patches(batch: SectionBatch) -> UInt8[torch.Tensor, "queries 3 side side"]:
    """Return the pictures of the queries.

    Raises
    ------
    ValueError
        If there are none.
    """
    if batch.patches is None:
        raise ValueError(
            f"the batch of section {batch.sections[0]!r} has no patches, which the "
            "backbone is trained on: GraphRecipe(patches_px=112)."
        )
    return batch.patches
