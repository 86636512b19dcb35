"""Graphs on a lattice and of triangles: by hand, scipy, squidpy, real arrays."""

import math

import numpy as np
import pytest
import squidpy as sq
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from stlearnkit import graphs
from stlearnkit.datasets import her2st, mob2k

#  0 - 1 - 2
#  |       |    the middle place is empty
#  3       4
RING_UM = np.array([[0, 0], [200, 0], [400, 0], [0, 200], [400, 200]], float)


def dense(graph):
    joined = np.zeros((graph.n_spots, graph.n_spots), bool)
    joined[graph.edge_index[1], graph.edge_index[0]] = True
    assert joined.sum() == graph.n_edges  # no edge twice
    return joined


def lattice(n_neighbours, n_columns=12, n_rows=10, pitch_um=200.0):
    """Make an array and, from its numbers, who is whose neighbour."""
    row, column = np.divmod(np.arange(n_columns * n_rows), n_columns)
    if n_neighbours == 6:
        places = column + row % 2 / 2 + 1j * row * math.sqrt(3) / 2
    else:
        places = column + 1j * row
    apart = np.abs(places[:, None] - places)
    reach = {4: 1.01, 6: 1.01, 8: 1.42}[n_neighbours]
    return places * pitch_um, (apart > 0) & (apart < reach)


def as_coords(places):
    return np.column_stack([places.real, places.imag])


def in_squidpy(neighbours, coords_um, **options):
    adata = AnnData(np.zeros((len(coords_um), 1)), obsm={"spatial": coords_um})
    neighbours(adata, **options)
    return adata.obsp["spatial_connectivities"].toarray() > 0


class TestGrid:
    """Neighbours on the array's own lattice."""

    def test_a_gap_stays_a_gap(self):
        edges = graphs.grid(RING_UM, 4, self_loops=False).edge_index.T.tolist()
        assert edges == [
            *[[1, 0], [3, 0]],
            *[[0, 1], [2, 1]],
            *[[1, 2], [4, 2]],
            [0, 3],
            [2, 4],
        ]

    def test_diagonals_are_four_more(self):
        graph = graphs.grid(RING_UM, 8, self_loops=True)
        assert graph.edge_index[0, graph.edge_index[1] == 1].tolist() == [0, 1, 2, 3, 4]
        assert graph.n_neighbours.tolist() == [3, 5, 3, 3, 3]

    @pytest.mark.parametrize("n_neighbours", [4, 6, 8])
    @given(
        seed=st.integers(0, 10_000),
        angle=st.floats(0, 6.3),
        jitter=st.floats(0, 0.2),
        pitch_um=st.floats(1, 1000),
    )
    def test_turned_jittered_arrays_with_holes(
        self, n_neighbours, seed, angle, jitter, pitch_um
    ):
        rng = np.random.default_rng(seed)
        places, joined = lattice(n_neighbours, pitch_um=pitch_um)
        kept = np.flatnonzero(rng.random(len(places)) < 0.8)
        shift = jitter * pitch_um * np.sqrt(rng.random(len(kept)))
        shifted = places[kept] + shift * np.exp(2j * np.pi * rng.random(len(kept)))
        coords_um = as_coords(shifted * np.exp(1j * angle) + 5000 - 300j)
        graph = graphs.grid(coords_um, n_neighbours, self_loops=False)
        assert np.array_equal(dense(graph), joined[np.ix_(kept, kept)])

    @pytest.mark.parametrize("n_neighbours", [4, 6, 8])
    def test_permuting_the_spots_permutes_the_graph(self, n_neighbours):
        places, _ = lattice(n_neighbours)
        order = np.random.default_rng(0).permutation(len(places))
        before = graphs.grid(as_coords(places), n_neighbours, self_loops=True)
        after = graphs.grid(as_coords(places[order]), n_neighbours, self_loops=True)
        assert np.array_equal(dense(after), dense(before)[np.ix_(order, order)])

    def test_more_spots_than_the_lattice_is_found_from(self):
        places, joined = lattice(8, n_columns=40, n_rows=35)
        rng = np.random.default_rng(0)
        jitter = rng.uniform(-10, 10, 1400) + 1j * rng.uniform(-10, 10, 1400)
        coords_um = as_coords((places + jitter) * np.exp(0.3j))
        graph = graphs.grid(coords_um, 8, self_loops=False)
        assert np.array_equal(dense(graph), joined)

    def test_a_pitch_that_is_given_counts(self):
        rare = np.array([[0, 0], [600, 0], [1200, 0], [1800, 0], [2000, 0]], float)
        graph = graphs.grid(rare, 4, pitch_um=200.0, self_loops=False)
        assert graph.edge_index.T.tolist() == [[4, 3], [3, 4]]
        graph = graphs.grid(rare, 4, self_loops=False)  # from these it seems to be 600
        assert graph.n_neighbours.tolist() == [1, 2, 2, 1, 0]

    def test_the_pitch_is_found_from_a_guess_between_two_distances(self):
        # Pairs 200 µm apart; the first guess is 400, between 200 and 600.
        pairs = np.array([[0, 0], [600, 0], [1200, 0], [1400, 0]], float)
        graph = graphs.grid(pairs, 4, self_loops=False)
        assert graph.edge_index.T.tolist() == [[3, 2], [2, 3]]

    def test_no_spot_a_pitch_away_means_no_edge(self):
        graph = graphs.grid(RING_UM, 4, pitch_um=50.0, self_loops=False)
        assert graph.n_edges == 0
        assert graphs.grid(RING_UM, 4, pitch_um=50.0, self_loops=True).n_edges == 5

    def test_of_two_spots_that_claim_one_place_the_nearer_is_taken(self):
        places, joined = lattice(4, n_columns=5, n_rows=5)
        intruder = places[12] + 60  # 60 µm beside the middle spot
        graph = graphs.grid(as_coords(np.append(places, intruder)), 4, self_loops=False)
        found = dense(graph)
        assert np.array_equal(found[:25, :25], joined)
        assert not found[25].any()
        assert graph.n_neighbours.max() == 4

    def test_two_spots_are_each_others_neighbours(self):
        for n_neighbours in (4, 6, 8):
            graph = graphs.grid(RING_UM[:2], n_neighbours, self_loops=False)
            assert graph.edge_index.T.tolist() == [[1, 0], [0, 1]]

    @pytest.mark.parametrize("n_neighbours", [4, 6])
    def test_squidpy_finds_the_same(self, n_neighbours):
        places, _ = lattice(n_neighbours)
        kept = places[np.random.default_rng(1).random(len(places)) < 0.9]
        graph = graphs.grid(as_coords(kept), n_neighbours, self_loops=False)
        theirs = in_squidpy(
            sq.gr.spatial_neighbors_grid, as_coords(kept), n_neighs=n_neighbours
        )
        assert np.array_equal(dense(graph), theirs)

    @pytest.mark.parametrize("n_neighbours", [0, 5, 7])
    def test_other_numbers_of_neighbours_are_refused(self, n_neighbours):
        with pytest.raises(ValueError, match=f"n_neighbours is {n_neighbours}, expec"):
            graphs.grid(RING_UM, n_neighbours, self_loops=False)

    @pytest.mark.parametrize("pitch_um", [0.0, -200.0, math.nan, math.inf])
    def test_a_pitch_that_is_not_positive_is_refused(self, pitch_um):
        with pytest.raises(
            ValueError, match=f"pitch_um is {pitch_um}, expected a dist"
        ):
            graphs.grid(RING_UM, 4, pitch_um=pitch_um, self_loops=False)

    def test_two_spots_in_one_place_are_refused(self):
        with pytest.raises(ValueError, match=r"2 of 6 spots share .* first: row 3"):
            graphs.grid(np.vstack([RING_UM, RING_UM[3]]), 4, self_loops=False)

    @pytest.mark.parametrize(("made", "asked"), [(4, 6), (6, 4), (6, 8)])
    def test_the_other_kind_of_lattice_is_refused(self, made, asked):
        kind = "hexagonal" if asked == 6 else "square"
        with pytest.raises(
            ValueError, match=f"{asked}, but .* on a {kind} lattice: the"
        ):
            graphs.grid(as_coords(lattice(made)[0]), asked, self_loops=False)

    def test_scattered_cells_are_refused(self):
        cells_um = np.random.default_rng(0).uniform(0, 1000, (500, 2))
        with pytest.raises(ValueError, match=r"order is 0\.0., expected 0\.25 to 1"):
            graphs.grid(cells_um, 4, self_loops=False)


class TestDelaunay:
    """Neighbours by triangles."""

    def test_by_hand_a_square_with_a_spot_in_the_middle(self):
        coords_um = np.array(
            [[0, 0], [200, 0], [200, 200], [0, 200], [110, 100]], float
        )
        graph = graphs.delaunay(coords_um, math.inf, self_loops=False)
        assert graph.n_neighbours.tolist() == [3, 3, 3, 3, 4]
        assert not dense(graph)[0, 2]
        assert not dense(graph)[1, 3]

    @given(seed=st.integers(0, 10_000), longest_um=st.floats(10, 2000))
    def test_it_is_scipys_without_long_edges(self, seed, longest_um):
        coords_um = np.random.default_rng(seed).uniform(0, 1000, (30, 2))
        oracle = np.zeros((30, 30), bool)
        for a, b, c in Delaunay(coords_um).simplices:
            for one, other in ((a, b), (b, c), (c, a)):
                short = math.dist(coords_um[one], coords_um[other]) <= longest_um
                oracle[one, other] = oracle[other, one] = short
        graph = graphs.delaunay(coords_um, longest_um, self_loops=False)
        assert np.array_equal(dense(graph), oracle)

    def test_squidpy_finds_the_same(self):
        coords_um = np.random.default_rng(4).uniform(0, 1000, (80, 2))
        find = sq.gr.spatial_neighbors_delaunay
        graph = graphs.delaunay(coords_um, math.inf, self_loops=False)
        assert np.array_equal(dense(graph), in_squidpy(find, coords_um))
        graph = graphs.delaunay(coords_um, 150.0, self_loops=False)
        assert np.array_equal(dense(graph), in_squidpy(find, coords_um, radius=150.0))

    def test_far_borders_are_not_joined(self):
        angle = np.linspace(0, np.pi, 30)  # a half-moon; its tips are 2 mm apart
        coords_um = 1000 * np.column_stack([np.cos(angle), np.sin(angle)])
        loose = graphs.delaunay(coords_um, math.inf, self_loops=False)
        assert loose.lengths_um(coords_um).max() == pytest.approx(2000)
        tight = graphs.delaunay(coords_um, 110.0, self_loops=False)
        assert tight.n_neighbours.tolist() == [1] + [2] * 28 + [1]

    @pytest.mark.parametrize("direction", [(1, 0), (0, 1), (3, 4), (1, -1)])
    def test_spots_on_a_line_are_joined_along_it(self, direction):
        steps = np.array([5.0, 0.0, 2.0, 9.0])
        coords_um = 7000 + steps[:, None] * np.array(direction, float)
        graph = graphs.delaunay(coords_um, math.inf, self_loops=False)
        expected = {(1, 2), (2, 0), (0, 3)}  # in the order of steps: 1, 2, 0, 3
        found = {(int(a), int(b)) for a, b in graph.edge_index.T}
        assert found == expected | {(b, a) for a, b in expected}

    def test_a_line_that_is_straight_but_for_rounding(self):
        steps = np.linspace(0, 1000, 50)
        coords_um = np.column_stack([steps * np.cos(1.0), steps * np.sin(1.0)])
        graph = graphs.delaunay(coords_um, 30.0, self_loops=False)
        assert graph.n_neighbours.tolist() == [1] + [2] * 48 + [1]

    @given(seed=st.integers(0, 10_000))
    def test_spots_in_one_place_share_its_neighbours(self, seed):
        rng = np.random.default_rng(seed)
        places = rng.uniform(0, 1000, (12, 2))
        copies = rng.integers(0, 12, 30)
        alone = dense(
            graphs.delaunay(places[np.unique(copies)], 600.0, self_loops=True)
        )
        place_of = np.unique(copies, return_inverse=True)[1]
        expected = alone[np.ix_(place_of, place_of)]
        graph = graphs.delaunay(places[copies], 600.0, self_loops=True)
        assert np.array_equal(dense(graph), expected)

    def test_many_spots_in_two_places(self):
        coords_um = np.array([[0.0, 0.0], [50.0, 0.0]])[[0, 1, 0, 1]]
        graph = graphs.delaunay(coords_um, 100.0, self_loops=False)
        assert graph.n_neighbours.tolist() == [3] * 4

    @pytest.mark.parametrize("longest_um", [0.0, -1.0, math.nan])
    def test_a_longest_edge_that_is_not_positive_is_refused(self, longest_um):
        with pytest.raises(ValueError, match=f"longest_um is {longest_um}, expected a"):
            graphs.delaunay(RING_UM, longest_um, self_loops=False)


@pytest.mark.real_data
class TestRealArrays:
    """Arrays as they were printed, whose own numbers say who is next to whom."""

    @pytest.mark.parametrize("name", ["B4", "C2", "C3", "C4", "C5", "C6"])
    @pytest.mark.parametrize("n_neighbours", [4, 8])
    def test_her2st_neighbours_are_those_of_the_array(self, name, n_neighbours):
        section = her2st(name, image=False)
        places = section.adata.obs[["array_col", "array_row"]].to_numpy()
        steps = np.abs(places[:, None] - places)
        far = steps.sum(axis=2) if n_neighbours == 4 else steps.max(axis=2)
        graph = graphs.grid(section.coords_um, n_neighbours, self_loops=False)
        assert np.array_equal(dense(graph), far == 1)

    @pytest.mark.parametrize("name", ["MOB1", "MOB2", "MOB3"])
    def test_a_staggered_array_is_a_square_lattice_on_its_corner(self, name):
        section = mob2k(name)
        places = section.adata.obs[["array_col", "array_row"]].to_numpy()
        steps = np.abs(places[:, None] - places)
        graph = graphs.grid(section.coords_um, 4, self_loops=False)
        assert np.array_equal(dense(graph), (steps == 1).all(axis=2))

    def test_her2st_triangles_hold_the_array(self):
        section = her2st("C2", image=False)
        square = dense(graphs.grid(section.coords_um, 4, self_loops=False))
        around = dense(graphs.grid(section.coords_um, 8, self_loops=False))
        triangles = dense(graphs.delaunay(section.coords_um, 300.0, self_loops=False))
        assert not (square & ~triangles).any()
        assert not (triangles & ~around).any()

    def test_her2st_nearest_neighbours(self):
        section = her2st("C3", image=False)
        square = dense(graphs.grid(section.coords_um, 4, self_loops=False))
        nearest = dense(graphs.knn(section.coords_um, 4, self_loops=False))
        inside = square.sum(axis=1) == 4
        assert inside.sum() > 100
        same = (square[inside] == nearest[inside]).all(axis=1)
        assert same.mean() > 0.98  # not all: spots are printed up to 50 µm askew
