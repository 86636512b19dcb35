"""Spots of different sections of a stack, joined where they lie upon each other."""

__all__ = ["StackGraph"]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf, pi

import numpy as np
import shapely
from jaxtyping import Float, Int

from stlearnkit.graphs._checks import check_coords, check_length
from stlearnkit.graphs._graph import SpotGraph
from stlearnkit.graphs._near import tree_of
from stlearnkit.stacks import Stack

_N_CORNERS = (
    128  # of a polygon in place of an ellipse: the IoU is off by 0.0004 at most
)
_CHUNK = 2**14  # polygons that are cut at a time, to bound memory
_ALIKE = 1e-9  # relative difference of shapes that is rounding


@dataclass(frozen=True, eq=False)
class StackGraph:
    """The spots of all sections of a stack, each joined to those above and below it.

    Two spots are joined if their footprints overlap. Spots of one section never are:
    within it, neighbours are found by the other functions of this room.
    """

    graph: SpotGraph
    """Edges among the spots of all sections, numbered section by section, by target,
    then source, in both directions. Its weights are the overlap: area that both
    footprints cover, as a share of the area that either does (IoU)."""
    section_index: Int[np.ndarray, " spots"]
    """The section of each spot."""
    distances_um: Float[np.ndarray, " edges"]
    """How far centres are apart within the plane."""
    dz_um: Float[np.ndarray, " edges"]
    """How much higher than the spot that looks its neighbour lies."""

    @classmethod
    def build(
        cls,
        coords_um: Sequence[Float[np.ndarray, "_ 2"]],
        z_um: Sequence[float],
        diameter_um: float,
        *,
        linear: Sequence[Float[np.ndarray, "2 2"]] | None = None,
        max_dz_um: float = inf,
    ) -> "StackGraph":
        r"""Join spots of different sections whose footprints overlap.

        Parameters
        ----------
        coords_um
            For each section spot centres (x, y) in a frame that all share.
        z_um
            Height of each section; sections of the same height are joined too.
        diameter_um
            Of the footprints, on the section itself. That of the spots joins what was
            measured on the same column of tissue; twice their pitch or more joins each
            spot to several of every other section.
        linear
            For each section the linear part of its map into that frame, by which its
            discs become ellipses; discs stay discs without.
        max_dz_um
            Sections further apart are not joined.

        Raises
        ------
        ValueError
            If there are less than two sections, not one height or map for each, a
            centre or height is not finite, a map is not invertible, or the diameter is
            not above 0.

        Notes
        -----
        The overlap of two footprints stays the same under any affine map of both. The
        one that makes the first a unit disc is taken; if it makes the second one, too,
        as between discs and between sections that were only turned and shifted, two
        discs at distance :math:`t` have

        .. math:: \mathrm{IoU} = \frac{a}{2 \pi - a}, \quad
                  a = 2 \arccos\frac{t}{2} - \frac{t}{2} \sqrt{4 - t^2}

        Else ellipses are cut as polygons. Neighbours are looked up in a tree, so that
        time grows with the number of edges.

        Examples
        --------
        >>> below, above = np.array([[0.0, 0.0], [300.0, 0.0]]), np.array([[50.0, 0.0]])
        >>> found = StackGraph.build([below, above], [0.0, 16.0], 100.0)
        >>> found.graph.edge_index
        array([[2, 0],
               [0, 2]])
        >>> found.graph.weights.round(3), found.distances_um, found.dz_um
        (array([0.243, 0.243]), array([50., 50.]), array([ 16., -16.]))
        """
        heights, maps = _checked(coords_um, z_um, diameter_um, linear)
        shapes = [diameter_um / 2 * each for each in maps]
        starts = np.cumsum([0, *map(len, coords_um)])
        pairs, overlaps = [np.empty((2, 0), np.int64)], [np.empty(0)]
        for one, other in combinations(range(len(coords_um)), 2):
            if abs(heights[one] - heights[other]) <= max_dz_um:
                ends, overlap = _joined(
                    (coords_um[one], coords_um[other]), (shapes[one], shapes[other])
                )
                pairs.append(ends + starts[[one, other]][:, None])
                overlaps.append(overlap)
        found, overlap = np.concatenate(pairs, axis=1), np.concatenate(overlaps)
        edges = np.concatenate([found, found[::-1]], axis=1)
        order = np.argsort(edges[1] * starts[-1] + edges[0], kind="stable")
        graph = SpotGraph(edges[:, order], int(starts[-1]), np.tile(overlap, 2)[order])
        section_index = np.repeat(np.arange(len(coords_um)), np.diff(starts))
        source, target = (section_index[ends] for ends in graph.edge_index)
        return cls(
            graph,
            section_index,
            graph.lengths_um(np.concatenate(coords_um)),
            heights[source] - heights[target],
        )

    @classmethod
    def of_stack(
        cls, stack: Stack, diameter_um: float, *, max_dz_um: float = inf
    ) -> "StackGraph":
        """Join the spots of a stack, footprints mapped to its reference frame.

        Parameters
        ----------
        stack
            Two sections or more.
        diameter_um, max_dz_um
            As for `build`.

        Raises
        ------
        ValueError
            As for `build`.

        Examples
        --------
        >>> from stlearnkit import synthetic
        >>> stack = synthetic.stack(2, n_spots=9, n_genes=12, mpp=2.0).stack
        >>> found = StackGraph.of_stack(stack, 100.0)
        >>> bool((found.section_index[found.graph.edge_index].sum(axis=0) == 1).all())
        True
        """
        places = stack.coords_3d_um()
        return cls.build(
            [each[:, :2] for each in places],
            stack.z_um,
            diameter_um,
            linear=[to.matrix[:2, :2] for to in stack.to_reference],
            max_dz_um=max_dz_um,
        )


def _checked(
    coords_um: Sequence[Float[np.ndarray, "_ 2"]],
    z_um: Sequence[float],
    diameter_um: float,
    linear: Sequence[Float[np.ndarray, "2 2"]] | None,
) -> tuple[Float[np.ndarray, " sections"], Float[np.ndarray, "sections 2 2"]]:
    """Return heights and linear maps, or refuse what no graph can be built of.

    Raises
    ------
    ValueError
        See `StackGraph.build`.
    """
    n_sections = len(coords_um)
    if n_sections < 2:
        raise ValueError(
            f"coords_um is of {n_sections} section(s), expected two or more: spots of "
            "one section are joined by graphs.knn and its like."
        )
    maps = [np.eye(2)] * n_sections if linear is None else linear
    if not n_sections == len(z_um) == len(maps):
        raise ValueError(
            f"{n_sections} sections, {len(z_um)} heights in z_um and {len(maps)} maps "
            "in linear: give one of each per section."
        )
    for each in coords_um:
        check_coords(each)
    check_length("diameter_um", diameter_um, "e.g. that of the spots")
    heights, matrices = np.asarray(z_um, float), np.asarray(maps, float)
    if not np.isfinite(heights).all():
        raise ValueError(f"z_um is {list(z_um)}, expected finite heights.")
    sizes = np.abs(matrices).max(axis=(1, 2))
    flat = ~(np.abs(np.linalg.det(matrices)) > 1e-12 * sizes**2)
    if flat.any():
        at = int(np.flatnonzero(flat)[0])
        raise ValueError(
            f"linear[{at}] is {matrices[at].tolist()}, expected a map that can be "
            "inverted. Check the alignment of that section."
        )
    return heights, matrices


def _joined(
    coords_um: tuple[Float[np.ndarray, "_ 2"], Float[np.ndarray, "_ 2"]],
    shapes: tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "2 2"]],
) -> tuple[Int[np.ndarray, "2 _"], Float[np.ndarray, " _"]]:
    """Return the spots of two sections that overlap, and how much.

    A shape maps the unit disc to a footprint. All is done where the first is that disc.
    """
    to_disc = np.linalg.inv(shapes[0])
    first, second = (places @ to_disc.T for places in coords_um)
    shape = to_disc @ shapes[1]
    reach = 1 + np.linalg.norm(shape, ord=2)
    near = tree_of(first).sparse_distance_matrix(
        tree_of(second), reach, output_type="ndarray"
    )
    ends = np.stack([near["i"], near["j"]]).astype(np.int64)
    if np.allclose(shape @ shape.T, np.eye(2), rtol=0, atol=_ALIKE):
        overlap = _of_discs(near["v"])
    else:
        overlap = _of_ellipses(second[ends[1]] - first[ends[0]], shape)
    return ends[:, overlap > 0], overlap[overlap > 0]


def _of_discs(distances: Float[np.ndarray, " values"]) -> Float[np.ndarray, " values"]:
    """Return the IoU of unit discs at these distances."""
    half = (distances / 2).clip(max=1)
    common = 2 * (np.arccos(half) - half * np.sqrt(1 - half**2))
    return common / (2 * pi - common)


def _of_ellipses(
    offsets: Float[np.ndarray, "points 2"], shape: Float[np.ndarray, "2 2"]
) -> Float[np.ndarray, " points"]:
    """Return the IoU of the unit disc and ellipses of one shape around these places."""
    corners = _unit_polygon()
    disc, total = shapely.polygons(corners), pi * (1 + abs(np.linalg.det(shape)))
    shapely.prepare(disc)
    overlap = np.empty(len(offsets))
    for part in _chunks(len(offsets)):
        ellipses = shapely.polygons(offsets[part, None] + corners @ shape.T)
        common = shapely.area(shapely.intersection(disc, ellipses))
        overlap[part] = common / (total - common)
    return overlap


def _unit_polygon() -> Float[np.ndarray, "points 2"]:
    """Return the corners of a regular polygon with the area of the unit disc."""
    angles = np.linspace(0, 2 * pi, _N_CORNERS, endpoint=False)
    own = _N_CORNERS / 2 * np.sin(2 * pi / _N_CORNERS)
    return np.sqrt(pi / own) * np.column_stack([np.cos(angles), np.sin(angles)])


def _chunks(n_rows: int) -> Iterator[slice]:
    """Yield slices that cover so many rows."""
    return (slice(start, start + _CHUNK) for start in range(0, n_rows, _CHUNK))
