"""Graphs of spots: four spots by hand, the dense oracle, and the laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from stlearnkit import graphs

#  0 --- 1
#  |          3 is 300 µm away from everything
#  2
CORNER_UM = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [400.0, 0.0]])


def random_spots(seed, n_spots=40, n_features=3):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 1000, (n_spots, 2)), rng.normal(size=(n_spots, n_features))


def test_the_edges_of_four_spots_by_hand():
    graph = graphs.radius(CORNER_UM, 120.0, self_loops=False)
    assert graph.edge_index.T.tolist() == [[1, 0], [2, 0], [0, 1], [0, 2]]
    assert graph.n_neighbours.tolist() == [2, 1, 1, 0]


def test_self_loops_add_exactly_the_spot_itself():
    graph = graphs.radius(CORNER_UM, 120.0, self_loops=True)
    edges = graph.edge_index.T.tolist()
    assert edges == [
        *[[0, 0], [1, 0], [2, 0]],
        *[[0, 1], [1, 1]],
        *[[0, 2], [2, 2]],
        [3, 3],
    ]


def test_a_distance_equal_to_the_radius_counts():
    assert graphs.radius(CORNER_UM, 100.0, self_loops=False).n_neighbours.sum() == 4
    assert graphs.radius(CORNER_UM, 99.99, self_loops=False).n_neighbours.sum() == 0


def test_the_means_of_four_spots_by_hand():
    values = np.array([[1.0], [2.0], [6.0], [9.0]])
    with_self = graphs.radius(CORNER_UM, 120.0, self_loops=True).mean(values)
    assert with_self.ravel().tolist() == [3.0, 1.5, 3.5, 9.0]
    without = graphs.radius(CORNER_UM, 120.0, self_loops=False).mean(values)
    assert without[:3].ravel().tolist() == [4.0, 1.0, 1.0]


def test_a_spot_without_neighbours_has_nan():
    mean = graphs.radius(CORNER_UM, 120.0, self_loops=False).mean(np.ones((4, 2)))
    assert np.isnan(mean).tolist() == [[False] * 2] * 3 + [[True] * 2]


def test_an_edge_points_from_neighbour_to_spot():
    graph = graphs.SpotGraph(np.array([[0], [1]]), n_spots=2)
    assert graph.mean(np.array([[5.0], [7.0]]))[1] == 5.0


@given(seed=st.integers(0, 10_000), radius_um=st.floats(1, 1500), loops=st.booleans())
def test_the_mean_equals_the_dense_formula(seed, radius_um, loops):
    coords_um, features = random_spots(seed)
    near = cdist(coords_um, coords_um) <= radius_um
    np.fill_diagonal(near, loops)
    graph = graphs.radius(coords_um, radius_um, self_loops=loops)
    assert np.array_equal(graph.n_neighbours, near.sum(axis=1))
    joined = near.any(axis=1)
    dense = near[joined] @ features / near[joined].sum(axis=1, keepdims=True)
    assert np.allclose(graph.mean(features)[joined], dense, rtol=0, atol=1e-12)


@given(seed=st.integers(0, 10_000))
def test_permuting_the_spots_permutes_the_means(seed):
    coords_um, features = random_spots(seed)
    order = np.random.default_rng(seed).permutation(len(coords_um))
    mean = graphs.radius(coords_um, 200.0, self_loops=True).mean(features)
    again = graphs.radius(coords_um[order], 200.0, self_loops=True).mean(
        features[order]
    )
    assert np.allclose(again, mean[order], rtol=0, atol=1e-12)


def test_a_radius_graph_does_not_change_when_the_section_is_moved():
    coords_um, _ = random_spots(seed=1)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    edges = graphs.radius(coords_um, 200.0, self_loops=False).edge_index
    moved = graphs.radius(coords_um @ turn + 50, 200.0, self_loops=False).edge_index
    assert np.array_equal(edges, moved)


def test_float32_features_stay_float32():
    features = np.ones((4, 2), np.float32)
    mean = graphs.radius(CORNER_UM, 120.0, self_loops=True).mean(features)
    assert mean.dtype == np.float32
    assert np.array_equal(mean, features)


@pytest.mark.parametrize("radius_um", [0.0, -5.0, float("nan"), float("inf")])
def test_a_radius_that_is_not_positive_is_refused(radius_um):
    with pytest.raises(ValueError, match=f"radius_um is {radius_um}, expected a dist"):
        graphs.radius(CORNER_UM, radius_um, self_loops=True)


def test_centres_that_are_not_finite_are_refused():
    coords_um = CORNER_UM.copy()
    coords_um[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"1 of 4 rows of coords_um .* first: row 2"):
        graphs.radius(coords_um, 100.0, self_loops=True)


def test_features_of_another_section_are_refused():
    graph = graphs.radius(CORNER_UM, 120.0, self_loops=True)
    with pytest.raises(ValueError, match="features has 5 rows, but the graph has 4"):
        graph.mean(np.ones((5, 1)))


@pytest.mark.parametrize("spot", [-1, 3])
def test_edges_to_missing_spots_are_refused(spot):
    with pytest.raises(ValueError, match=f"names spot {spot}, expected 0 to 2"):
        graphs.SpotGraph(np.array([[0], [spot]]), n_spots=3)


def test_a_graph_without_spots_is_refused():
    with pytest.raises(
        ValueError, match=r"coords_um has shape \(0, 2\), expected a row"
    ):
        graphs.radius(np.empty((0, 2)), 100.0, self_loops=True)
