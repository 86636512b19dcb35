"""Graphs in PyTorch Geometric and squidpy: the same edges, and the same numbers."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import squidpy as sq
import torch
from anndata import AnnData
from scipy import sparse
from torch_geometric.data import Batch
from torch_geometric.nn import GATv2Conv, SimpleConv

from stlearnkit import graphs
from stlearnkit._pyg import quiet_import
from stlearnkit.datasets import her2st

CORNER_UM = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [400.0, 0.0]])
SIDES_UM = {"region": 100.0, "district": 200.0}
FEATURES = np.array([[1.0, 2.0], [3.0, 5.0], [8.0, 1.0], [4.0, 4.0]])


def scattered(seed=0, n_spots=60):
    return np.random.default_rng(seed).uniform(0, 1000, (n_spots, 2))


def table(coords_um, n_genes=3):
    counts = np.random.default_rng(0).poisson(5.0, (len(coords_um), n_genes))
    return AnnData(counts.astype(float), obsm={"spatial": coords_um})


class TestPyg:
    """PyTorch Geometric reads the same graph."""

    def test_parts_by_hand(self):
        graph = graphs.radius(CORNER_UM, 120.0, self_loops=False)
        data = graph.to_pyg(FEATURES, CORNER_UM)
        assert data.edge_index.tolist() == [[1, 2, 0, 0], [0, 0, 1, 2]]
        assert data.num_nodes == 4
        assert data.x.tolist() == FEATURES.tolist()
        assert data.pos.tolist() == CORNER_UM.tolist()
        assert data.x.dtype == data.pos.dtype == torch.float32
        assert "edge_weight" not in data
        assert data.validate()
        assert not data.is_directed()

    def test_what_is_not_given_is_not_there(self):
        data = graphs.radius(CORNER_UM, 120.0, self_loops=False).to_pyg()
        assert sorted(data.keys()) == ["edge_index", "num_nodes"]
        assert data.num_nodes == 4  # one of them without an edge

    @pytest.mark.parametrize("weighted", [False, True])
    def test_its_mean_is_ours(self, weighted):
        coords_um = scattered()
        features = np.random.default_rng(1).normal(size=(60, 4))
        graph = graphs.knn(coords_um, 5, self_loops=True)
        if weighted:
            graph = graph.weighted_by_distance(coords_um, 90.0)
        data = graph.to_pyg(features)
        sums = SimpleConv(aggr="sum")
        total = sums(data.x, data.edge_index, data.get("edge_weight"))
        share = sums(torch.ones(60, 1), data.edge_index, data.get("edge_weight"))
        ours = torch.from_numpy(graph.mean(features)).float()
        assert torch.allclose(total / share, ours, rtol=0, atol=1e-5)

    def test_what_is_done_to_it_does_not_reach_us(self):
        graph = graphs.radius(CORNER_UM, 120.0, self_loops=False)
        data = graph.to_pyg(FEATURES)
        data.edge_index += 1
        data.x += 1
        assert graph.edge_index.min() == 0
        assert FEATURES[0, 0] == 1.0

    def test_sections_are_batched(self):
        first = graphs.radius(CORNER_UM, 120.0, self_loops=False).to_pyg(FEATURES)
        batch = Batch.from_data_list([first, first])
        assert batch.edge_index.tolist() == [
            [1, 2, 0, 0, 5, 6, 4, 4],
            [0, 0, 1, 2, 4, 4, 5, 6],
        ]

    @pytest.mark.parametrize("name", ["features", "coords_um"])
    def test_tables_of_another_section_are_refused(self, name):
        graph = graphs.radius(CORNER_UM, 120.0, self_loops=False)
        with pytest.raises(ValueError, match=f"{name} has 3 rows, but the graph has 4"):
            graph.to_pyg(**{name: np.ones((3, 2))})


class TestHetero:
    """Spots and tiles as nodes of several kinds."""

    def test_parts_by_hand(self):
        graph = graphs.ScaleGraph.build(
            CORNER_UM + 10, SIDES_UM, n_nearest=2, self_loops=False
        )
        region = np.array([[5.0], [6.0], [7.0], [8.0]])
        data = graph.to_pyg({"spot": FEATURES, "region": region})
        assert data.validate()
        assert data.node_types == ["spot", "region", "district"]
        assert set(data.edge_types) == {
            ("spot", "in", "region"),
            ("region", "near", "spot"),
            ("region", "beside", "region"),
            ("region", "in", "district"),
            ("spot", "in", "district"),
            ("district", "near", "spot"),
            ("district", "beside", "district"),
        }
        assert data["spot"].x.tolist() == FEATURES.tolist()
        assert data["region"].x.tolist() == region.tolist()
        assert "x" not in data["district"]
        assert data["district"].pos.tolist() == [[100, 100], [500, 100]]
        # Regions row by row: those of spots 0, 1, 3, and below them that of 2.
        assert data["spot", "in", "region"].edge_index.tolist() == [
            [0, 1, 2, 3],
            [0, 1, 3, 2],
        ]
        assert data["region", "in", "district"].edge_index.tolist() == [
            [0, 1, 2, 3],
            [0, 0, 1, 0],
        ]
        looks = data["region", "near", "spot"].edge_index
        assert looks[1].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        assert looks[0, ::2].tolist() == [0, 1, 3, 2]
        beside = data["region", "beside", "region"].edge_index
        assert beside.tolist() == graph.scales[0].neighbours.edge_index.tolist()

    def test_a_mean_over_its_edges_is_our_pool(self):
        coords_um = scattered()
        features = np.random.default_rng(1).normal(size=(60, 4))
        graph = graphs.ScaleGraph.build(coords_um, self_loops=True)
        data = graph.to_pyg({"spot": features})
        for tiles in graph.scales:
            edges = data["spot", "in", tiles.name].edge_index
            nodes = (data["spot"].x, torch.zeros(tiles.n_tiles, 4))
            mean = SimpleConv(aggr="mean")(nodes, edges)
            ours = torch.from_numpy(tiles.pool(features)).float()
            assert torch.allclose(mean, ours, rtol=0, atol=1e-6)

    def test_the_picture_of_a_spot_changes_what_it_takes_from_tiles(self):
        """In ASIGN's code it did not: attention had a single key."""
        coords_um = scattered()
        rng = np.random.default_rng(2)
        graph = graphs.ScaleGraph.build(coords_um, self_loops=True)
        features = {"spot": rng.normal(size=(60, 4))}
        features |= {
            tiles.name: rng.normal(size=(tiles.n_tiles, 4)) for tiles in graph.scales
        }
        before = graph.to_pyg(features)
        after = graph.to_pyg(features | {"spot": rng.normal(size=(60, 4))})
        torch.manual_seed(0)
        for tiles in graph.scales:
            layer = GATv2Conv((4, 4), 3, add_self_loops=False)
            with torch.no_grad():
                first, second = (
                    layer(
                        (data[tiles.name].x, data["spot"].x),
                        data[tiles.name, "near", "spot"].edge_index,
                    )
                    for data in (before, after)
                )
            assert (first - second).abs().max(dim=1).values.min() > 1e-4

    def test_unknown_nodes_are_refused(self):
        graph = graphs.ScaleGraph.build(CORNER_UM, SIDES_UM, self_loops=False)
        with pytest.raises(
            ValueError, match=r"features names \['city'\], expected some"
        ):
            graph.to_pyg({"city": FEATURES})

    def test_tables_of_another_section_are_refused(self):
        graph = graphs.ScaleGraph.build(CORNER_UM, SIDES_UM, self_loops=False)
        with pytest.raises(
            ValueError, match=r"features\['region'\] has 3 rows, .* 4 reg"
        ):
            graph.to_pyg({"region": np.ones((3, 1))})


class TestSquidpy:
    """Squidpy reads what it would have written."""

    def test_keys_by_hand(self):
        graph = graphs.radius(CORNER_UM, 120.0, self_loops=False)
        graph = graph.weighted_by_distance(CORNER_UM, 100.0)
        adata = table(CORNER_UM)
        graph.write(adata, CORNER_UM)
        weights = adata.obsp["spatial_connectivities"].toarray()
        near = np.exp(-0.5)
        expected = np.zeros((4, 4))
        expected[[0, 0, 1, 2], [1, 2, 0, 0]] = near
        assert np.allclose(weights, expected)
        lengths = adata.obsp["spatial_distances"].toarray()
        assert np.allclose(lengths, expected / near * 100)
        entry = adata.uns["spatial_neighbors"]
        assert adata.obsp[entry["connectivities_key"]].nnz == 4
        assert adata.obsp[entry["distances_key"]].nnz == 4

    def test_rows_look_and_columns_are_looked_at(self):
        adata = table(CORNER_UM)
        graphs.SpotGraph(np.array([[1], [3]]), 4).write(adata, CORNER_UM)
        assert adata.obsp["spatial_connectivities"][3, 1] == 1
        assert adata.obsp["spatial_connectivities"].nnz == 1

    def test_neighbours_in_one_place_stay_neighbours(self):
        coords_um = CORNER_UM[[0, 0, 1]]
        adata = table(coords_um)
        graphs.radius(coords_um, 10.0, self_loops=False).write(adata, coords_um)
        assert adata.obsp["spatial_distances"].nnz == 2
        assert adata.obsp["spatial_connectivities"].sum() == 2

    @pytest.mark.parametrize("way", ["knn", "radius", "delaunay"])
    def test_matrices_are_those_that_squidpy_makes(self, way):
        coords_um = scattered(5)
        ours, theirs = table(coords_um), table(coords_um)
        if way == "knn":
            graph = graphs.knn(coords_um, 6, self_loops=False)
            sq.gr.spatial_neighbors_knn(theirs, n_neighs=6)
        elif way == "radius":
            graph = graphs.radius(coords_um, 150.0, self_loops=False)
            sq.gr.spatial_neighbors_radius(theirs, radius=150.0)
        else:
            graph = graphs.delaunay(coords_um, np.inf, self_loops=False)
            sq.gr.spatial_neighbors_delaunay(theirs)
        graph.write(ours, coords_um)
        for key in ("spatial_connectivities", "spatial_distances"):
            found, made = (each.obsp[key].toarray() for each in (ours, theirs))
            if way == "knn":  # squidpy adds the directions that are missing
                found = np.maximum(found, found.T)
                made = np.maximum(made, made.T)
            assert np.allclose(found, made, rtol=0, atol=1e-4)
        assert set(ours.uns["spatial_neighbors"]) == set(
            theirs.uns["spatial_neighbors"]
        )

    def test_its_morans_i_is_the_formula(self):
        coords_um = scattered(6)
        adata = table(coords_um)
        graph = graphs.radius(coords_um, 200.0, self_loops=False)
        graph.write(adata, coords_um)
        sq.gr.spatial_autocorr(
            adata, mode="moran", transformation=False, show_progress_bar=False, n_jobs=1
        )
        centred = adata.X - adata.X.mean(axis=0)
        sources, targets = graph.edge_index
        cross = (centred[sources] * centred[targets]).sum(axis=0)
        expected = cross / (centred**2).sum(axis=0) * len(coords_um) / graph.n_edges
        found = adata.uns["moranI"].loc[adata.var_names, "I"]
        assert np.allclose(found, expected, rtol=0, atol=1e-6)

    def test_its_interaction_matrix_counts_our_edges(self):
        coords_um = scattered(7)
        adata = table(coords_um)
        graph = graphs.knn(coords_um, 4, self_loops=False)
        graph.write(adata, coords_um)
        kind = np.arange(60) % 3
        adata.obs["kind"] = kind.astype(str)
        adata.obs["kind"] = adata.obs["kind"].astype("category")
        found = sq.gr.interaction_matrix(adata, "kind", copy=True)
        expected = np.zeros((3, 3))
        np.add.at(expected, (kind[graph.edge_index[1]], kind[graph.edge_index[0]]), 1)
        assert np.array_equal(found, expected)

    def test_a_table_survives_being_written(self, tmp_path):
        from anndata import read_h5ad

        adata = table(CORNER_UM)
        graphs.radius(CORNER_UM, 120.0, self_loops=True).write(adata, CORNER_UM)
        adata.write_h5ad(tmp_path / "section.h5ad")
        again = read_h5ad(tmp_path / "section.h5ad")
        for key in ("spatial_connectivities", "spatial_distances"):
            assert sparse.issparse(again.obsp[key])
            assert np.array_equal(again.obsp[key].toarray(), adata.obsp[key].toarray())
        assert again.uns["spatial_neighbors"] == adata.uns["spatial_neighbors"]

    def test_tables_of_another_section_are_refused(self):
        graph = graphs.radius(CORNER_UM, 120.0, self_loops=False)
        with pytest.raises(
            ValueError, match="adata has 3 rows, but the graph has 4 spo"
        ):
            graph.write(table(CORNER_UM[:3]), CORNER_UM)
        with pytest.raises(
            ValueError, match="coords_um has 3 rows, but the graph has 4"
        ):
            graph.write(table(CORNER_UM), CORNER_UM[:3])

    @pytest.mark.real_data
    def test_morans_i_of_her2st_on_our_grid(self):
        section = her2st("C2", image=False)
        adata = section.adata[:, ["ERBB2", "GNAS", "FASN"]].copy()
        adata.X = np.log1p(adata.X.toarray())
        graphs.grid(section.coords_um, 8, self_loops=False).write(
            adata, section.coords_um
        )
        sq.gr.spatial_autocorr(adata, mode="moran", show_progress_bar=False, n_jobs=1)
        assert (adata.uns["moranI"]["I"] > 0.1).all()


def test_the_room_does_not_import_torch():
    code = "import sys, stlearnkit.graphs; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "stlearnkit.graphs" in loaded
    assert {"torch", "torch_geometric", "squidpy", "scanpy"}.isdisjoint(loaded)


def test_what_torch_says_of_geometrics_import_is_silenced_and_nothing_else():
    with quiet_import():
        warnings.warn("`torch.jit.script` is deprecated. Please", FutureWarning, 2)
        with pytest.raises(FutureWarning, match=r"`torch\.jit\.trace` is deprecated"):
            warnings.warn("`torch.jit.trace` is deprecated.", FutureWarning, 2)
