"""Graphs of a batch: tensors of what `graphs` says, joined, moved and cut."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import toys
from hypothesis import given, settings
from hypothesis import strategies as st

from stlearnkit.batches import Edges, SectionBatch
from stlearnkit.geometry import Affine2D
from stlearnkit.graphs import ScaleGraph, SpotGraph, blocks, knn, radius
from stlearnkit.stacks import Stack
from stlearnkit.symmetries import SYMMETRIES

SIDES_UM = {"region": 150.0, "district": 300.0}


def scales_of(coords_um, **sides_um):
    return ScaleGraph.build(coords_um, sides_um or SIDES_UM, self_loops=True)


def tile_features(scales):
    """Number the tiles of every level."""
    return {t.name: np.arange(float(t.n_tiles))[:, None] for t in scales.scales}


def joined(name="toy", **sides_um):
    """Return the toy section, its spots at (120, 100) to (320, 300) µm, as a graph."""
    section = toys.section(name)
    scales = scales_of(section.coords_um, **sides_um)
    features = np.arange(8.0).reshape(4, 2)
    batch = SectionBatch.of_section(section, toys.GENES, features=features)
    graph = radius(section.coords_um, 250.0, self_loops=True)
    return batch.with_graph(graph, scales, tile_features(scales))


def large(seed, n_spots=80):
    """Return a section of spots anywhere, each of which knows its own number."""
    random = np.random.default_rng(seed)
    coords_um = random.uniform(0, 1500, (n_spots, 2))
    batch = SectionBatch(
        ("A",),
        ("P",),
        ("GENE",),
        torch.zeros(n_spots, dtype=torch.int64),
        torch.from_numpy(np.pad(coords_um, ((0, 0), (0, 1)))).float(),
        torch.from_numpy(random.permutation(n_spots)[: n_spots // 2]),
        features=torch.arange(float(n_spots))[:, None],
    )
    batch = replace(batch, targets=batch.queries[:, None].float())
    scales = scales_of(coords_um)
    graph = knn(coords_um, 4, self_loops=True)
    return batch.with_graph(graph, scales, tile_features(scales))


def test_edges_and_tiles_are_those_of_the_graphs():
    batch, section = joined(), toys.section()
    graph = radius(section.coords_um, 250.0, self_loops=True)
    assert batch.edges.index.numpy().tolist() == graph.edge_index.tolist()
    expected = graph.lengths_um(section.coords_um)
    np.testing.assert_allclose(batch.edges.lengths_um, expected, rtol=1e-6)
    assert batch.edges.graph(4).n_neighbours.tolist() == [3, 3, 3, 3]
    region, district = batch.levels
    # Spots at 120 and 320 µm lie in tiles 0 and 2 of 150 µm, so four regions.
    assert (region.name, region.side_um, region.n_tiles) == ("region", 150.0, 4)
    assert region.parents.tolist() == [0, 1, 2, 3]
    assert region.nearest[:, 0].tolist() == [0, 1, 2, 3]
    # From (120, 100) to the centre (75, 75), and to that of the tile (300, 0) beside.
    near = torch.tensor([np.hypot(45, 25), np.hypot(375 - 120, 25)]).float()
    found = region.distances_um[0][[0, region.nearest[0].tolist().index(1)]]
    torch.testing.assert_close(found, near)
    assert district.features[:, 0].tolist() == [0, 1, 2, 3]


def test_a_subset_keeps_the_graph_whole():
    batch = joined()
    assert batch.subset([2]).edges is batch.edges
    assert batch.subset([2]).levels is batch.levels


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_graphs_stay_as_they_are_when_the_tissue_is_turned(symmetry):
    batch = joined()
    turned = batch.transformed(symmetry)
    places = turned.coords_um[:, :2].double().numpy()
    again = Edges.of_graph(turned.edges.graph(4), places)
    torch.testing.assert_close(again.lengths_um, batch.edges.lengths_um)
    assert turned.levels is batch.levels


def test_to_moves_graphs():
    moved = joined().to("meta")
    tensors = [moved.edges.index, moved.edges.lengths_um]
    for level in moved.levels:
        tensors += [level.features, level.parents, level.nearest, level.distances_um]
        tensors += [level.edges.index, level.edges.lengths_um]
    assert len(tensors) == 14
    assert all(tensor.device.type == "meta" for tensor in tensors)


def stack():
    sections = tuple(toys.section(name) for name in ("A", "B"))
    frames = tuple(
        Affine2D(np.eye(3), source=f"{name}/um", target="block") for name in "AB"
    )
    return Stack(sections, (0.0, 16.0), frames)


def test_sections_of_a_stack_share_neither_edges_nor_tiles():
    both = SectionBatch.of_stack(stack(), [joined("A"), joined("B")])
    alone = joined("A")
    n_edges = alone.edges.index.shape[1]
    assert both.edges.index[:, n_edges:].equal(alone.edges.index + 4)
    assert both.edges.lengths_um[n_edges:].equal(alone.edges.lengths_um)
    region = both.levels[0]
    assert region.parents.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert region.nearest[4:].equal(alone.levels[0].nearest + 4)
    assert region.features[:, 0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert (region.edges.index[0] // 4).equal(region.edges.index[1] // 4)


def test_where_a_section_has_fewer_tiles_there_is_none_to_look_at():
    few = joined("B", region=150.0, district=300.0)
    one = replace(
        few.levels[0],
        nearest=few.levels[0].nearest[:, :1],
        distances_um=few.levels[0].distances_um[:, :1],
    )
    few = replace(few, levels=(one, few.levels[1]))
    region = SectionBatch.of_stack(stack(), [joined("A"), few]).levels[0]
    assert region.nearest[4:].tolist() == [[n, -1, -1, -1] for n in (4, 5, 6, 7)]
    assert region.distances_um[4:, 1:].abs().sum() == 0
    assert (region.nearest[:4] >= 0).all()


def test_stacks_of_sections_that_are_not_alike():
    whole = joined("A")
    for lacking, message in (
        (replace(joined("B"), edges=None), r"sections \['B'\] have no edges"),
        (replace(joined("B"), levels=()), r"sections \['B'\] have no levels"),
        (
            replace(joined("B"), levels=whole.levels[:1]),
            r"are \[\['region', 'district'\], \['region'\]\], expected the same",
        ),
        (
            joined("B", region=160.0, district=320.0),
            "levels are 'region' of 150 µm and 'region' of 160 µm. Make all",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            SectionBatch.of_stack(stack(), [whole, lacking])


@given(seed=st.integers(0, 50), n_hops=st.integers(0, 3), max_spots=st.integers(8, 40))
@settings(max_examples=12, deadline=None)
def test_every_query_is_in_one_block_with_all_that_it_sees(seed, n_hops, max_spots):
    batch = large(seed)
    parts = batch.blocks(n_hops=n_hops, max_spots=max_spots)
    rows = torch.cat([rows for rows, _ in parts])
    assert rows.sort().values.equal(torch.arange(batch.n_queries))
    for own, part in parts:
        assert part.n_queries == len(own) > 0
        # Numbers that spots carry say who they were.
        who = part.features[:, 0].long()
        assert who[part.queries].equal(batch.queries[own])
        assert part.targets[:, 0].long().equal(batch.queries[own])
        assert part.coords_um.equal(batch.coords_um[who])
        edges = set(map(tuple, who[part.edges.index].T.tolist()))
        assert edges <= set(map(tuple, batch.edges.index.T.tolist()))
        for level, whole in zip(part.levels, batch.levels, strict=True):
            tiles = level.features[:, 0].long()
            assert tiles[level.parents].equal(whole.parents[who])
            assert tiles[level.nearest].equal(whole.nearest[who])
            assert level.distances_um.equal(whole.distances_um[who])


@given(seed=st.integers(0, 20), n_hops=st.integers(1, 3))
@settings(max_examples=6, deadline=None)
def test_blocks_are_those_of_graphs(seed, n_hops):
    batch = large(seed)
    batch = replace(batch, queries=torch.arange(80), targets=None)
    graph = batch.edges.graph(80)
    places = batch.coords_um[:, :2].double().numpy()
    expected = blocks(graph, places, n_hops=n_hops, max_spots=15)
    found = batch.blocks(n_hops=n_hops, max_spots=15)
    for (_, part), block in zip(found, expected, strict=True):
        assert part.features[:, 0].tolist() == block.spots.tolist()
        assert part.edges.index.shape[1] == block.graph.n_edges


def test_means_over_tiles_seen_from_blocks_are_those_of_the_whole():
    """Messages between tiles, once, then a look at them: what a model does."""

    def looks(batch):
        level = batch.levels[0]
        sources, targets = level.edges.index
        counts = torch.bincount(targets, minlength=level.n_tiles)
        heard = torch.zeros(level.n_tiles).index_add(
            0, targets, level.features[sources, 0]
        )
        return (heard / counts)[level.nearest].mean(dim=1)[batch.queries]

    batch = large(3)
    whole = looks(batch)
    for rows, part in batch.blocks(n_hops=1, max_spots=10):
        torch.testing.assert_close(looks(part), whole[rows])
    wrong = [
        (looks(part) - whole[rows]).abs().max()
        for rows, part in batch.blocks(n_hops=0, max_spots=10)
    ]
    assert max(wrong) > 1e-3


def test_a_batch_that_is_small_enough_is_one_block():
    batch = joined()
    [(rows, part)] = batch.blocks(n_hops=1, max_spots=4)
    assert rows.tolist() == [0, 1, 2, 3]
    assert part is batch


def test_blocks_without_queries_are_left_out():
    batch = joined().subset([0])
    [(rows, part)] = batch.blocks(n_hops=0, max_spots=1)
    assert rows.tolist() == [0]
    assert part.features.tolist() == [[0.0, 1.0]]


def test_blocks_without_edges():
    batch = replace(joined(), edges=None)
    message = "section 'toy' has no edges, along which it could.* recipes.GraphRecipe"
    with pytest.raises(ValueError, match=message):
        batch.blocks(n_hops=1, max_spots=2)
    with pytest.raises(ValueError, match="max_spots is 0, expected 1 or more"):
        joined().blocks(n_hops=1, max_spots=0)


def test_graphs_of_other_spots():
    batch, coords_um = joined(), toys.section().coords_um
    graph, few = radius(coords_um, 250.0, self_loops=True), scales_of(coords_um[:3])
    with pytest.raises(ValueError, match="graph joins 3 spots, but the batch of sect"):
        batch.with_graph(SpotGraph(graph.edge_index[:, :0], 3))
    with pytest.raises(ValueError, match="scales joins 3 spots, but the batch of sec"):
        batch.with_graph(graph, few, tile_features(few))


def test_features_of_other_tiles():
    coords_um = toys.section().coords_um
    batch, scales = joined(), scales_of(coords_um)
    graph, found = radius(coords_um, 250.0, self_loops=True), tile_features(scales)
    with pytest.raises(
        ValueError, match=r"is of \['region'\], but scales has tiles \["
    ):
        batch.with_graph(graph, scales, {"region": found["region"]})
    with pytest.raises(ValueError, match=r"is of \[\], but scales has tiles \['regi"):
        batch.with_graph(graph, scales)
    for bad, message in (
        (found["region"][:2], r"\['region'\] has 2 rows, 2 of them finite, expected 4"),
        (found["region"] * np.nan, r"\['region'\] has 4 rows, 0 of them finite, exp"),
    ):
        with pytest.raises(ValueError, match=message):
            batch.with_graph(graph, scales, found | {"region": bad})
