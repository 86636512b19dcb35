"""Parts of the batches of a stack's sections, put together."""

__all__ = ["joined", "joined_edges", "joined_grids", "joined_levels"]

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

from stlearnkit.batches._graph import Edges, Level, join_edges, join_levels

if TYPE_CHECKING:
    from stlearnkit.batches._batch import SectionBatch

Part = TypeVar("Part")


def joined(
    name: str, parts: Sequence[torch.Tensor | None], sections: Sequence[str]
) -> torch.Tensor | None:
    """Put one part of several batches below each other.

    Raises
    ------
    ValueError
        If some have it and some do not.
    """
    there = _all_or_none(name, parts, sections)
    return torch.cat(there) if there else None


def joined_grids(
    batches: "Sequence[SectionBatch]", sections: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Put the grids of several batches below each other, name by name.

    Raises
    ------
    ValueError
        As for `joined`.
    """
    names = dict.fromkeys(name for batch in batches for name in batch.grids)
    found = {
        name: joined(name, [batch.grids.get(name) for batch in batches], sections)
        for name in names
    }
    return {name: grid for name, grid in found.items() if grid is not None}


def joined_edges(
    batches: "Sequence[SectionBatch]", sections: Sequence[str]
) -> Edges | None:
    """Return the edges of all batches; none join one section to another.

    Raises
    ------
    ValueError
        As for `joined`.
    """
    there = _all_or_none("edges", [batch.edges for batch in batches], sections)
    return join_edges(there, [batch.n_spots for batch in batches]) if there else None


def joined_levels(
    batches: "Sequence[SectionBatch]", sections: Sequence[str]
) -> tuple[Level, ...]:
    """Return the levels of all batches; each section has its own tiles.

    Raises
    ------
    ValueError
        If they do not have the same scales.
    """
    _all_or_none("levels", [batch.levels or None for batch in batches], sections)
    found = [[level.name for level in batch.levels] for batch in batches]
    if any(names != found[0] for names in found):
        raise ValueError(
            f"levels of sections {list(sections)} are {found}, expected the same for "
            "all. Make them by one recipe."
        )
    return tuple(
        join_levels(of_one_scale)
        for of_one_scale in zip(*[batch.levels for batch in batches], strict=True)
    )


def _all_or_none(
    name: str, parts: Sequence[Part | None], sections: Sequence[str]
) -> list[Part]:
    """Return the parts if every section has one, none if none has.

    Raises
    ------
    ValueError
        If some have it and some do not.
    """
    there = [part for part in parts if part is not None]
    if there and len(there) < len(parts):
        pairs = zip(sections, parts, strict=True)
        lacking = [section for section, part in pairs if part is None]
        raise ValueError(
            f"sections {lacking} have no {name}, the others have. Give every section "
            "of a stack the same parts; leave out queries by subset."
        )
    return there
