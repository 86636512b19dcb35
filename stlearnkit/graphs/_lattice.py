"""Neighbours on the lattice that an array prints its spots on."""

__all__ = ["grid"]

import numpy as np
from jaxtyping import Complex, Float, Int
from scipy.spatial import cKDTree

from stlearnkit.graphs._checks import both_ways, check_coords, check_length
from stlearnkit.graphs._graph import SpotGraph
from stlearnkit.graphs._near import tree_of

_FOLDS = {4: 4, 8: 4, 6: 6}  # turns of a lattice onto itself, by number of neighbours
_NEXT = {4: 1.2, 6: 1.35}  # in pitches: between the first and the second neighbours
_REACH = {4: 1.5, 6: 1.5, 8: 2**0.5 + 0.5}  # in pitches: as far as neighbours can be
_N_FITS = 3
_ENOUGH = 250  # spots to find the lattice from; their 1,000 steps average jitter out
_LEAST_ORDER = 0.25  # the wrong lattice has 0, the right one 0.5 at the largest jitter


def grid(
    coords_um: Float[np.ndarray, "spots 2"],
    n_neighbours: int,
    *,
    pitch_um: float | None = None,
    self_loops: bool,
) -> SpotGraph:
    r"""Join each spot to its neighbours on the array's own lattice.

    Pitch and direction of the lattice are found from the spots. Two spots are joined
    if one is less than half a pitch from where the lattice, laid through the other,
    expects a neighbour. So the array may be turned, and each spot may lie a fifth of
    a pitch askew, while a gap stays a gap: what lies behind it is no
    neighbour.

    Parameters
    ----------
    coords_um
        Spot centres (x, y) in micrometres, of one array.
    n_neighbours
        4 for a square lattice, 8 to count its diagonals too, as on the first arrays;
        6 for a hexagonal one, as of Visium.
    pitch_um
        Distance of next neighbours. By default the lattice is fitted to the spots,
        from the median of their nearest distances on: give it where more than half of
        the spots have no next neighbour.
    self_loops
        Whether a spot is its own neighbour.

    Returns
    -------
    A graph with both directions of every edge, sorted by target, then source; no spot
    has more than `n_neighbours`, besides itself.

    Raises
    ------
    ValueError
        If `n_neighbours` is not 4, 6 or 8, the pitch is not positive and finite, a
        centre is not finite, two spots lie in one place, or the spots do not lie on
        such a lattice.

    Notes
    -----
    The direction is that of the mean of :math:`e^{i m \theta}` over the directions
    :math:`\theta` of next neighbours, divided by the :math:`m = 4` or 6 turns that
    leave the lattice as it is. The length of that mean is 1 on a perfect lattice, and
    0 on a lattice of the other kind; below 0.25 the spots are refused.

    Examples
    --------
    The place at x = 400 µm is empty, so that spot 3 has no neighbour:

    >>> coords_um = np.array([[0.0, 0.0], [200.0, 0.0], [0.0, 200.0], [600.0, 0.0]])
    >>> grid(coords_um, 4, self_loops=False).edge_index
    array([[1, 2, 0, 0],
           [0, 0, 1, 2]])
    """
    if n_neighbours not in _FOLDS:
        raise ValueError(
            f"n_neighbours is {n_neighbours}, expected 4 or 8 on a square lattice or 6 "
            "on a hexagonal one."
        )
    if pitch_um is not None:
        check_length("pitch_um", pitch_um, "or None to find it from the spots")
    check_coords(coords_um)
    n_spots = len(coords_um)
    if n_spots == 1:
        pairs = np.empty((2, 0), np.int64)
    else:
        pairs = _lattice_pairs(coords_um, n_neighbours, pitch_um)
    edges = both_ways(pairs, n_spots, self_loops=self_loops)
    return SpotGraph(edges, n_spots)


def _lattice_pairs(
    coords_um: Float[np.ndarray, "spots 2"], n_neighbours: int, pitch_um: float | None
) -> Int[np.ndarray, "2 _"]:
    """Return the pairs of lattice neighbours, each once."""
    tree = tree_of(coords_um)
    _check_places(tree)
    points = coords_um[:, 0] + 1j * coords_um[:, 1]  # turning is multiplying
    step = _step(tree, points, n_neighbours, pitch_um)
    if step is None:
        return np.empty((2, 0), np.int64)
    reach = _REACH[n_neighbours] * np.abs(step)
    pairs = tree.query_pairs(reach, output_type="ndarray").T
    seen = (points[pairs[1]] - points[pairs[0]]) / step
    expected = _expected(seen, n_neighbours)
    error = np.abs(seen - expected)
    known = error < 0.5
    return _one_a_place(pairs[:, known], expected[known], error[known], len(points))


def _step(
    tree: cKDTree,
    points: Complex[np.ndarray, " spots"],
    n_neighbours: int,
    pitch_um: float | None,
) -> complex | None:
    """Return a step of the lattice; None if no spot has a next neighbour."""
    folds = _FOLDS[n_neighbours]
    some = slice(None, None, -(-tree.n // _ENOUGH))
    distances, others = tree.query(tree.data[some], k=min(folds + 1, tree.n))
    pitch = pitch_um or _pitch(distances[:, 1:], _NEXT[folds])
    steps = (points[others] - points[some, None])[:, 1:].ravel()
    first = np.abs(distances[:, 1:].ravel() - pitch) <= (_NEXT[folds] - 1) * pitch
    if not first.any():
        return None
    step = pitch * _axis(steps[first], folds, n_neighbours)
    return _fitted(step, steps, folds) if pitch_um is None else step


def _expected(
    seen: Complex[np.ndarray, " edges"], n_neighbours: int
) -> Complex[np.ndarray, " edges"]:
    """Return the lattice neighbour of 0 nearest to each point, in lattice steps.

    Only sure where the two are less than half a step apart; NaN where it is not one.
    """
    if n_neighbours == 6:
        return np.exp(1j * np.pi / 3 * np.round(np.angle(seen) / (np.pi / 3)))
    places = np.round(seen)
    size = np.abs(places)
    furthest = 1.1 if n_neighbours == 4 else 1.5
    places[(size == 0) | (size > furthest)] = np.nan
    return places


def _fitted(step: complex, steps: Complex[np.ndarray, " edges"], folds: int) -> complex:
    """Return the step of the lattice that fits those to next neighbours best.

    A complex number holds pitch and direction, so that least squares is one division.
    """
    for _ in range(_N_FITS):
        expected = _expected(steps / step, folds)
        near = np.abs(steps / step - expected) < 0.5
        total = np.vdot(expected[near], steps[near])  # of expected steps of length 1
        step = complex(total / np.count_nonzero(near))
    return step


def _check_places(tree: cKDTree) -> None:
    """Refuse spots that share a place.

    Raises
    ------
    ValueError
        If there are any.
    """
    rows = np.unique(tree.query_pairs(0.0, output_type="ndarray"))
    if len(rows):
        raise ValueError(
            f"{len(rows)} of {tree.n} spots share their place with another, "
            f"first: row {rows[0]} of coords_um. A place of an array is one spot: "
            "merge them, or use radius."
        )


def _pitch(distances: Float[np.ndarray, "spots neighbours"], reach: float) -> float:
    """Return the median distance to next neighbours, those up to `reach` times it.

    The nearest of four jittered spots lies nearer than the pitch, so that one starts
    too low and takes more neighbours in until nothing changes. Never fewer: among
    scattered cells that would end at the two that lie closest.
    """
    pitch, before = float(np.median(distances[:, 0])), 0.0
    while pitch > before:
        before = pitch
        pitch = float(np.median(distances[distances <= reach * pitch]))
    return pitch


def _axis(
    steps: Complex[np.ndarray, " edges"], folds: int, n_neighbours: int
) -> complex:
    """Return the direction of the lattice, as a complex number of length 1.

    Raises
    ------
    ValueError
        If the steps to next neighbours have no common direction.
    """
    order = np.mean((steps / np.abs(steps)) ** folds)
    if np.abs(order) < _LEAST_ORDER:
        kind = "hexagonal" if folds == 6 else "square"
        raise ValueError(
            f"n_neighbours is {n_neighbours}, but coords_um do not lie on a {kind} "
            f"lattice: their order is {np.abs(order):.2f}, expected {_LEAST_ORDER} to "
            "1. Use 6 for hexagonal and 4 or 8 for square arrays, one array at a time; "
            "radius or delaunay for spots without a lattice."
        )
    return complex(np.exp(1j * np.angle(order) / folds))


def _one_a_place(
    pairs: Int[np.ndarray, "2 edges"],
    expected: Complex[np.ndarray, " edges"],
    error: Float[np.ndarray, " edges"],
    n_spots: int,
) -> Int[np.ndarray, "2 _"]:
    """Return the pairs; of two that claim one place only the nearer one.

    Both ends must find each other nearest, so that neighbourhood stays mutual.
    """
    direction = np.round(np.angle(expected) * 12 / np.pi).astype(np.int64)
    there, back = pairs[1] * 24 + direction % 24, pairs[0] * 24 + (direction + 12) % 24
    claimed = np.zeros(n_spots * 24, bool)
    claimed[there] = claimed[back] = True
    if np.count_nonzero(claimed) == 2 * len(error):  # no place twice, as on most arrays
        return pairs
    place = np.append(there, back)
    order = np.lexsort((np.append(error, error), place))
    taken = np.empty(len(place), bool)
    taken[order] = np.diff(place[order], prepend=-1) > 0
    return pairs[:, taken[: len(error)] & taken[len(error) :]]
