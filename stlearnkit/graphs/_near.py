"""Neighbours by distance: all within a radius, or a fixed number."""

__all__ = ["knn", "nearest", "radius", "tree_of"]

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from stlearnkit.graphs._checks import both_ways, check_coords, check_length
from stlearnkit.graphs._graph import SpotGraph

_TIE = 1e-9  # of a pitch; distances on a lattice differ by rounding, not by design
_LEAN = 0.01  # of that, to the side: y decides where x does not
_CHUNK = 2**12  # spots that are looked at together, to bound memory


def radius(
    coords_um: Float[np.ndarray, "spots 2"], radius_um: float, *, self_loops: bool
) -> SpotGraph:
    """Join all spots that are at most `radius_um` apart.

    A radius in µm means the same on every array, where "the eight nearest" does not.
    Spots at the border of the tissue simply have fewer neighbours.

    Parameters
    ----------
    coords_um
        Spot centres (x, y) in micrometres.
    radius_um
        Largest distance of centres that counts as neighbourhood, above 0. On a square
        array of pitch 200 µm, 250 joins 4 neighbours and 300 joins 8.
    self_loops
        Whether a spot is its own neighbour. A disc of tissue includes its centre; the
        neighbours that attention looks at may not.

    Returns
    -------
    A graph with both directions of every edge, sorted by target, then source.

    Raises
    ------
    ValueError
        If the radius is not positive and finite, or a centre is not finite.

    Examples
    --------
    >>> coords_um = np.array([[0.0, 0.0], [200.0, 0.0], [500.0, 0.0]])
    >>> radius(coords_um, 250.0, self_loops=False).edge_index
    array([[1, 0],
           [0, 1]])
    """
    check_length("radius_um", radius_um, "e.g. 1.25 times the spot pitch")
    check_coords(coords_um)
    pairs = tree_of(coords_um).query_pairs(radius_um, output_type="ndarray")
    edges = both_ways(pairs.T, len(coords_um), self_loops=self_loops)
    return SpotGraph(edges, n_spots=len(coords_um))


def knn(
    coords_um: Float[np.ndarray, "spots 2"], k: int, *, self_loops: bool
) -> SpotGraph:
    """Join each spot to its `k` nearest other spots.

    Every spot has the same number of neighbours, also at the border, where they lie
    further away. Nearness is not mutual: a lone spot looks at the border of the tissue,
    which does not look back. `SpotGraph.symmetric` adds the missing directions,
    `SpotGraph.mutual` drops the edges that lack one.

    Parameters
    ----------
    coords_um
        Spot centres (x, y) in micrometres.
    k
        Number of neighbours, 1 or more. If there are not that many other spots, each
        spot is joined to all others.
    self_loops
        Whether a spot is its own neighbour, beyond the `k`. It is never one of them,
        even if another spot lies in the same place.

    Returns
    -------
    A directed graph, sorted by target, then source.

    Raises
    ------
    ValueError
        If `k` is less than 1, or a centre is not finite.

    Notes
    -----
    On a lattice many spots are equally far away. Of those that tie for the last
    places (to nine digits), the ones of smaller x, then y, are taken, then those that
    come first. So the order of spots plays no part unless they share a place, but the
    orientation does; `radius` and `grid` have no such choice to make. What decides is
    that each spot looks from a hair's breadth beside its place, 10⁻⁹ of a pitch towards
    smaller x and a hundredth of that towards smaller y: to look for ties and settle
    them one by one would take twice as long.

    Examples
    --------
    The lone spot 2 sees spot 1, which sees spot 0:

    >>> coords_um = np.array([[0.0, 0.0], [200.0, 0.0], [500.0, 0.0]])
    >>> knn(coords_um, 1, self_loops=False).edge_index
    array([[1, 0, 1],
           [0, 1, 2]])
    """
    if k < 1:
        raise ValueError(f"k is {k}, expected 1 or more neighbours.")
    check_coords(coords_um)
    n_spots = len(coords_um)
    found = nearest(coords_um, coords_um, k, skip_self=True)
    everyone = np.arange(n_spots)
    if self_loops:
        found = np.column_stack([found, everyone])
    found.sort(axis=1)
    edges = np.empty((2, found.size), np.int64)
    edges[0] = found.ravel()
    edges[1] = np.repeat(everyone, found.shape[1])
    return SpotGraph(edges, n_spots=n_spots)


def tree_of(points_um: Float[np.ndarray, "points 2"]) -> cKDTree:
    """Return a tree to look for neighbours in.

    Halving boxes, not points, takes a third of the time to build and as long to ask.
    """
    return cKDTree(points_um, balanced_tree=False, compact_nodes=False)


def nearest(
    queries_um: Float[np.ndarray, "queries 2"],
    points_um: Float[np.ndarray, "points 2"],
    k: int,
    *,
    skip_self: bool,
) -> Int[np.ndarray, "queries _"]:
    """Return the `k` nearest points of each query, in no order, ties as for `knn`.

    Parameters
    ----------
    queries_um, points_um
        Places (x, y).
    k
        How many; fewer if there are fewer points.
    skip_self
        Whether queries are the points, and a point is not its own neighbour.
    """
    n_points = len(points_um)
    n_wanted = min(k, n_points - skip_self)
    last = n_wanted + skip_self  # the self comes on top
    tree, beside = tree_of(points_um), _beside(points_um)
    chosen = np.empty((len(queries_um), n_wanted), np.int64)
    for start in range(0, len(queries_um), _CHUNK):
        places = queries_um[start : start + _CHUNK] - beside
        numbers = np.arange(start, start + len(places)) if skip_self else None
        # One more than needed shows whether points share the last place.
        distances, found = _look(tree, places, last + 1)
        unclear = np.zeros(len(found), bool)
        if found.shape[1] > last:
            unclear = distances[:, last - 1] == distances[:, last]
        if numbers is not None:
            unclear |= found[:, 0] != numbers
        part = chosen[start : start + _CHUNK]
        part[:] = found[:, int(skip_self) : last]
        if unclear.any():
            itself = None if numbers is None else numbers[unclear]
            part[unclear] = _settled(tree, places[unclear], n_wanted, itself)
    return chosen


def _beside(points_um: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "2"]:
    """Return how far beside its place a query looks, so that no distances tie."""
    pitch = np.ptp(points_um, axis=0).max() / len(points_um) ** 0.5
    return _TIE * pitch * np.array([1.0, _LEAN])


def _look(
    tree: cKDTree, places_um: Float[np.ndarray, "queries 2"], width: int
) -> tuple[Float[np.ndarray, "queries _"], Int[np.ndarray, "queries _"]]:
    """Return distances and numbers of the nearest points; all if there are less."""
    width = min(width, tree.n)
    distances, found = tree.query(places_um, k=width)
    return distances.reshape(-1, width), found.reshape(-1, width)


def _settled(
    tree: cKDTree,
    places_um: Float[np.ndarray, "queries 2"],
    n_wanted: int,
    itself: Int[np.ndarray, " queries"] | None,
) -> Int[np.ndarray, "queries _"]:
    """Return the nearest points, the first of those that share a place first."""
    width = n_wanted + 2  # with the self, and one beyond
    while True:
        distances, found = _look(tree, places_um, width)
        if width >= tree.n or (distances[:, -1] > distances[:, n_wanted]).all():
            break
        width *= 2
    own = found == (-1 if itself is None else itself[:, None])  # comes last
    order = np.lexsort((found, distances, own))[:, :n_wanted]
    return np.take_along_axis(found, order, axis=1)
