"""Graphs of spots by distance, and weights: by hand, against brute force, laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree
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


@pytest.mark.parametrize(
    "edge_index", [np.zeros((3, 2), int), np.zeros(2, int)], ids=["three rows", "flat"]
)
def test_edges_that_are_not_pairs_are_refused(edge_index, unchecked):
    with pytest.raises(
        ValueError, match=r"edge_index has shape .* expected \(2, edges"
    ):
        graphs.SpotGraph(edge_index, n_spots=3)


def test_a_graph_without_spots_is_refused():
    with pytest.raises(ValueError, match="n_spots is 0, expected at least 1"):
        graphs.SpotGraph(np.empty((2, 0), int), n_spots=0)


@pytest.mark.parametrize("shape", [(0, 2), (4, 3), (4,)])
@pytest.mark.parametrize(
    "build",
    [
        lambda coords_um: graphs.radius(coords_um, 100.0, self_loops=True),
        lambda coords_um: graphs.knn(coords_um, 2, self_loops=True),
        lambda coords_um: graphs.grid(coords_um, 4, self_loops=True),
        lambda coords_um: graphs.delaunay(coords_um, 100.0, self_loops=True),
        lambda coords_um: graphs.ScaleGraph.build(coords_um, self_loops=True),
    ],
    ids=["radius", "knn", "grid", "delaunay", "scales"],
)
def test_coordinates_that_are_not_pairs_are_refused(build, shape, unchecked):
    with pytest.raises(ValueError, match=r"coords_um has shape .* expected a row"):
        build(np.zeros(shape))


@pytest.mark.parametrize("loops", [False, True])
def test_a_single_spot_has_at_most_itself(loops):
    alone = np.array([[5.0, 7.0]])
    for graph in (
        graphs.radius(alone, 100.0, self_loops=loops),
        graphs.knn(alone, 3, self_loops=loops),
        graphs.grid(alone, 6, self_loops=loops),
        graphs.delaunay(alone, 100.0, self_loops=loops),
    ):
        assert graph.edge_index.T.tolist() == [[0, 0]] * loops
        assert np.isnan(graph.mean(np.ones((1, 1)))[0, 0]) == (not loops)


def test_two_spots_in_one_place_are_neighbours_at_distance_0():
    coords_um = np.array([[0.0, 0.0], [0.0, 0.0], [90.0, 0.0]])
    for graph in (
        graphs.radius(coords_um, 50.0, self_loops=False),
        graphs.knn(coords_um[:2], 1, self_loops=False),
        graphs.delaunay(coords_um, 50.0, self_loops=False),
    ):
        assert graph.edge_index.T.tolist() == [[1, 0], [0, 1]]
        assert graph.lengths_um(coords_um[: graph.n_spots]).tolist() == [0.0, 0.0]


class TestKnn:
    """Each spot's nearest others."""

    def test_four_spots_by_hand(self):
        edges = graphs.knn(CORNER_UM, 1, self_loops=False).edge_index.T.tolist()
        assert edges == [[2, 0], [0, 1], [0, 2], [1, 3]]  # 0 ties; 2 has the smaller x

    def test_self_loops_come_on_top(self):
        graph = graphs.knn(CORNER_UM, 2, self_loops=True)
        assert graph.n_neighbours.tolist() == [3] * 4
        assert [[i, i] in graph.edge_index.T.tolist() for i in range(4)] == [True] * 4

    def test_fewer_spots_than_neighbours_are_all_joined(self):
        graph = graphs.knn(CORNER_UM, 9, self_loops=False)
        assert graph.edge_index.T.tolist() == [
            [i, j] for j in range(4) for i in range(4) if i != j
        ]

    # A coarse lattice of few places: nearly all distances tie, many places repeat.
    @given(
        places=st.lists(
            st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=40
        ),
        k=st.integers(1, 9),
    )
    def test_ties_and_repeats_follow_the_written_rule(self, places, k):
        coords_um = np.array(places, float)
        graph = graphs.knn(coords_um, k, self_loops=False)
        for i, (x, y) in enumerate(places):
            rank = [
                ((u - x) ** 2 + (v - y) ** 2, u, v, j)
                for j, (u, v) in enumerate(places)
                if j != i
            ]
            expected = sorted(j for *_, j in sorted(rank)[:k])
            found = graph.edge_index[0, graph.edge_index[1] == i]
            assert found.tolist() == expected

    def test_ties_among_more_spots_than_are_looked_at_together(self, monkeypatch):
        y, x = np.divmod(np.arange(100.0), 10)
        coords_um = np.column_stack([x, y])
        whole = graphs.knn(coords_um, 4, self_loops=False)
        monkeypatch.setattr("stlearnkit.graphs._near._CHUNK", 7)
        again = graphs.knn(coords_um, 4, self_loops=False)
        assert np.array_equal(whole.edge_index, again.edge_index)

    def test_the_order_of_spots_plays_no_part(self):
        # A lattice in parts of a pixel far from the origin: rounding differs by place.
        y, x = np.divmod(np.arange(900.0), 30)
        coords_um = 33.3 * np.column_stack([x, y]) + 12_345.6
        order = np.random.default_rng(0).permutation(900)
        before = dense(graphs.knn(coords_um, 6, self_loops=False))
        after = dense(graphs.knn(coords_um[order], 6, self_loops=False))
        assert np.array_equal(after, before[np.ix_(order, order)])
        assert np.array_equal(before[435], before[404].take(np.arange(900) - 31))

    def test_distances_that_differ_by_rounding_tie(self):
        coords_um = np.array([[0.3, 0.0], [0.0, 0.0], [np.nextafter(0.6, 0), 0.0]])
        assert coords_um[2, 0] - 0.3 < 0.3  # nearer than spot 1, in the 16th digit
        assert graphs.knn(coords_um, 1, self_loops=False).edge_index[0, 0] == 1

    @given(seed=st.integers(0, 10_000), k=st.integers(1, 45))
    def test_it_is_scipys_query(self, seed, k):
        coords_um, _ = random_spots(seed)
        n_others = min(k, len(coords_um) - 1)
        _, oracle = cKDTree(coords_um).query(coords_um, k=n_others + 1)
        found = graphs.knn(coords_um, k, self_loops=False).edge_index[0]
        assert np.array_equal(
            found.reshape(-1, n_others), np.sort(oracle[:, 1:], axis=1)
        )

    @pytest.mark.parametrize("k", [0, -2])
    def test_less_than_one_neighbour_is_refused(self, k):
        with pytest.raises(ValueError, match=f"k is {k}, expected 1 or more"):
            graphs.knn(CORNER_UM, k, self_loops=True)

    def test_a_centre_that_is_not_finite_is_refused(self):
        with pytest.raises(ValueError, match=r"1 of 2 rows of coords_um .* row 1"):
            graphs.knn(np.array([[0.0, 1.0], [np.inf, 0.0]]), 1, self_loops=True)


BUILDERS = {
    "radius": lambda coords_um: graphs.radius(coords_um, 200.0, self_loops=True),
    "knn": lambda coords_um: graphs.knn(coords_um, 5, self_loops=False),
    "delaunay": lambda coords_um: graphs.delaunay(coords_um, 300.0, self_loops=False),
}


def dense(graph):
    joined = np.zeros((graph.n_spots, graph.n_spots), bool)
    joined[graph.edge_index[1], graph.edge_index[0]] = True
    assert joined.sum() == graph.n_edges  # no edge twice
    return joined


@pytest.mark.parametrize("name", BUILDERS)
@given(seed=st.integers(0, 10_000))
def test_permuting_the_spots_permutes_the_graph(name, seed):
    coords_um, _ = random_spots(seed)
    order = np.random.default_rng(seed).permutation(len(coords_um))
    before, after = BUILDERS[name](coords_um), BUILDERS[name](coords_um[order])
    assert np.array_equal(dense(after), dense(before)[np.ix_(order, order)])


@pytest.mark.parametrize("name", BUILDERS)
@given(seed=st.integers(0, 10_000), angle=st.floats(0, 6.3), mirrored=st.booleans())
def test_moving_turning_and_mirroring_change_nothing(name, seed, angle, mirrored):
    coords_um, _ = random_spots(seed)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    flip = np.diag([1.0, -1.0 if mirrored else 1.0])
    moved = coords_um @ turn @ flip + [-3000.0, 700.0]
    assert np.array_equal(
        dense(BUILDERS[name](moved)), dense(BUILDERS[name](coords_um))
    )


@pytest.mark.parametrize("name", BUILDERS)
def test_edges_are_sorted_by_target_then_source(name):
    edges = BUILDERS[name](random_spots(seed=3)[0]).edge_index
    assert np.array_equal(edges, edges[:, np.lexsort(edges)])
    assert edges.dtype == np.int64


class TestDirections:
    """Adding and dropping edges that go one way only."""

    @given(seed=st.integers(0, 10_000), k=st.integers(1, 6))
    def test_both_are_what_they_are_for_matrices(self, seed, k):
        graph = graphs.knn(random_spots(seed)[0], k, self_loops=bool(seed % 2))
        joined = dense(graph)
        assert np.array_equal(dense(graph.symmetric()), joined | joined.T)
        assert np.array_equal(dense(graph.mutual()), joined & joined.T)
        edges = graph.symmetric().edge_index
        assert np.array_equal(edges, edges[:, np.lexsort(edges)])

    def test_weights_go_with_their_edges(self):
        edges = np.array([[1, 0, 1, 2], [0, 1, 2, 2]])
        graph = graphs.SpotGraph(edges, 3, np.array([0.1, 0.2, 0.3, 0.4]))
        both = graph.symmetric()
        assert both.edge_index.T.tolist() == [[1, 0], [0, 1], [2, 1], [1, 2], [2, 2]]
        assert both.weights.tolist() == [0.1, 0.2, 0.3, 0.3, 0.4]
        mutual = graph.mutual()
        assert mutual.edge_index.T.tolist() == [[1, 0], [0, 1], [2, 2]]
        assert mutual.weights.tolist() == [0.1, 0.2, 0.4]

    def test_a_graph_without_edges_has_none_either_way(self):
        graph = graphs.radius(CORNER_UM, 10.0, self_loops=False)
        assert graph.symmetric().n_edges == graph.mutual().n_edges == 0


class TestWeights:
    """How much each neighbour counts."""

    EDGES = np.array([[1, 2, 0], [0, 0, 1]])

    def test_the_weighted_mean_by_hand(self):
        graph = graphs.SpotGraph(self.EDGES, 3, np.array([1.0, 3.0, 0.0]))
        mean = graph.mean(np.array([[5.0, 0.0], [1.0, 2.0], [9.0, 6.0]]))
        assert mean[0].tolist() == [7.0, 5.0]  # (1 * 1 + 3 * 9) / 4
        assert np.isnan(mean[1:]).all()  # nothing but a weight of 0; no neighbour

    @given(seed=st.integers(0, 10_000), factor=st.floats(0.01, 100))
    def test_the_weighted_mean_is_the_dense_formula_at_any_scale(self, seed, factor):
        coords_um, features = random_spots(seed)
        graph = graphs.knn(coords_um, 4, self_loops=True)
        graph = graph.weighted_by_distance(coords_um, 150.0)
        matrix = np.zeros((len(coords_um), len(coords_um)))
        matrix[graph.edge_index[1], graph.edge_index[0]] = graph.weights * factor
        scaled = graphs.SpotGraph(
            graph.edge_index, graph.n_spots, graph.weights * factor
        )
        expected = matrix @ features / matrix.sum(axis=1, keepdims=True)
        assert np.allclose(scaled.mean(features), expected, rtol=0, atol=1e-12)

    def test_equal_weights_are_no_weights(self):
        coords_um, features = random_spots(seed=5)
        graph = graphs.radius(coords_um, 250.0, self_loops=True)
        ones = graphs.SpotGraph(graph.edge_index, graph.n_spots, np.ones(graph.n_edges))
        assert np.array_equal(graph.mean(features), ones.mean(features))

    def test_single_precision_stays(self):
        graph = graphs.SpotGraph(self.EDGES, 3, np.array([1.0, 3.0, 0.0]))
        assert graph.mean(np.ones((3, 1), np.float32)).dtype == np.float32

    def test_a_nan_spoils_only_who_looks_at_it(self):
        features = np.array([[1.0], [np.nan], [3.0]])
        mean = graphs.SpotGraph(np.array([[1, 2], [0, 1]]), 3).mean(features)
        assert np.isnan(mean).ravel().tolist() == [True, False, True]
        assert mean[1, 0] == 3.0

    def test_weights_by_distance_by_hand(self):
        graph = graphs.radius(CORNER_UM, 150.0, self_loops=True)
        weights = graph.weighted_by_distance(CORNER_UM, 100.0).weights
        near, across = np.exp(-0.5), np.exp(-1.0)  # 100 and 141 µm
        rows = [[1, near, near], [near, 1, across], [near, across, 1], [1]]
        assert np.allclose(weights, np.concatenate(rows), rtol=1e-12)

    def test_a_wide_width_weighs_all_alike(self):
        graph = graphs.radius(CORNER_UM, 500.0, self_loops=True)
        weights = graph.weighted_by_distance(CORNER_UM, 1e9).weights
        assert np.allclose(weights, 1, rtol=0, atol=1e-9)

    def test_weights_by_similarity_are_cosines_cut_at_0(self):
        coords_um, features = random_spots(seed=2)
        graph = graphs.knn(coords_um, 6, self_loops=True)
        weights = graph.weighted_by_similarity(features).weights
        cosine = 1 - cdist(features, features, "cosine")
        expected = np.maximum(cosine, 0)[graph.edge_index[1], graph.edge_index[0]]
        assert (expected == 0).any()
        assert np.allclose(weights, expected, rtol=0, atol=1e-12)

    @pytest.mark.parametrize("scale", [1e-300, 1e300])
    def test_similarity_does_not_depend_on_the_size_of_features(self, scale):
        features = scale * np.array([[1.0, 0.0], [3.0, 4.0], [-1.0, 0.0]])
        graph = graphs.SpotGraph(self.EDGES, 3).weighted_by_similarity(features)
        assert np.allclose(graph.weights, [0.6, 0.0, 0.6], rtol=1e-12)

    def test_new_weights_replace_the_old(self):
        graph = graphs.SpotGraph(self.EDGES, 3, np.array([9.0, 9.0, 9.0]))
        new = graph.weighted_by_similarity(np.ones((3, 2)))
        assert np.allclose(new.weights, 1)
        assert graph.weights.tolist() == [9.0, 9.0, 9.0]
        assert np.array_equal(new.edge_index, graph.edge_index)

    @pytest.mark.parametrize("width_um", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_width_that_is_not_positive_is_refused(self, width_um):
        graph = graphs.SpotGraph(self.EDGES, 4)
        with pytest.raises(ValueError, match=f"width_um is {width_um}, expected a"):
            graph.weighted_by_distance(CORNER_UM, width_um)

    def test_centres_of_another_section_are_refused(self):
        graph = graphs.SpotGraph(self.EDGES, 3)
        with pytest.raises(
            ValueError, match="coords_um has 4 rows, but the graph has 3"
        ):
            graph.weighted_by_distance(CORNER_UM, 100.0)

    def test_features_of_another_section_are_refused(self):
        graph = graphs.SpotGraph(self.EDGES, 3)
        with pytest.raises(
            ValueError, match="features has 2 rows, but the graph has 3"
        ):
            graph.weighted_by_similarity(np.ones((2, 2)))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
    def test_features_without_a_direction_are_refused(self, bad):
        features = np.ones((3, 2))
        features[1] = [0.0, bad]
        graph = graphs.SpotGraph(self.EDGES, 3)
        with pytest.raises(
            ValueError, match=r"1 of 3 rows of features .* first: row 1"
        ):
            graph.weighted_by_similarity(features)

    @pytest.mark.parametrize("bad", [-0.5, np.nan, np.inf])
    def test_weights_that_no_mean_can_take_are_refused(self, bad):
        with pytest.raises(ValueError, match=f"1 of 3 weights .* {bad} of edge 2"):
            graphs.SpotGraph(self.EDGES, 3, np.array([1.0, 0.0, bad]))

    def test_another_number_of_weights_is_refused(self, unchecked):
        with pytest.raises(
            ValueError, match=r"weights has shape \(2,\), .* the 3 edges"
        ):
            graphs.SpotGraph(self.EDGES, 3, np.ones(2))
