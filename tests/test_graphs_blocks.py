"""Blocks with a halo compute what the whole graph does, at the spots they own."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.csgraph import shortest_path
from torch_geometric.nn import GATv2Conv

from stlearnkit import graphs
from stlearnkit.datasets import her2st

ROW_UM = np.column_stack([200.0 * np.arange(5), np.zeros(5)])


def random_graph(seed, n_spots=120, k=4):
    rng = np.random.default_rng(seed)
    coords_um = rng.uniform(0, 1000, (n_spots, 2))
    return coords_um, graphs.knn(coords_um, k, self_loops=bool(seed % 2))


def steps_to(graph):
    """Count the steps from each column's spot to each row's."""
    sources, targets = graph.edge_index
    shape = (graph.n_spots, graph.n_spots)
    joined = sparse.csr_array((np.ones(graph.n_edges), (targets, sources)), shape)
    return shortest_path(joined, unweighted=True)


def test_five_spots_in_a_row_by_hand():
    graph = graphs.radius(ROW_UM, 250.0, self_loops=False)
    first, second, third = graphs.blocks(graph, ROW_UM, n_hops=1, max_spots=2)
    assert [block.owned.tolist() for block in (first, second, third)] == [
        [0, 1],
        [2],
        [3, 4],
    ]
    assert [block.halo.tolist() for block in (first, second, third)] == [
        [2],
        [1, 3],
        [2],
    ]
    assert second.spots.tolist() == [2, 1, 3]
    assert sorted(second.graph.edge_index.T.tolist()) == [
        [0, 1],
        [0, 2],
        [1, 0],
        [2, 0],
    ]


def test_without_hops_there_is_no_halo():
    graph = graphs.radius(ROW_UM, 250.0, self_loops=True)
    for block in graphs.blocks(graph, ROW_UM, n_hops=0, max_spots=2):
        assert block.halo.size == 0
        assert block.graph.n_edges == {1: 1, 2: 4}[len(block.owned)]


def test_a_block_that_holds_all_is_the_graph():
    coords_um, graph = random_graph(7)
    (block,) = graphs.blocks(graph, coords_um, n_hops=3, max_spots=len(coords_um))
    assert np.array_equal(block.spots, np.arange(len(coords_um)))
    assert np.array_equal(block.graph.edge_index, graph.edge_index)


@given(
    seed=st.integers(0, 10_000), n_hops=st.integers(0, 4), max_spots=st.integers(1, 60)
)
def test_owned_spots_partition_the_section_and_halos_are_k_hops(
    seed, n_hops, max_spots
):
    coords_um, graph = random_graph(seed)
    steps = steps_to(graph)
    owned = []
    for block in graphs.blocks(graph, coords_um, n_hops=n_hops, max_spots=max_spots):
        assert 1 <= len(block.owned) <= max_spots
        near = steps[block.owned].min(axis=0)
        expected = np.flatnonzero((near > 0) & (near <= n_hops))
        assert np.array_equal(np.sort(block.halo), expected)
        owned.append(block.owned)
    assert np.array_equal(np.sort(np.concatenate(owned)), np.arange(len(coords_um)))


@given(seed=st.integers(0, 10_000), n_layers=st.integers(1, 4), weighted=st.booleans())
def test_repeated_means_are_those_of_the_whole_graph(seed, n_layers, weighted):
    coords_um, graph = random_graph(seed)
    if weighted:
        graph = graph.weighted_by_distance(coords_um, 100.0)
    features = np.random.default_rng(seed).normal(size=(len(coords_um), 3))

    def layers(graph, x):
        for _ in range(n_layers):
            x = np.tanh(2 * x + graph.mean(x))
        return x

    whole = layers(graph, features)
    for block in graphs.blocks(graph, coords_um, n_hops=n_layers, max_spots=25):
        local = layers(block.graph, features[block.spots])[: block.n_owned]
        assert np.allclose(local, whole[block.owned], rtol=0, atol=1e-12)


def test_one_hop_too_few_is_not_enough():
    coords_um, graph = random_graph(1)
    features = np.random.default_rng(0).normal(size=(len(coords_um), 1))
    whole = graph.mean(graph.mean(features))
    apart = [
        np.abs(
            block.graph.mean(block.graph.mean(features[block.spots]))[: block.n_owned]
            - whole[block.owned]
        ).max()
        for block in graphs.blocks(graph, coords_um, n_hops=1, max_spots=25)
    ]
    assert max(apart) > 1e-3


@pytest.mark.parametrize("loops", [False, True])
def test_graph_attention_is_that_of_the_whole_graph(loops):
    coords_um, graph = random_graph(int(loops), n_spots=200, k=5)
    torch.manual_seed(0)
    layers = [
        GATv2Conv(6, 4, heads=2, edge_dim=1, add_self_loops=False).double(),
        GATv2Conv(8, 3, heads=1, edge_dim=1, add_self_loops=False).double(),
    ]
    graph = graph.weighted_by_distance(coords_um, 80.0)
    features = torch.randn(200, 6, dtype=torch.float64)

    def run(graph, x):
        edge_index = torch.from_numpy(graph.edge_index)
        weights = torch.from_numpy(graph.weights)[:, None]
        for layer in layers:
            x = layer(x, edge_index, weights).tanh()
        return x

    with torch.no_grad():
        whole = run(graph, features)
        for block in graphs.blocks(graph, coords_um, n_hops=2, max_spots=40):
            local = run(block.graph, features[block.spots])[: block.n_owned]
            assert torch.allclose(local, whole[block.owned], rtol=0, atol=1e-10)


def test_an_edge_that_stands_twice_stays_twice():
    graph = graphs.SpotGraph(np.array([[1, 1, 0], [0, 0, 1]]), 2)
    first, second = graphs.blocks(graph, ROW_UM[:2], n_hops=1, max_spots=1)
    assert sorted(first.graph.edge_index.T.tolist()) == [[0, 1], [1, 0], [1, 0]]
    assert sorted(second.graph.edge_index.T.tolist()) == [[0, 1], [0, 1], [1, 0]]


def test_a_graph_without_edges_has_no_halo():
    graph = graphs.radius(ROW_UM, 10.0, self_loops=False)
    found = list(graphs.blocks(graph, ROW_UM, n_hops=2, max_spots=1))
    assert [block.spots.tolist() for block in found] == [[0], [1], [2], [3], [4]]


def test_spots_in_one_place_can_be_halved():
    together = np.zeros((5, 2))
    graph = graphs.radius(together, 1.0, self_loops=False)
    found = list(graphs.blocks(graph, together, n_hops=1, max_spots=2))
    assert sorted(len(block.owned) for block in found) == [1, 2, 2]
    assert all(len(block.spots) == 5 for block in found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_hops": -1, "max_spots": 2}, "n_hops is -1, expected 0 or more"),
        ({"n_hops": 1, "max_spots": 0}, "max_spots is 0, expected 1 or more"),
    ],
)
def test_numbers_that_are_too_small_are_refused_at_once(options, message):
    graph = graphs.radius(ROW_UM, 250.0, self_loops=False)
    with pytest.raises(ValueError, match=message):
        graphs.blocks(graph, ROW_UM, **options)


def test_centres_of_another_section_are_refused_at_once():
    graph = graphs.radius(ROW_UM, 250.0, self_loops=False)
    with pytest.raises(ValueError, match="coords_um has 4 rows, but the graph has 5"):
        graphs.blocks(graph, ROW_UM[:4], n_hops=1, max_spots=2)
    with pytest.raises(ValueError, match="rows of coords_um are not finite"):
        graphs.blocks(graph, ROW_UM * np.nan, n_hops=1, max_spots=2)


@pytest.mark.real_data
def test_means_of_her2st_counts_block_by_block():
    section = her2st("B4", image=False)
    graph = graphs.grid(section.coords_um, 8, self_loops=True)
    counts = np.log1p(section.counts(list(section.adata.var_names[:20])))
    whole = graph.mean(graph.mean(counts))
    for block in graphs.blocks(graph, section.coords_um, n_hops=2, max_spots=50):
        local = block.graph.mean(block.graph.mean(counts[block.spots]))
        assert np.allclose(local[: block.n_owned], whole[block.owned], rtol=1e-12)


@given(seed=st.integers(0, 100), n_hops=st.integers(0, 3))
def test_a_block_around_spots_is_all_that_they_see(seed, n_hops):
    _, graph = random_graph(seed)
    owned = np.random.default_rng(seed).permutation(graph.n_spots)[:7]
    block = graphs.Block.around(graph, owned, n_hops)
    steps = steps_to(graph)[owned].min(axis=0)
    assert block.owned.tolist() == sorted(owned)
    assert (
        sorted(block.halo) == np.flatnonzero((steps > 0) & (steps <= n_hops)).tolist()
    )


@pytest.mark.parametrize(
    ("owned", "n_hops", "message"),
    [
        ([0], -1, "n_hops is -1, expected 0 or more"),
        ([1, 1], 0, "owned has 2 rows, 1 of them different, expected each spot once"),
        ([4, 5], 0, "owned has rows 4 to 5, expected 0 to 4: the graph has 5 spots"),
        ([-1], 0, "owned has rows -1 to -1, expected 0 to 4"),
    ],
)
def test_blocks_that_cannot_be(owned, n_hops, message):
    graph = graphs.knn(ROW_UM, 1, self_loops=False)
    with pytest.raises(ValueError, match=message):
        graphs.Block.around(graph, np.array(owned), n_hops)
