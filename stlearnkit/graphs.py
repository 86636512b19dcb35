"""Graphs of spots: who is whose neighbour, and means over neighbours.

A `SpotGraph` is a list of edges and the number of spots, nothing more, so that it
can be read, drawn and checked by hand. Edges point from a neighbour to the spot that
looks at it, as in PyTorch Geometric.

Taught in the chapter "Features and the linear baseline".
"""

__all__ = ["SpotGraph", "radius"]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.spatial import cKDTree


@dataclass(frozen=True, eq=False)
class SpotGraph:
    """Directed edges between the spots of one section.

    Parameters
    ----------
    edge_index
        Row 0: the neighbour an edge comes from; row 1: the spot it goes to.
    n_spots
        Number of spots, whether or not an edge touches them.

    Raises
    ------
    ValueError
        If there are no spots, or an edge names a spot that does not exist.

    Examples
    --------
    Spot 1 lies between spots 0 and 2:

    >>> graph = SpotGraph(np.array([[0, 2], [1, 1]]), n_spots=3)
    >>> graph.n_neighbours
    array([0, 2, 0])
    """

    edge_index: Int[np.ndarray, "2 edges"]
    n_spots: int

    def __post_init__(self) -> None:
        """Refuse edges to spots that do not exist.

        Raises
        ------
        ValueError
            See the class.
        """
        if self.n_spots < 1:
            raise ValueError(
                f"n_spots is {self.n_spots}, expected at least 1. Check that not all "
                "spots were filtered out."
            )
        outside = (self.edge_index < 0) | (self.edge_index >= self.n_spots)
        if outside.any():
            raise ValueError(
                f"edge_index names spot {self.edge_index[outside][0]}, expected 0 to "
                f"{self.n_spots - 1}. Build the graph again after dropping spots."
            )

    @property
    def n_neighbours(self) -> Int[np.ndarray, " spots"]:
        """Number of edges that go to each spot, a self-loop included."""
        return np.bincount(self.edge_index[1], minlength=self.n_spots)

    def mean(
        self, features: Float[np.ndarray, "spots features"]
    ) -> Float[np.ndarray, "spots features"]:
        r"""Average the features of each spot's neighbours.

        Parameters
        ----------
        features
            One row per spot of the graph.

        Returns
        -------
        One row per spot; NaN for a spot without neighbours, as for any mean of
        nothing. Self-loops make sure that there is none.

        Raises
        ------
        ValueError
            If `features` has another number of rows than the graph has spots.

        Notes
        -----
        With :math:`N_i` the sources of the edges into spot :math:`i`,

        .. math:: m_i = \frac{1}{|N_i|} \sum_{j \in N_i} x_j

        computed as the product of a sparse adjacency matrix with the features.

        Examples
        --------
        >>> graph = SpotGraph(np.array([[0, 2], [1, 1]]), n_spots=3)
        >>> graph.mean(np.array([[1.0], [5.0], [3.0]]))
        array([[nan],
               [ 2.],
               [nan]])
        """
        if len(features) != self.n_spots:
            raise ValueError(
                f"features has {len(features)} rows, but the graph has {self.n_spots} "
                "spots. Give one row per spot, in the order of the coordinates."
            )
        sources, targets = self.edge_index
        adjacency = sparse.csr_matrix(
            (np.ones(len(sources), features.dtype), (targets, sources)),
            shape=(self.n_spots, self.n_spots),
        )
        count = self.n_neighbours[:, None].astype(features.dtype)
        total = adjacency @ features
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


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
    if not (np.isfinite(radius_um) and radius_um > 0):
        raise ValueError(
            f"radius_um is {radius_um}, expected a distance above 0 in micrometres, "
            "e.g. 1.25 times the spot pitch."
        )
    missing = ~np.isfinite(coords_um).all(axis=1)
    if missing.any():
        raise ValueError(
            f"{int(missing.sum())} of {len(coords_um)} rows of coords_um are not "
            f"finite, first: row {np.flatnonzero(missing)[0]}. Drop these spots."
        )
    pairs = cKDTree(coords_um).query_pairs(radius_um, output_type="ndarray").T
    loops = np.arange(len(coords_um) if self_loops else 0)
    edges = np.hstack([pairs, pairs[::-1], np.stack([loops, loops])]).astype(np.int64)
    return SpotGraph(edges[:, np.lexsort(edges)], n_spots=len(coords_um))
