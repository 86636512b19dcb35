"""What the builders of graphs refuse, and how edges are put in order."""

__all__ = ["both_ways", "check_coords", "check_length", "check_rows", "check_weights"]

from collections.abc import Sized

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse


def check_coords(coords_um: Float[np.ndarray, "spots 2"]) -> None:
    """Refuse a section without spots, and centres that are nowhere.

    Raises
    ------
    ValueError
        If there are no spots, there are not two columns, or a centre is not finite.
    """
    if coords_um.ndim != 2 or coords_um.shape[1] != 2 or len(coords_um) == 0:
        raise ValueError(
            f"coords_um has shape {coords_um.shape}, expected a row (x, y) for each of "
            "one or more spots. Check that not all spots were filtered out."
        )
    missing = ~np.isfinite(coords_um).all(axis=1)
    if missing.any():
        raise ValueError(
            f"{int(missing.sum())} of {len(coords_um)} rows of coords_um are not "
            f"finite, first: row {np.flatnonzero(missing)[0]}. Drop these spots."
        )


def check_length(name: str, length_um: float, advice: str) -> None:
    """Refuse a length that is not above 0 and finite.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not (np.isfinite(length_um) and length_um > 0):
        raise ValueError(
            f"{name} is {length_um}, expected a distance above 0 in micrometres, "
            f"{advice}."
        )


def check_rows(name: str, values: Sized, n_spots: int, of: str = "spot") -> None:
    """Refuse arrays that do not belong to these spots, or to nodes called `of`.

    Raises
    ------
    ValueError
        If there is not one row for each.
    """
    if len(values) != n_spots:
        raise ValueError(
            f"{name} has {len(values)} rows, but the graph has {n_spots} "
            f"{of}s. Give one row per {of}, in the order of the graph."
        )


def check_weights(weights: Float[np.ndarray, " edges"], n_edges: int) -> None:
    """Refuse weights that no mean can be taken with.

    Raises
    ------
    ValueError
        If there is not one per edge, or one is negative or not finite.
    """
    if weights.shape != (n_edges,):
        raise ValueError(
            f"weights has shape {weights.shape}, expected one value for each of the "
            f"{n_edges} edges."
        )
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {n_edges} weights are negative or not finite, first: "
            f"{weights[bad][0]} of edge {np.flatnonzero(bad)[0]}. Give numbers of 0 or "
            "more."
        )


def both_ways(
    pairs: Int[np.ndarray, "2 _"], n_spots: int, *, self_loops: bool
) -> Int[np.ndarray, "2 _"]:
    """Return both directions of each pair, sorted by target, then source.

    Pairs stand once, in either direction. Transposing a sparse matrix is a counting
    sort: linear in the edges, where comparing them would cost a logarithm more.
    """
    first, second = pairs.astype(np.int32 if n_spots < 2**31 else np.int64)
    loops = np.arange(n_spots if self_loops else 0, dtype=first.dtype)
    sources = np.concatenate([first, second, loops])
    targets = np.concatenate([second, first, loops])
    joined = sparse.coo_array(
        (np.ones(len(sources), np.int8), (sources, targets)), shape=(n_spots, n_spots)
    )
    joined.has_canonical_format = True  # no edge stands twice: do not look for them
    by_target = joined.tocsr().tocsc()  # the first step sorts sources, the second keeps
    edges = np.empty((2, by_target.nnz), np.int64)
    edges[0] = by_target.indices
    edges[1] = np.repeat(np.arange(n_spots), np.diff(by_target.indptr))
    return edges
