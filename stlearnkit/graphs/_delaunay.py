"""Neighbours by Delaunay triangulation."""

__all__ = ["delaunay"]

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.spatial import Delaunay, QhullError

from stlearnkit.graphs._checks import both_ways, check_coords
from stlearnkit.graphs._graph import SpotGraph


def delaunay(
    coords_um: Float[np.ndarray, "spots 2"], longest_um: float, *, self_loops: bool
) -> SpotGraph:
    """Join spots that share an edge of the Delaunay triangulation.

    Its triangles hold no spot in their circumcircles, so it joins what lies next to
    each other at any density, without a radius or a number. Around the tissue and
    across its holes it also joins what is far apart; `longest_um` cuts these edges.

    Parameters
    ----------
    coords_um
        Spot centres (x, y) in micrometres.
    longest_um
        Longest edge that is kept, above 0; `math.inf` keeps all.
    self_loops
        Whether a spot is its own neighbour.

    Returns
    -------
    A graph with both directions of every edge, sorted by target, then source.

    Raises
    ------
    ValueError
        If `longest_um` is not above 0, or a centre is not finite.

    Notes
    -----
    Spots on one line, or at fewer than three places, have no triangles; they are
    joined along their line, which is what the triangulation of an ever flatter section
    comes to. Spots in one place are joined with each other and with all neighbours of
    the place. Where more than three spots lie on one circle, as on a regular array,
    the diagonals are chosen by rounding: use `grid` there.

    Examples
    --------
    The triangle is kept, spot 3 is too far from it:

    >>> coords_um = np.array([[0, 0], [200, 0], [0, 200], [900, 900]], float)
    >>> delaunay(coords_um, 300.0, self_loops=False).n_neighbours
    array([2, 2, 2, 0])
    """
    if not longest_um > 0:
        raise ValueError(
            f"longest_um is {longest_um}, expected a distance above 0 in micrometres, "
            "e.g. twice the spot pitch, or math.inf to keep all edges."
        )
    check_coords(coords_um)
    n_spots = len(coords_um)
    pairs = _triangulation(coords_um - coords_um.mean(axis=0))
    apart = coords_um[pairs[0]] - coords_um[pairs[1]]
    near = np.hypot(apart[:, 0], apart[:, 1]) <= longest_um
    return SpotGraph(both_ways(pairs[:, near], n_spots, self_loops=self_loops), n_spots)


def _triangulation(points: Float[np.ndarray, "points 2"]) -> Int[np.ndarray, "2 _"]:
    """Return the pairs of points that share an edge, each once."""
    # Each place is triangulated once; Qhull would leave repeats out.
    numbers, place_of = np.unique(points @ [1, 1j], return_inverse=True)
    places = np.column_stack([numbers.real, numbers.imag])
    try:
        starts, ends = Delaunay(places).vertex_neighbor_vertices
        pairs = np.stack([np.repeat(np.arange(len(places)), np.diff(starts)), ends])
        pairs = pairs[:, pairs[0] < pairs[1]]
    except QhullError:
        pairs = _chain(places)
    if len(places) == len(points):
        return np.argsort(place_of)[pairs]
    square = (len(places), len(places))
    joined = sparse.coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=square)
    held = (np.ones(len(points)), (np.arange(len(points)), place_of))
    member = sparse.csr_array(held, shape=(len(points), len(places)))
    together = joined.tocsr() + joined.T.tocsr() + sparse.eye_array(len(places))
    spread = (member @ together @ member.T).tocoo()
    return np.stack([spread.row, spread.col])[:, spread.row < spread.col]


def _chain(places: Float[np.ndarray, "points 2"]) -> Int[np.ndarray, "2 _"]:
    """Join places on one line, each with the next."""
    furthest = places[np.argmax((places**2).sum(axis=1))]
    order = np.argsort(places @ furthest)
    return np.stack([order[:-1], order[1:]])
