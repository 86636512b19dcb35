"""Spots joined to squares of tissue around them, and these to larger ones."""

__all__ = ["ScaleGraph", "Tiles"]

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from stlearnkit.graphs import _export
from stlearnkit.graphs._checks import check_coords, check_length, check_rows
from stlearnkit.graphs._graph import SpotGraph
from stlearnkit.graphs._near import nearest, radius

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

_SIDES_UM = MappingProxyType({"region": 350.0, "district": 700.0})


@dataclass(frozen=True, eq=False)
class Tiles:
    """The squares of tissue of one scale that hold the spots of a section."""

    name: str
    """Word for a tile of this scale."""
    side_um: float
    """Its side."""
    centres_um: Float[np.ndarray, "tiles 2"]
    """Centres (x, y) of the tiles that hold a spot, row by row."""
    parents: Int[np.ndarray, " spots"]
    """The tile that holds each spot."""
    nearest: Int[np.ndarray, "spots neighbours"]
    """The tiles that each spot looks at: first the one that holds it, then those whose
    centres are nearest, in no order."""
    neighbours: SpotGraph
    """Which tiles share a side or a corner."""
    above: Int[np.ndarray, " tiles"] | None
    """The tile of the next larger scale that holds each tile; None at the largest."""

    @property
    def n_tiles(self) -> int:
        """Number of tiles that hold a spot."""
        return len(self.centres_um)

    @property
    def n_members(self) -> Int[np.ndarray, " tiles"]:
        """Number of spots in each tile, 1 or more."""
        return np.bincount(self.parents)

    def members(self, tile: int) -> Int[np.ndarray, " _"]:
        """Return the rows of the spots that a tile holds.

        Raises
        ------
        ValueError
            If there is no such tile.
        """
        if not 0 <= tile < self.n_tiles:
            raise ValueError(
                f"tile is {tile}, expected 0 to {self.n_tiles - 1}: there are "
                f"{self.n_tiles} {self.name} tiles."
            )
        return np.flatnonzero(self.parents == tile)

    def pool(
        self, values: Float[np.ndarray, "spots features"]
    ) -> Float[np.ndarray, "tiles features"]:
        """Average the rows of the spots that each tile holds.

        Parameters
        ----------
        values
            One row per spot: features, or the expression of a *training* section, whose
            means are then the targets of its tiles. Those of a section to predict must
            not be known to anything that predicts it.

        Raises
        ------
        ValueError
            If there is not one row per spot.
        """
        check_rows("values", values, len(self.parents))
        member = (np.ones(len(values), values.dtype), self.parents)
        starts = np.arange(len(values) + 1)
        shape = (len(values), self.n_tiles)
        total = sparse.csr_matrix((*member, starts), shape).T @ values
        return total / self.n_members[:, None].astype(values.dtype)


@dataclass(frozen=True, eq=False)
class ScaleGraph:
    """The spots of a section and the tiles of tissue that hold them, at some scales.

    What a spot expresses also depends on the tissue around it, at more than one scale.
    `ScaleGraph.build` lays square lattices of tiles over the section, anchored at the
    origin of its image, and joins spots to tiles, tiles to those next to them, and
    tiles to the larger ones that hold them. Nothing but coordinates is looked at.
    """

    coords_um: Float[np.ndarray, "spots 2"]
    """Spot centres (x, y)."""
    scales: tuple[Tiles, ...]
    """From the smallest tiles to the largest."""

    @classmethod
    def build(
        cls,
        coords_um: Float[np.ndarray, "spots 2"],
        sides_um: Mapping[str, float] = _SIDES_UM,
        *,
        n_nearest: int = 9,
        self_loops: bool,
    ) -> "ScaleGraph":
        """Lay tiles over a section and join them.

        Parameters
        ----------
        coords_um
            Spot centres (x, y) in micrometres from the upper left corner of the image.
        sides_um
            Name and side of the tiles of each scale, from small to large, each a whole
            multiple of the one before it. By default regions of 350 µm, which hold
            about three spots of HER2ST, and districts of 700 µm.
        n_nearest
            Number of tiles that each spot looks at, 2 or more: a softmax over a single
            one is 1, whatever the spot looks like. Where there are fewer tiles, all.
        self_loops
            Whether a tile is its own neighbour.

        Raises
        ------
        ValueError
            If a centre is not finite, there is no scale, a side is not positive or no
            whole multiple of the one before it, a scale is called "spot", or
            `n_nearest` is less than 2.

        Notes
        -----
        After ASIGN, whose tiles are 512 and 1024 pixels wide; at the 0.688 µm a pixel
        of HER2ST these are 352 and 705 µm, the defaults in round numbers. As there,
        tiles without a spot are left out. Different are the links of a spot to several
        tiles instead of one, of tiles only to those that touch them (there up to two
        steps away), and that spots keep their tile at the lower and right edges of the
        image. The parent of a spot is known from where it lies; ASIGN's code looks for
        the tile with the most similar label.

        Examples
        --------
        >>> coords_um = np.array([[10.0, 10.0], [340.0, 10.0], [900.0, 10.0]])
        >>> graph = ScaleGraph.build(coords_um, self_loops=True)
        >>> region, district = graph.scales
        >>> region.centres_um
        array([[175., 175.],
               [875., 175.]])
        >>> region.parents, region.above, district.parents
        (array([0, 0, 1]), array([0, 1]), array([0, 0, 1]))
        >>> region.pool(np.array([[1.0], [3.0], [7.0]]))
        array([[2.],
               [7.]])
        """
        _check_sides(sides_um)
        check_coords(coords_um)
        if n_nearest < 2:
            raise ValueError(
                f"n_nearest is {n_nearest}, expected 2 or more: attention to a single "
                "tile is 1, whatever the spot looks like."
            )
        names, sides = list(sides_um), list(sides_um.values())
        n_steps = np.rint(np.divide(sides[1:], sides[:-1])).astype(np.int64)
        cells, held = _cells(np.floor(coords_um / sides[0]).astype(np.int64))
        parents, scales = held, []
        for name, side, step in zip(names, sides, [*n_steps, 0], strict=True):
            larger, above = _cells(cells // step) if step else (cells, None)
            centres = (cells + 0.5) * side
            scales.append(
                Tiles(
                    name,
                    side,
                    centres,
                    parents,
                    _nearest_tiles(coords_um, centres, parents, n_nearest),
                    radius(centres, 1.5 * side, self_loops=self_loops),
                    above,
                )
            )
            if above is not None:
                cells, parents = larger, above[parents]
        return cls(coords_um, tuple(scales))

    def to_pyg(
        self, features: Mapping[str, Float[np.ndarray, "_ features"]] | None = None
    ) -> "HeteroData":
        """Return the graph as PyTorch Geometric's `HeteroData`.

        Parameters
        ----------
        features
            By ``"spot"`` or the name of a scale, one row per spot or tile: become `x`,
            in single precision.

        Returns
        -------
        Nodes ``"spot"`` and those of each scale, with `pos` in micrometres. Edges
        ``("spot", "in", scale)`` and ``(scale, "in", next scale)`` go up to what holds
        them, ``(scale, "near", "spot")`` to the spots that look at a tile, and
        ``(scale, "beside", scale)`` between tiles that touch.

        Raises
        ------
        ValueError
            If `features` names another kind of node, or has not one row for each.
        """
        places = {"spot": self.coords_um}
        edges = {}
        for tiles, larger in zip(self.scales, [*self.scales[1:], None], strict=True):
            name, n_looks = tiles.name, tiles.nearest.shape[1]
            spots = np.arange(len(self.coords_um))
            looks = np.stack([tiles.nearest.ravel(), np.repeat(spots, n_looks)])
            places[name] = tiles.centres_um
            edges["spot", "in", name] = np.stack([spots, tiles.parents])
            edges[name, "near", "spot"] = looks
            edges[name, "beside", name] = tiles.neighbours.edge_index
            if larger is not None and tiles.above is not None:
                holds = np.stack([np.arange(tiles.n_tiles), tiles.above])
                edges[name, "in", larger.name] = holds
        return _export.hetero_data(places, edges, dict(features or {}))


def _check_sides(sides_um: Mapping[str, float]) -> None:
    """Refuse scales that do not lie within each other.

    Raises
    ------
    ValueError
        See `ScaleGraph.build`.
    """
    if not sides_um or "spot" in sides_um:
        raise ValueError(
            f"sides_um has scales {list(sides_um)}, expected one or more, none of them "
            "called 'spot': that is what the spots are called."
        )
    for name, side in sides_um.items():
        check_length(f"sides_um[{name!r}]", side, "e.g. 350")
    sides = list(sides_um.values())
    for small, large in pairwise(sides):
        n_steps = round(large / small)
        if n_steps < 2 or abs(large / small - n_steps) > 1e-9 * n_steps:
            raise ValueError(
                f"sides_um has {large} after {small}, expected a whole multiple, at "
                "least twice as large: each tile lies within one of the next scale."
            )


def _cells(
    cells: Int[np.ndarray, "points 2"],
) -> tuple[Int[np.ndarray, "tiles 2"], Int[np.ndarray, " points"]]:
    """Return the different cells (column, row), row by row, and which is each point's.

    Cells are numbered first, as sorting numbers is faster than sorting pairs.
    """
    corner = cells.min(axis=0)
    x, y = (cells - corner).T
    n_columns = int(x.max()) + 1
    numbers, which = np.unique(y * n_columns + x, return_inverse=True)
    y, x = np.divmod(numbers, n_columns)
    return np.column_stack([x, y]) + corner, which


def _nearest_tiles(
    coords_um: Float[np.ndarray, "spots 2"],
    centres_um: Float[np.ndarray, "tiles 2"],
    parents: Int[np.ndarray, " spots"],
    n_nearest: int,
) -> Int[np.ndarray, "spots neighbours"]:
    """Return the nearest tiles of each spot, first the one that holds it.

    That is the nearest one, save that a spot on a border may tie with several.
    """
    found = nearest(coords_um, centres_um, n_nearest, skip_self=False)
    apart = found != parents[:, None]
    found[apart.all(axis=1), 0] = parents[apart.all(axis=1)]
    order = np.argsort(found != parents[:, None], axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)
