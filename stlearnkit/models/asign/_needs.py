"""What ASIGN needs of a batch, or one clear word on what is missing."""

__all__ = ["edges", "levels"]

from collections.abc import Sequence

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
