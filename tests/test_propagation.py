"""Label propagation: by hand, rounds against the solution, laws, and every error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stlearnkit.graphs import SpotGraph, knn, radius
from stlearnkit.models.propagation import harmonic, propagate

#  0 - 1 - 2 - 3, and 4 by itself; the ends of the row are known
ROW = SpotGraph(np.array([[1, 0, 2, 1, 3, 2], [0, 1, 1, 2, 2, 3]]), n_spots=5)
ENDS, VALUES = np.array([0, 3]), np.array([[0.0], [3.0]])


def problem(seed, n_spots=30, n_known=6):
    """Return a weighted graph of random places, in one piece or not, and labels."""
    rng = np.random.default_rng(seed)
    coords_um = rng.uniform(0, 1000, (n_spots, 2))
    graph = radius(coords_um, 220.0, self_loops=bool(seed % 2))
    graph = graph.weighted_by_distance(coords_um, 200.0)
    known = rng.permutation(n_spots)[:n_known]
    return graph, known, rng.normal(-5.5, 1, (n_known, 3))


def test_a_row_by_hand():
    found = harmonic(ROW, ENDS, VALUES)
    np.testing.assert_allclose(found.values.ravel(), [0, 1, 2, 3, 1.5])
    assert found.reached.tolist() == [True] * 4 + [False]


def test_rounds_by_hand():
    one, two = (propagate(ROW, ENDS, VALUES, n_rounds=n) for n in (1, 2))
    np.testing.assert_allclose(one.values.ravel(), [0, 0.75, 2.25, 3, 1.5])
    np.testing.assert_allclose(two.values.ravel(), [0, 1.125, 1.875, 3, 1.5])
    assert one.reached.tolist() == [True] * 4 + [False]


def test_weights_count():
    """Published bug: weights were worked out and never used."""
    weights = np.array([1.0, 3.0, 1.0, 1.0, 1.0, 3.0])
    graph = SpotGraph(ROW.edge_index, 5, weights)
    #  f1 = (3 * 0 + f2) / 4, f2 = (f1 + 1 * 3) / 2
    found = harmonic(graph, ENDS, VALUES).values.ravel()
    np.testing.assert_allclose(found[1:3], [3 / 7, 12 / 7])


def test_unknown_spots_start_at_the_mean():
    """Published bug: they started at 0, far from any logarithm of a share."""
    start = propagate(ROW, ENDS, VALUES - 5.5, n_rounds=0)
    np.testing.assert_allclose(start.values.ravel(), [-5.5, -4, -4, -2.5, -4])


def test_an_edge_of_weight_0_leads_nowhere():
    weights = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    cut = SpotGraph(ROW.edge_index, 5, weights)
    for found in (
        harmonic(cut, ENDS, VALUES),
        propagate(cut, ENDS, VALUES, n_rounds=9),
    ):
        np.testing.assert_allclose(found.values.ravel(), [0, 1.5, 1.5, 3, 1.5])
        assert found.reached.tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("seed", range(12))
def test_many_rounds_come_to_the_solution(seed):
    graph, known, values = problem(seed)
    solved = harmonic(graph, known, values)
    rounds = propagate(graph, known, values, n_rounds=5000)
    np.testing.assert_allclose(rounds.values, solved.values, atol=1e-6)
    np.testing.assert_array_equal(rounds.reached, solved.reached)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_solution_is_that_of_the_laplacian(seed):
    graph, known, values = problem(seed)
    adjacency = np.zeros((30, 30))
    adjacency[graph.edge_index[1], graph.edge_index[0]] = graph.weights
    laplacian = np.diag(adjacency.sum(axis=1)) - adjacency
    found = harmonic(graph, known, values)
    free = found.reached.copy()
    free[known] = False
    expected = np.linalg.solve(
        laplacian[np.ix_(free, free)], -laplacian[np.ix_(free, known)] @ values
    )
    np.testing.assert_allclose(found.values[free], expected, atol=1e-6)
    mean = np.tile(values.mean(axis=0), ((~found.reached).sum(), 1))
    np.testing.assert_allclose(found.values[~found.reached], mean)
    np.testing.assert_array_equal(found.values[known], values)
    assert (found.values >= values.min(axis=0) - 1e-9).all()
    assert (found.values <= values.max(axis=0) + 1e-9).all()


@pytest.mark.parametrize("seed", range(3))
def test_edges_of_one_direction_come_to_the_solution_too(seed):
    coords_um = np.random.default_rng(seed).uniform(0, 1000, (30, 2))
    graph, known = knn(coords_um, 2, self_loops=False), np.array([0, 1, 2])
    values = np.arange(3.0)[:, None]
    solved = harmonic(graph, known, values)
    rounds = propagate(graph, known, values, n_rounds=5000)
    assert not solved.reached.all()
    np.testing.assert_allclose(rounds.values, solved.values, atol=1e-6)
    np.testing.assert_array_equal(rounds.reached, solved.reached)


def test_the_order_of_the_known_does_not_matter():
    graph, known, values = problem(4)
    turned = harmonic(graph, known[::-1], values[::-1])
    np.testing.assert_allclose(turned.values, harmonic(graph, known, values).values)


def test_all_known_stay_as_they_are():
    values = np.arange(5.0)[:, None]
    found = harmonic(ROW, np.arange(5), values)
    np.testing.assert_array_equal(found.values, values)
    assert found.reached.all()


@pytest.mark.parametrize(
    ("known", "values", "message"),
    [
        ([], [], "known is empty: nothing can be propagated"),
        ([0, 5], [[1.0], [2.0]], "known has rows 0 to 5, expected 0 to 4: the graph"),
        ([-1], [[1.0]], "known has rows -1 to -1, expected 0 to 4"),
        ([2, 2], [[1.0], [2.0]], "known has 2 rows, 1 of them different, expected eac"),
        ([2], [[1.0], [2.0]], "values has 2 rows, known has 1: give one row"),
        ([2, 3], [[np.nan], [2.0]], "values has 1 rows that are not finite"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(known, values, message):
    known, values = np.array(known, int), np.reshape(values, (len(values), 1))
    with pytest.raises(ValueError, match=message):
        harmonic(ROW, known, values)
    with pytest.raises(ValueError, match=message):
        propagate(ROW, known, values, n_rounds=1)


def test_a_negative_number_of_rounds_is_refused():
    with pytest.raises(ValueError, match="n_rounds is -1, expected 0 or more"):
        propagate(ROW, ENDS, VALUES, n_rounds=-1)
