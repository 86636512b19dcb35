"""Spot graphs in the shapes of other libraries, which are imported when asked for."""

__all__ = ["data", "hetero_data", "write"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from jaxtyping import Float, Int
from scipy import sparse

from stlearnkit._pyg import quiet_import
from stlearnkit.graphs._checks import check_rows

if TYPE_CHECKING:
    from torch_geometric.data import Data, HeteroData

_WEIGHTS, _LENGTHS = "spatial_connectivities", "spatial_distances"


def data(
    edge_index: Int[np.ndarray, "2 edges"],
    weights: Float[np.ndarray, " edges"] | None,
    n_spots: int,
    *,
    features: Float[np.ndarray, "spots features"] | None,
    coords_um: Float[np.ndarray, "spots 2"] | None,
) -> "Data":
    """Return PyTorch Geometric's `Data`; copies, so that neither side changes ours.

    Raises
    ------
    ValueError
        If a table has not one row per spot.
    """
    import torch

    with quiet_import():
        from torch_geometric.data import Data

    parts: dict[str, Any] = {}
    for name, key, table in (
        ("features", "x", features),
        ("coords_um", "pos", coords_um),
    ):
        if table is not None:
            check_rows(name, table, n_spots)
            parts[key] = torch.tensor(table, dtype=torch.float32)
    if weights is not None:
        parts["edge_weight"] = torch.tensor(weights, dtype=torch.float32)
    edges = torch.tensor(edge_index, dtype=torch.int64)
    return Data(edge_index=edges, num_nodes=n_spots, **parts)


def hetero_data(
    places_um: Mapping[str, Float[np.ndarray, "_ 2"]],
    edges: Mapping[tuple[str, str, str], Int[np.ndarray, "2 _"]],
    features: Mapping[str, Float[np.ndarray, "_ features"]],
) -> "HeteroData":
    """Return PyTorch Geometric's `HeteroData` of nodes by kind, and edges by relation.

    Raises
    ------
    ValueError
        If there are features of unknown nodes, or not one row for each.
    """
    import torch

    with quiet_import():
        from torch_geometric.data import HeteroData

    unknown = sorted(set(features) - set(places_um))
    if unknown:
        raise ValueError(
            f"features names {unknown}, expected some of {list(places_um)}."
        )
    graph = HeteroData()
    for name, places in places_um.items():
        graph[name].num_nodes = len(places)
        graph[name].pos = torch.tensor(places, dtype=torch.float32)
        if name in features:
            check_rows(f"features[{name!r}]", features[name], len(places), of=name)
            graph[name].x = torch.tensor(features[name], dtype=torch.float32)
    for relation, ends in edges.items():
        graph[relation].edge_index = torch.tensor(ends, dtype=torch.int64)
    return graph


def write(
    adata: AnnData,
    edge_index: Int[np.ndarray, "2 edges"],
    weights: Float[np.ndarray, " edges"] | None,
    lengths_um: Float[np.ndarray, " edges"],
) -> None:
    """Write connectivities, distances and the entry that names them.

    `params` says how scanpy's neighbours were found; ours are none of its methods.
    """
    sources, targets = edge_index
    shape = (adata.n_obs, adata.n_obs)
    ones = np.ones(len(sources)) if weights is None else weights
    for key, values in ((_WEIGHTS, ones), (_LENGTHS, lengths_um)):
        # From rows and columns, not from a dense table: a distance of 0 is kept.
        adata.obsp[key] = sparse.csr_matrix((values, (targets, sources)), shape)
    adata.uns["spatial_neighbors"] = {
        "connectivities_key": _WEIGHTS,
        "distances_key": _LENGTHS,
        "params": {"method": "stlearnkit", "metric": "euclidean"},
    }
