"""The graph of one section's spots: edges, weights, and means over neighbours."""

__all__ = ["SpotGraph"]

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData
from jaxtyping import Float, Int
from scipy import sparse

from stlearnkit.graphs import _export
from stlearnkit.graphs._checks import (
    check_coords,
    check_length,
    check_rows,
    check_weights,
)

if TYPE_CHECKING:
    from torch_geometric.data import Data


@dataclass(frozen=True, eq=False)
class SpotGraph:
    """Directed edges between the spots of one section.

    Parameters
    ----------
    edge_index
        Row 0: the neighbour an edge comes from; row 1: the spot it goes to.
    n_spots
        Number of spots, whether or not an edge touches them.
    weights
        How much each edge counts, 0 or more; None if all count alike.

    Raises
    ------
    ValueError
        If there are no spots, an edge names a spot that does not exist, or there is
        not one finite weight of 0 or more per edge.

    Examples
    --------
    Spot 1 lies between spots 0 and 2:

    >>> graph = SpotGraph(np.array([[0, 2], [1, 1]]), n_spots=3)
    >>> graph.n_neighbours
    array([0, 2, 0])
    """

    edge_index: Int[np.ndarray, "2 edges"]
    n_spots: int
    weights: Float[np.ndarray, " edges"] | None = None

    def __post_init__(self) -> None:
        """Refuse edges to spots that do not exist, and weights that mean nothing.

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
        if self.edge_index.ndim != 2 or len(self.edge_index) != 2:
            raise ValueError(
                f"edge_index has shape {self.edge_index.shape}, expected (2, edges): "
                "row 0 where edges come from, row 1 where they go to."
            )
        ends = self.edge_index
        if self.n_edges and (ends.min() < 0 or ends.max() >= self.n_spots):
            outside = (ends < 0) | (ends >= self.n_spots)
            raise ValueError(
                f"edge_index names spot {ends[outside][0]}, expected 0 to "
                f"{self.n_spots - 1}. Build the graph again after dropping spots."
            )
        if self.weights is not None:
            check_weights(self.weights, self.n_edges)

    @property
    def n_edges(self) -> int:
        """Number of directed edges, self-loops included."""
        return int(self.edge_index.shape[1])

    @property
    def n_neighbours(self) -> Int[np.ndarray, " spots"]:
        """Number of edges that go to each spot, a self-loop included."""
        return np.bincount(self.edge_index[1], minlength=self.n_spots)

    def mean(
        self, features: Float[np.ndarray, "spots features"]
    ) -> Float[np.ndarray, "spots features"]:
        r"""Average the features of each spot's neighbours, by weight if there are any.

        Parameters
        ----------
        features
            One row per spot of the graph. A NaN makes the mean of all NaN that look at
            it, and of no other.

        Returns
        -------
        One row per spot; NaN for a spot without neighbours or whose weights are all 0,
        as for any mean of nothing. Self-loops make sure that there is none.

        Raises
        ------
        ValueError
            If `features` has another number of rows than the graph has spots.

        Notes
        -----
        With :math:`N_i` the sources of the edges into spot :math:`i`, and
        :math:`w_{ij} = 1` unless there are weights,

        .. math:: m_i = \sum_{j \in N_i} w_{ij} x_j \Big/ \sum_{j \in N_i} w_{ij}

        computed as the product of a sparse adjacency matrix with the features.

        Examples
        --------
        >>> graph = SpotGraph(np.array([[0, 2], [1, 1]]), n_spots=3)
        >>> graph.mean(np.array([[1.0], [5.0], [3.0]]))
        array([[nan],
               [ 2.],
               [nan]])
        """
        check_rows("features", features, self.n_spots)
        weights = np.ones(self.n_edges) if self.weights is None else self.weights
        sources, targets = self.edge_index
        adjacency = sparse.csr_matrix(
            (weights.astype(features.dtype), (targets, sources)),
            shape=(self.n_spots, self.n_spots),
        )
        share = np.asarray(adjacency.sum(axis=1, dtype=features.dtype))
        total = adjacency @ features
        return np.divide(total, share, out=np.full_like(total, np.nan), where=share > 0)

    def lengths_um(
        self, coords_um: Float[np.ndarray, "spots 2"]
    ) -> Float[np.ndarray, " edges"]:
        """Return the distance between the ends of each edge, 0 for self-loops.

        Parameters
        ----------
        coords_um
            Spot centres (x, y) in micrometres, one row per spot of the graph.

        Raises
        ------
        ValueError
            If a centre is not finite, or the number of rows is not that of spots.
        """
        check_coords(coords_um)
        check_rows("coords_um", coords_um, self.n_spots)
        x, y = coords_um.T
        sources, targets = self.edge_index
        return np.hypot(x[sources] - x[targets], y[sources] - y[targets])

    def weighted_by_distance(
        self, coords_um: Float[np.ndarray, "spots 2"], width_um: float
    ) -> "SpotGraph":
        r"""Return the graph with weights that fall with distance.

        .. math:: w_{ij} = \exp(-d_{ij}^2 / 2 \sigma^2)

        1 for a self-loop, 0.61 at the width, 0.14 at twice and 0.01 at three times it.
        Weights that the graph had are replaced.

        Parameters
        ----------
        coords_um
            Spot centres (x, y) in micrometres.
        width_um
            The width :math:`\sigma`, above 0.

        Raises
        ------
        ValueError
            If the width is not positive and finite, or `coords_um` are not centres of
            these spots.

        Examples
        --------
        >>> coords_um = np.array([[0.0, 0.0], [200.0, 0.0]])
        >>> graph = SpotGraph(np.array([[0, 1], [1, 1]]), n_spots=2)
        >>> graph.weighted_by_distance(coords_um, width_um=200.0).weights.round(2)
        array([0.61, 1.  ])
        """
        check_length("width_um", width_um, "e.g. the spot pitch")
        relative = self.lengths_um(coords_um) / width_um
        return replace(self, weights=np.exp(-(relative**2) / 2))

    def weighted_by_similarity(
        self, features: Float[np.ndarray, "spots features"]
    ) -> "SpotGraph":
        r"""Return the graph with weights that grow with the likeness of both ends.

        .. math:: w_{ij} = \max(0, \cos(x_i, x_j))

        1 for spots whose features point the same way; 0 for those at a right angle or
        further apart, since a mean cannot count something less than not at all. Take
        features of one encoder: between different projections a cosine says nothing.
        Weights that the graph had are replaced.

        Parameters
        ----------
        features
            One row per spot of the graph, none of them all zeros.

        Raises
        ------
        ValueError
            If `features` has another number of rows than the graph has spots, or a row
            is not finite or all zeros, and so has no direction.

        Examples
        --------
        >>> features = np.array([[1.0, 0.0], [3.0, 4.0], [-1.0, 0.0]])
        >>> graph = SpotGraph(np.array([[0, 2], [1, 1]]), n_spots=3)
        >>> graph.weighted_by_similarity(features).weights
        array([0.6, 0. ])
        """
        check_rows("features", features, self.n_spots)
        largest = np.abs(features).max(axis=1, initial=0, keepdims=True)
        bad = ~(np.isfinite(largest) & (largest > 0)).ravel()
        if bad.any():
            raise ValueError(
                f"{int(bad.sum())} of {len(features)} rows of features are not finite "
                f"or all zeros, first: row {np.flatnonzero(bad)[0]}. They have no "
                "direction and no cosine: drop these spots, or find out why."
            )
        scaled = features / largest  # so that squares neither overflow nor vanish
        units = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
        sources, targets = self.edge_index
        cosine = np.einsum("ef,ef->e", units[sources], units[targets])
        return replace(self, weights=cosine.clip(0, 1))

    def symmetric(self) -> "SpotGraph":
        """Return the graph with every edge in both directions, by target, then source.

        A direction that was missing is added with the weight of the other.

        Examples
        --------
        >>> SpotGraph(np.array([[0], [1]]), n_spots=2).symmetric().edge_index
        array([[1, 0],
               [0, 1]])
        """
        alone = ~self._has_reverse()
        edges = np.hstack([self.edge_index, self.edge_index[::-1, alone]])
        order = np.lexsort(edges)
        weights = self.weights
        if weights is not None:
            weights = np.append(weights, weights[alone])[order]
        return SpotGraph(edges[:, order], self.n_spots, weights)

    def mutual(self) -> "SpotGraph":
        """Return the graph with only the edges that go both ways, self-loops included.

        Examples
        --------
        >>> edge_index = np.array([[1, 0, 1], [0, 1, 2]])
        >>> SpotGraph(edge_index, n_spots=3).mutual().edge_index
        array([[1, 0],
               [0, 1]])
        """
        both = self._has_reverse()
        weights = None if self.weights is None else self.weights[both]
        return SpotGraph(self.edge_index[:, both], self.n_spots, weights)

    def _has_reverse(self) -> np.ndarray:
        """Return for each edge whether there is one the other way."""
        sources, targets = self.edge_index.astype(np.int64)
        return np.isin(
            sources * self.n_spots + targets, targets * self.n_spots + sources
        )

    def to_pyg(
        self,
        features: Float[np.ndarray, "spots features"] | None = None,
        coords_um: Float[np.ndarray, "spots 2"] | None = None,
    ) -> "Data":
        """Return the graph as PyTorch Geometric's `Data`.

        Parameters
        ----------
        features
            Become `x`, in single precision, if given.
        coords_um
            Become `pos`, in micrometres and single precision, if given.

        Returns
        -------
        With `edge_index`, `num_nodes` and, if there are weights, `edge_weight`. Edges
        point the same way in both libraries.

        Raises
        ------
        ValueError
            If a table has not one row per spot.
        """
        return _export.data(
            self.edge_index,
            self.weights,
            self.n_spots,
            features=features,
            coords_um=coords_um,
        )

    def write(self, adata: AnnData, coords_um: Float[np.ndarray, "spots 2"]) -> None:
        """Write the graph where scanpy and squidpy look for it.

        `obsp["spatial_connectivities"]` takes the weights, 1 if there are none,
        `obsp["spatial_distances"]` micrometres, `uns["spatial_neighbors"]` the names
        of both. Rows are the spots that look, columns their neighbours. What was under
        these keys is replaced.

        Parameters
        ----------
        adata
            The table of the section; it is changed.
        coords_um
            Spot centres (x, y) in micrometres.

        Raises
        ------
        ValueError
            If `adata` or `coords_um` are not of these spots.
        """
        check_rows("adata", adata, self.n_spots)
        lengths_um = self.lengths_um(coords_um)
        _export.write(adata, self.edge_index, self.weights, lengths_um)
