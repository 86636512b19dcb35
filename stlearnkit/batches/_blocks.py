"""A batch that is too large, cut into parts that are computed one after another."""

__all__ = ["blocks"]

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int

from stlearnkit.batches._graph import Edges, Level
from stlearnkit.graphs import Block
from stlearnkit.graphs import blocks as blocks_of_graph

if TYPE_CHECKING:
    from stlearnkit.batches._batch import SectionBatch


def blocks(
    batch: "SectionBatch", *, n_hops: int, max_spots: int
) -> "list[tuple[Int[torch.Tensor, ' _'], SectionBatch]]":
    """Cut a batch; see `SectionBatch.blocks`.

    Raises
    ------
    ValueError
        If there are no edges, or a number is too small.
    """
    if batch.edges is None:
        raise ValueError(
            f"the batch of section {batch.sections[0]!r} has no edges, along which it "
            "could be cut. Make it by recipes.GraphRecipe."
        )
    graph = batch.edges.graph(batch.n_spots)
    places = batch.coords_um[:, :2].cpu().double().numpy()
    parts = [
        _part(batch, block, n_hops)
        for block in blocks_of_graph(graph, places, n_hops=n_hops, max_spots=max_spots)
    ]
    return [(rows, part) for rows, part in parts if len(rows)]


def _part(
    batch: "SectionBatch", block: Block, n_hops: int
) -> "tuple[Int[torch.Tensor, ' _'], SectionBatch]":
    """Return which queries a block owns, and the batch of its spots."""
    device = batch.queries.device
    spots = torch.from_numpy(block.spots).to(device)
    place = torch.full((batch.n_spots,), -1, device=device)
    place[spots] = torch.arange(len(spots), device=device)
    found = place[batch.queries]
    rows = torch.nonzero((found >= 0) & (found < block.n_owned))[:, 0]
    own = batch.subset(rows)
    return rows, replace(
        own,
        section_index=batch.section_index[spots],
        coords_um=batch.coords_um[spots],
        queries=place[own.queries],
        features=None if batch.features is None else batch.features[spots],
        edges=_within(batch.edges, place),
        levels=tuple(_level(level, spots, n_hops) for level in batch.levels),
    )


def _level(level: Level, spots: Int[torch.Tensor, " _"], n_hops: int) -> Level:
    """Return the tiles that some spots look at, and those seen from there."""
    parents, nearest = level.parents[spots], level.nearest[spots]
    seen = torch.cat([parents, nearest[nearest >= 0]]).unique().cpu().numpy()
    block = Block.around(level.edges.graph(level.n_tiles), seen, n_hops)
    tiles = torch.from_numpy(block.spots).to(spots.device)
    place = torch.full((level.n_tiles,), -1, device=spots.device)
    place[tiles] = torch.arange(len(tiles), device=spots.device)
    return replace(
        level,
        features=level.features[tiles],
        parents=place[parents],
        nearest=torch.where(nearest < 0, nearest, place[nearest]),
        distances_um=level.distances_um[spots],
        edges=_within(level.edges, place),
    )


def _within(edges: Edges | None, place: Int[torch.Tensor, " _"]) -> Edges:
    """Return the edges between nodes that have a place, numbered by it."""
    assert edges is not None  # `blocks` refuses such batches
    index = place[edges.index]
    kept = (index >= 0).all(dim=0)
    return Edges(index[:, kept], edges.lengths_um[kept])
