"""Graphs of a batch as tensors: who is joined to whom, and to which tiles of tissue."""

__all__ = ["Edges", "Level", "join_edges", "join_levels", "levels_of"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import torch
from jaxtyping import Float, Int

from stlearnkit.graphs import ScaleGraph, SpotGraph

_NONE = -1  # in place of a tile, where a section has fewer than others of its stack


@dataclass(frozen=True, eq=False)
class Edges:
    """Directed edges between spots, or between the tiles of one level."""

    index: Int[torch.Tensor, "2 edges"]
    """Row 0: where an edge comes from; row 1: the one that looks."""
    lengths_um: Float[torch.Tensor, " edges"]
    """Distance between its ends, 0 for self-loops."""

    @classmethod
    def of_graph(
        cls, graph: SpotGraph, coords_um: Float[np.ndarray, "spots 2"]
    ) -> "Edges":
        """Return the edges of a graph; its weights, if any, are left behind.

        Raises
        ------
        ValueError
            If `coords_um` has not one finite row per spot of the graph.
        """
        lengths = torch.from_numpy(graph.lengths_um(coords_um)).float()
        return cls(torch.from_numpy(graph.edge_index), lengths)

    def graph(self, n_spots: int) -> SpotGraph:
        """Return them as a graph of so many spots."""
        return SpotGraph(self.index.cpu().numpy(), n_spots)

    def to(self, device: torch.device | str) -> "Edges":
        """Return them on `device`."""
        return Edges(self.index.to(device), self.lengths_um.to(device))


@dataclass(frozen=True, eq=False)
class Level:
    """The tiles of one scale that hold the spots of a batch."""

    name: str
    """Word for a tile of this scale."""
    side_um: float
    """Its side."""
    features: Float[torch.Tensor, "tiles features"]
    """Frozen features of the tissue of each tile."""
    parents: Int[torch.Tensor, " spots"]
    """The tile that holds each spot."""
    nearest: Int[torch.Tensor, "spots neighbours"]
    """The tiles that each spot looks at, its own first; -1 where there are fewer."""
    distances_um: Float[torch.Tensor, "spots neighbours"]
    """From each spot to the centres of those tiles; 0 where there is none."""
    edges: Edges
    """Which tiles touch."""

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        return len(self.features)

    def to(self, device: torch.device | str) -> "Level":
        """Return it on `device`."""
        return replace(
            self,
            features=self.features.to(device),
            parents=self.parents.to(device),
            nearest=self.nearest.to(device),
            distances_um=self.distances_um.to(device),
            edges=self.edges.to(device),
        )


def levels_of(
    scales: ScaleGraph, tile_features: Mapping[str, Float[np.ndarray, "tiles features"]]
) -> tuple[Level, ...]:
    """Return the tiles of a section with their features, as tensors.

    Raises
    ------
    ValueError
        If the features are not of these scales, or not one finite row per tile.
    """
    names = [tiles.name for tiles in scales.scales]
    if sorted(names) != sorted(tile_features):
        raise ValueError(
            f"tile_features is of {sorted(tile_features)}, but scales has tiles "
            f"{names}. Give one table for each scale."
        )
    levels = []
    for tiles in scales.scales:
        rows = tile_features[tiles.name]
        if len(rows) != tiles.n_tiles or not np.isfinite(rows).all():
            raise ValueError(
                f"tile_features[{tiles.name!r}] has {len(rows)} rows, "
                f"{int(np.isfinite(rows).all(axis=1).sum())} of them finite, expected "
                f"{tiles.n_tiles} finite rows, one per tile. Encode tiles.centres_um."
            )
        apart = tiles.centres_um[tiles.nearest] - scales.coords_um[:, None]
        levels.append(
            Level(
                tiles.name,
                tiles.side_um,
                torch.from_numpy(rows).float(),
                torch.from_numpy(tiles.parents),
                torch.from_numpy(tiles.nearest),
                torch.from_numpy(np.hypot(*apart.transpose(2, 0, 1))).float(),
                Edges.of_graph(tiles.neighbours, tiles.centres_um),
            )
        )
    return tuple(levels)


def join_edges(parts: Sequence[Edges], sizes: Sequence[int]) -> Edges:
    """Return the edges of several sections of so many spots or tiles each."""
    starts = [0, *accumulate(sizes)]
    moved = [part.index + start for part, start in zip(parts, starts, strict=False)]
    return Edges(
        torch.cat(moved, dim=1), torch.cat([part.lengths_um for part in parts])
    )


def join_levels(parts: Sequence[Level]) -> Level:
    """Return the tiles of one scale of several sections; no tile is shared.

    Raises
    ------
    ValueError
        If they are of different scales.
    """
    first = parts[0]
    for part in parts[1:]:
        if (part.name, part.side_um) != (first.name, first.side_um):
            raise ValueError(
                f"levels are {first.name!r} of {first.side_um:g} µm and {part.name!r} "
                f"of {part.side_um:g} µm. Make all sections by one recipe."
            )
    sizes = [part.n_tiles for part in parts]
    starts = [0, *accumulate(sizes)][:-1]
    n_looks = max(part.nearest.shape[1] for part in parts)
    return Level(
        first.name,
        first.side_um,
        torch.cat([part.features for part in parts]),
        torch.cat([p.parents + start for p, start in zip(parts, starts, strict=True)]),
        torch.cat(
            [
                _widened(torch.where(p.nearest < 0, _NONE, p.nearest + start), n_looks)
                for p, start in zip(parts, starts, strict=True)
            ]
        ),
        torch.cat([_widened(part.distances_um, n_looks, 0) for part in parts]),
        join_edges([part.edges for part in parts], sizes),
    )


def _widened(looks: torch.Tensor, n_looks: int, value: float = _NONE) -> torch.Tensor:
    """Fill up rows to so many columns."""
    missing = n_looks - looks.shape[1]
    return torch.nn.functional.pad(looks, (0, missing), value=value)
