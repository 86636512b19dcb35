"""Spots and tiles: by hand, against brute force, and what ASIGN's code got wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from stlearnkit.datasets import her2st
from stlearnkit.graphs import ScaleGraph

SIDES_UM = {"region": 100.0, "district": 200.0}

#     0   100  200  300  400      spots 0 and 1 in one region, 2 in the next one,
#   0 +----+----+----+----+      3 two districts further to the right
#     | 01 | 2  |    |  3 |
# 100 +----+----+----+----+
#     |    |  4 |    |    |
# 200 +----+----+----+----+
SPOTS_UM = np.array([[20, 50], [60, 50], [150, 50], [350, 50], [160, 150]], float)


def scattered(seed, n_spots=60):
    return np.random.default_rng(seed).uniform(-500, 1500, (n_spots, 2))


def test_five_spots_by_hand():
    graph = ScaleGraph.build(SPOTS_UM, SIDES_UM, n_nearest=2, self_loops=False)
    region, district = graph.scales
    assert (region.name, region.side_um, region.n_tiles) == ("region", 100.0, 4)
    assert region.centres_um.tolist() == [[50, 50], [150, 50], [350, 50], [150, 150]]
    assert region.parents.tolist() == [0, 0, 1, 2, 3]
    assert region.above.tolist() == [0, 0, 1, 0]
    assert region.n_members.tolist() == [2, 1, 1, 1]
    assert region.members(0).tolist() == [0, 1]
    assert region.nearest.tolist() == [[0, 1], [0, 1], [1, 0], [2, 1], [3, 1]]
    edges = region.neighbours.edge_index.T.tolist()
    assert edges == [[1, 0], [3, 0], [0, 1], [3, 1], [0, 3], [1, 3]]
    assert district.centres_um.tolist() == [[100, 100], [300, 100]]
    assert district.parents.tolist() == [0, 0, 0, 1, 0]
    assert district.above is None
    assert district.nearest.tolist() == [[0, 1], [0, 1], [0, 1], [1, 0], [0, 1]]
    assert district.neighbours.edge_index.T.tolist() == [[1, 0], [0, 1]]


def test_the_mean_of_the_spots_of_each_tile_by_hand():
    graph = ScaleGraph.build(SPOTS_UM, SIDES_UM, self_loops=False)
    region, district = graph.scales
    values = np.array([[1.0, 0.0], [3.0, 2.0], [5.0, 4.0], [7.0, 6.0], [11.0, 8.0]])
    assert region.pool(values).tolist() == [[2, 1], [5, 4], [7, 6], [11, 8]]
    # Of spots, not of regions: (1 + 3 + 5 + 11) / 4, not (2 + 5 + 11) / 3.
    assert district.pool(values).tolist() == [[5, 3.5], [7, 6]]
    assert region.pool(values.astype(np.float32)).dtype == np.float32


def test_a_nan_spoils_only_its_own_tile():
    region, _ = ScaleGraph.build(SPOTS_UM, SIDES_UM, self_loops=False).scales
    values = np.ones((5, 1))
    values[1] = np.nan
    assert np.isnan(region.pool(values)).ravel().tolist() == [True, False, False, False]


def test_self_loops_are_of_tiles():
    graph = ScaleGraph.build(SPOTS_UM, SIDES_UM, self_loops=True)
    assert [tiles.neighbours.n_neighbours.tolist() for tiles in graph.scales] == [
        [3, 3, 1, 3],
        [2, 2],
    ]


@given(seed=st.integers(0, 10_000), n_nearest=st.integers(2, 12))
def test_every_spot_lies_in_its_parent_and_looks_at_the_nearest(seed, n_nearest):
    coords_um = scattered(seed)
    graph = ScaleGraph.build(
        coords_um,
        {"a": 110.0, "b": 330.0, "c": 660.0},
        n_nearest=n_nearest,
        self_loops=True,
    )
    for tiles in graph.scales:
        apart = coords_um - tiles.centres_um[tiles.parents]
        assert (np.abs(apart) <= tiles.side_um / 2 + 1e-9).all()
        assert np.array_equal(tiles.nearest[:, 0], tiles.parents)
        distances = cdist(coords_um, tiles.centres_um)
        k = min(n_nearest, tiles.n_tiles)
        found = np.take_along_axis(distances, tiles.nearest, axis=1)
        assert found.shape == (60, k)
        expected = np.sort(distances, axis=1)[:, :k]
        assert np.allclose(np.sort(found, axis=1), expected, rtol=0, atol=1e-9)
        assert all(len(set(row)) == k for row in tiles.nearest.tolist())
        assert np.concatenate(
            [tiles.members(tile) for tile in range(tiles.n_tiles)]
        ).size == len(coords_um)


@given(seed=st.integers(0, 10_000))
def test_scales_are_nested_and_tiles_touch_their_neighbours(seed):
    coords_um = scattered(seed)
    graph = ScaleGraph.build(coords_um, SIDES_UM, self_loops=False)
    region, district = graph.scales
    assert np.array_equal(district.parents, region.above[region.parents])
    apart = np.abs(region.centres_um[:, None] - region.centres_um).max(axis=2)
    joined = np.zeros((region.n_tiles, region.n_tiles), bool)
    joined[tuple(region.neighbours.edge_index)] = True
    assert np.array_equal(joined, (apart > 1) & (apart < 101))
    inside = np.abs(region.centres_um - district.centres_um[region.above])
    assert np.allclose(inside, 50)


@given(seed=st.integers(0, 10_000))
def test_permuting_the_spots_permutes_their_rows_and_leaves_the_tiles(seed):
    coords_um = scattered(seed)
    order = np.random.default_rng(seed).permutation(len(coords_um))
    before = ScaleGraph.build(coords_um, SIDES_UM, self_loops=False)
    after = ScaleGraph.build(coords_um[order], SIDES_UM, self_loops=False)
    for one, other in zip(before.scales, after.scales, strict=True):
        assert np.array_equal(one.centres_um, other.centres_um)
        assert np.array_equal(one.parents[order], other.parents)
        assert np.array_equal(
            np.sort(one.nearest[order], axis=1), np.sort(other.nearest, axis=1)
        )


def test_a_section_moved_by_whole_tiles_has_the_same_graph():
    before = ScaleGraph.build(SPOTS_UM, SIDES_UM, self_loops=False)
    after = ScaleGraph.build(SPOTS_UM - [1000, 200], SIDES_UM, self_loops=False)
    for one, other in zip(before.scales, after.scales, strict=True):
        assert np.array_equal(one.centres_um - [1000, 200], other.centres_um)
        assert np.array_equal(one.parents, other.parents)
        assert np.array_equal(one.nearest, other.nearest)


def test_a_spot_on_a_corner_belongs_to_one_tile_and_looks_at_it_first():
    corners = np.array([[50, 50], [150, 50], [50, 150], [150, 150], [100, 100]], float)
    region, _ = ScaleGraph.build(
        corners, SIDES_UM, n_nearest=2, self_loops=False
    ).scales
    assert region.parents.tolist() == [0, 1, 2, 3, 3]
    assert region.nearest[4, 0] == 3
    assert len(set(region.nearest[4].tolist())) == 2


def test_a_single_spot_has_one_tile_at_each_scale():
    graph = ScaleGraph.build(np.array([[10.0, 10.0]]), self_loops=False)
    for tiles in graph.scales:
        assert tiles.n_tiles == 1
        assert tiles.nearest.tolist() == [[0]]
        assert tiles.neighbours.n_edges == 0


def test_two_spots_in_one_place_share_their_tiles():
    graph = ScaleGraph.build(SPOTS_UM[[3, 3]], SIDES_UM, self_loops=False)
    assert [tiles.parents.tolist() for tiles in graph.scales] == [[0, 0], [0, 0]]


def test_attention_over_the_nearest_tiles_depends_on_the_spot():
    """The softmax of ASIGN's code had a single key and was 1 for every spot."""
    region = ScaleGraph.build(scattered(0), self_loops=False).scales[0]
    rng = np.random.default_rng(1)
    keys = rng.normal(size=(region.n_tiles, 4))[region.nearest]
    weights = [
        np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        for scores in (
            np.einsum("sd,skd->sk", rng.normal(size=(60, 4)), keys) for _ in range(2)
        )
    ]
    assert (np.abs(weights[0] - weights[1]).max(axis=1) > 1e-3).all()


def test_parents_do_not_depend_on_values():
    """ASIGN's code takes for the parent of a spot the tile of the nearest label."""
    region = ScaleGraph.build(SPOTS_UM, SIDES_UM, self_loops=False).scales[0]
    values = np.array([[0.0], [10.0], [0.0], [0.0], [5.0]])
    pooled = region.pool(values)
    by_label = np.abs(values - pooled.T).argmin(axis=1)
    assert not np.array_equal(by_label, region.parents)
    assert region.parents.tolist() == [0, 0, 1, 2, 3]


class TestErrors:
    """What cannot be a graph across scales."""

    @pytest.mark.parametrize("sides_um", [{}, {"spot": 100.0}])
    def test_no_scale_or_one_called_spot(self, sides_um):
        with pytest.raises(
            ValueError, match=r"sides_um has scales \[.*\], expected one"
        ):
            ScaleGraph.build(SPOTS_UM, sides_um, self_loops=False)

    @pytest.mark.parametrize("side", [0.0, -3.0, float("nan"), float("inf")])
    def test_a_side_that_is_not_positive(self, side):
        with pytest.raises(ValueError, match=f"sides_um.'region'. is {side}, expected"):
            ScaleGraph.build(SPOTS_UM, {"region": side}, self_loops=False)

    @pytest.mark.parametrize("large", [100.0, 150.0, 50.0, 299.9])
    def test_scales_that_do_not_nest(self, large):
        with pytest.raises(ValueError, match=f"has {large} after 100.0, expected a wh"):
            ScaleGraph.build(SPOTS_UM, {"a": 100.0, "b": large}, self_loops=False)

    @pytest.mark.parametrize("n_nearest", [1, 0])
    def test_attention_to_a_single_tile(self, n_nearest):
        with pytest.raises(
            ValueError, match=f"n_nearest is {n_nearest}, expected 2 or"
        ):
            ScaleGraph.build(SPOTS_UM, n_nearest=n_nearest, self_loops=False)

    def test_a_centre_that_is_not_finite(self):
        with pytest.raises(
            ValueError, match=r"1 of 1 rows of coords_um are not finite"
        ):
            ScaleGraph.build(np.array([[np.nan, 0.0]]), self_loops=False)

    def test_values_of_another_section(self):
        region = ScaleGraph.build(SPOTS_UM, SIDES_UM, self_loops=False).scales[0]
        with pytest.raises(
            ValueError, match="values has 4 rows, but the graph has 5 sp"
        ):
            region.pool(np.ones((4, 1)))

    @pytest.mark.parametrize("tile", [-1, 4])
    def test_a_tile_that_does_not_exist(self, tile):
        region = ScaleGraph.build(SPOTS_UM, SIDES_UM, self_loops=False).scales[0]
        with pytest.raises(
            ValueError, match=f"tile is {tile}, expected 0 to 3: there a"
        ):
            region.members(tile)


@pytest.mark.real_data
def test_her2st_regions_are_the_published_tiles():
    """The defaults are 512 and 1024 pixels in µm, up to half a per cent."""
    section = her2st("C2", image=False)
    region, district = ScaleGraph.build(section.coords_um, self_loops=False).scales
    assert region.side_um / section.mpp == pytest.approx(512, rel=0.01)
    assert district.side_um / section.mpp == pytest.approx(1024, rel=0.01)
    side = 512 * section.mpp
    published = np.unique(section.coords_px // 512, axis=0)
    exact = ScaleGraph.build(section.coords_um, {"tile": side}, self_loops=False)
    found = np.unique(exact.scales[0].centres_um // side, axis=0)
    assert np.array_equal(found, published)
    assert region.n_members.mean() == pytest.approx(2.75)
    assert district.n_members.mean() == pytest.approx(8.13, rel=0.01)
