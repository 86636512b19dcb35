"""Cutting a graph that is too large into parts that compute the same."""

__all__ = ["Block", "blocks"]

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from stlearnkit.graphs._checks import check_coords, check_rows
from stlearnkit.graphs._graph import SpotGraph


@dataclass(frozen=True, eq=False)
class Block:
    """Spots of one place of a section, those around them, and the edges among both.

    `blocks` makes them.
    """

    spots: Int[np.ndarray, " spots"]
    """Rows in the whole section: first those the block owns, then its halo."""
    n_owned: int
    """How many it owns: of these, and of no other, the results count."""
    graph: SpotGraph
    """All edges among these spots, numbered as in `spots`."""

    @classmethod
    def around(
        cls, graph: SpotGraph, owned: Int[np.ndarray, " spots"], n_hops: int
    ) -> "Block":
        """Return the block that owns these spots, with all that they see.

        Parameters
        ----------
        graph
            Of the whole section.
        owned
            Rows of the spots, each once, in any order.
        n_hops
            Number of steps from which they are seen, 0 or more.

        Raises
        ------
        ValueError
            If `n_hops` is negative, or `owned` names a spot twice or one that does not
            exist.

        Examples
        --------
        >>> graph = SpotGraph(np.array([[0, 1, 2], [1, 2, 3]]), n_spots=4)
        >>> Block.around(graph, np.array([3]), n_hops=2).halo
        array([2, 1])
        """
        _check_owned(graph, owned, n_hops)
        return _Incoming(graph).block(np.sort(owned), n_hops)

    @property
    def owned(self) -> Int[np.ndarray, " _"]:
        """Rows in the whole section of the spots that the block owns."""
        return self.spots[: self.n_owned]

    @property
    def halo(self) -> Int[np.ndarray, " _"]:
        """Rows in the whole section of the spots that are there to be looked at."""
        return self.spots[self.n_owned :]


def blocks(
    graph: SpotGraph,
    coords_um: Float[np.ndarray, "spots 2"],
    *,
    n_hops: int,
    max_spots: int,
) -> Iterator[Block]:
    """Cut a graph into compact blocks, each with a halo of `n_hops` steps around it.

    A spot's state after as many layers of message passing depends on spots that many
    steps away and on no other. So layers that run over a block give what they give
    over the whole graph, at the spots that it owns, in a fraction of the memory. In
    the halo results are wrong: leave them out.

    Parameters
    ----------
    graph
        Of the whole section.
    coords_um
        Spot centres (x, y) in micrometres, by which the section is halved along its
        longer side until the parts are small enough.
    n_hops
        Number of layers, 0 or more. A layer that scales messages by the number of
        edges into their *source*, as graph convolution does, looks one step further.
    max_spots
        Most spots that a block owns, 1 or more; its halo comes on top. A halo grows
        with the border of a block: many small blocks do much of the work twice.

    Yields
    ------
    Blocks; each spot of the section is owned by exactly one.

    Raises
    ------
    ValueError
        If `n_hops` or `max_spots` is too small, or `coords_um` are not centres of the
        graph's spots.

    Examples
    --------
    Four spots in a row, each joined with the next:

    >>> edge_index = np.array([[1, 0, 2, 1, 3, 2], [0, 1, 1, 2, 2, 3]])
    >>> coords_um = np.array([[0.0, 0.0], [200.0, 0.0], [400.0, 0.0], [600.0, 0.0]])
    >>> graph = SpotGraph(edge_index, n_spots=4)
    >>> for block in blocks(graph, coords_um, n_hops=1, max_spots=2):
    ...     print(block.owned, block.halo)
    [0 1] [2]
    [2 3] [1]
    """
    _check_least("n_hops", n_hops, 0)
    _check_least("max_spots", max_spots, 1)
    check_coords(coords_um)
    check_rows("coords_um", coords_um, graph.n_spots)
    incoming = _Incoming(graph)
    parts = _halved(coords_um, max_spots)
    return (incoming.block(np.sort(owned), n_hops) for owned in parts)


def _check_least(name: str, value: int, least: int) -> None:
    """Refuse a number that is too small.

    Raises
    ------
    ValueError
        If it is.
    """
    if value < least:
        raise ValueError(f"{name} is {value}, expected {least} or more.")


def _check_owned(
    graph: SpotGraph, owned: Int[np.ndarray, " spots"], n_hops: int
) -> None:
    """Refuse spots that a block cannot own.

    Raises
    ------
    ValueError
        See `Block.around`.
    """
    _check_least("n_hops", n_hops, 0)
    if len(np.unique(owned)) < len(owned):
        raise ValueError(
            f"owned has {len(owned)} rows, {len(np.unique(owned))} of them different, "
            "expected each spot once."
        )
    if len(owned) and (owned.min() < 0 or owned.max() >= graph.n_spots):
        raise ValueError(
            f"owned has rows {owned.min()} to {owned.max()}, expected 0 to "
            f"{graph.n_spots - 1}: the graph has {graph.n_spots} spots."
        )


def _halved(
    coords_um: Float[np.ndarray, "spots 2"], max_spots: int
) -> Iterator[Int[np.ndarray, " _"]]:
    """Yield the spots of each part, parts next to each other in turn."""
    waiting = [np.arange(len(coords_um))]
    while waiting:
        part = waiting.pop()
        if len(part) <= max_spots:
            yield part
            continue
        places = coords_um[part]
        longer = int(np.argmax(np.ptp(places, axis=0)))
        order = np.lexsort((places[:, 1 - longer], places[:, longer]))
        middle = len(part) // 2
        waiting += [part[order[middle:]], part[order[:middle]]]


class _Incoming:
    """The edges of a graph, by the spot they go to."""

    def __init__(self, graph: SpotGraph) -> None:
        self.graph = graph
        self.order = np.argsort(graph.edge_index[1], kind="stable")
        self.starts = np.append(0, np.cumsum(graph.n_neighbours))

    def edges_into(self, spots: Int[np.ndarray, " spots"]) -> Int[np.ndarray, " edges"]:
        """Return which edges go to these spots."""
        counts = self.starts[spots + 1] - self.starts[spots]
        before = np.cumsum(counts) - counts
        shift = np.repeat(self.starts[spots] - before, counts)
        return self.order[shift + np.arange(len(shift))]

    def block(self, owned: Int[np.ndarray, " _"], n_hops: int) -> Block:
        """Return the block that owns these spots."""
        sources = self.graph.edge_index[0]
        spots = last = owned
        for _ in range(n_hops):
            last = np.setdiff1d(sources[self.edges_into(last)], spots)
            spots = np.append(spots, last)
        edges = self.edges_into(spots)
        order = np.argsort(spots)
        ends = self.graph.edge_index[:, edges]
        number = np.searchsorted(spots[order], ends).clip(max=len(spots) - 1)
        within = spots[order][number[0]] == ends[0]
        weights = self.graph.weights
        local = SpotGraph(
            order[number[:, within]],
            len(spots),
            None if weights is None else weights[edges[within]],
        )
        return Block(spots, len(owned), local)
