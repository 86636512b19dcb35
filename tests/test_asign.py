"""ASIGN: what the published code got wrong, laws, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from stlearnkit.batches import SectionBatch
from stlearnkit.graphs import ScaleGraph, SpotGraph, knn, radius
from stlearnkit.models.asign import Asign, AsignConfig
from stlearnkit.models.asign._layers import GraphLayers, LayerMix, edge_features
from stlearnkit.models.asign._loss import correlation_loss
from stlearnkit.symmetries import SYMMETRIES
from stlearnkit.training import FitConfig, fit, load, predict

TINY = AsignConfig(
    width=8, n_heads=2, n_components=5, n_tile_components=3, radii_um=(250.0,)
)
TRAINED = {"backbone": "test_efficientnet", "pretrained": False, "n_frozen_stages": 2}
SIDES_UM = {"region": 350.0, "district": 700.0}
PITCH_UM = 200.0


def lattice(n_columns, n_rows):
    """Return places of a square lattice, row by row."""
    x, y = np.meshgrid(np.arange(n_columns), np.arange(n_rows))
    return 50 + PITCH_UM * np.column_stack([x.ravel(), y.ravel()]).astype(float)


def section(
    name="A", coords_um=None, *, graph=None, seed=0, n_features=6, offset=0.0
) -> SectionBatch:
    """Return a section of random features and targets, on a lattice of 5 by 4."""
    random = np.random.default_rng(seed)
    coords_um = lattice(5, 4) if coords_um is None else coords_um
    scales = ScaleGraph.build(coords_um, SIDES_UM, self_loops=True)
    n = len(coords_um)
    pictures = torch.from_numpy(random.integers(0, 256, (n, 3, 32, 32), np.uint8))
    flat = SectionBatch(
        (name,),
        ("P",),
        ("GENE1", "GENE2"),
        torch.zeros(n, dtype=torch.int64),
        functional.pad(torch.from_numpy(coords_um).float(), (0, 1)),
        torch.arange(n),
        patches=pictures,
        features=torch.from_numpy(random.normal(offset, 3, (n, n_features))).float(),
        targets=torch.from_numpy(random.normal(size=(n, 2))).float(),
    )
    of_tiles = {
        tiles.name: random.normal(size=(tiles.n_tiles, 4)) for tiles in scales.scales
    }
    graph = knn(coords_um, 4, self_loops=True) if graph is None else graph
    return flat.with_graph(graph, scales, of_tiles)


def awake(model):
    """Move everything that starts at 0 off it."""
    random = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.5, generator=random)
    return model


def network(config=TINY, *, train=None):
    """Return a model whose every part has a say, ready to predict."""
    torch.manual_seed(0)
    model = Asign(np.array([1.0, 2.0]), config)
    model.prepare(train or [section()])
    return awake(model).eval()


def expression(model, batch):
    with torch.inference_mode():
        return model(batch).expression


def permuted(batch, order):
    """Return the same section with its spots in another order, tiles as they were."""
    order = torch.as_tensor(order)
    place = torch.argsort(order)
    edges = replace(batch.edges, index=place[batch.edges.index])
    return replace(
        batch,
        coords_um=batch.coords_um[order],
        features=batch.features[order],
        patches=batch.patches[order],
        targets=batch.targets[order],
        edges=edges,
        levels=tuple(
            replace(
                level,
                parents=level.parents[order],
                nearest=level.nearest[order],
                distances_um=level.distances_um[order],
            )
            for level in batch.levels
        ),
    )


# What the published code got wrong, one test each.


def test_published_bug_the_picture_does_not_matter():
    """A softmax over one key, and no residual: noise in, the same prediction out."""
    batch, model = section(), network()
    noise = torch.randn(
        batch.features.shape, generator=torch.Generator().manual_seed(5)
    )
    other = replace(batch, features=batch.features + noise)
    assert (expression(model, batch) - expression(model, other)).abs().min() > 1e-3
    of_tiles = tuple(
        replace(level, features=level.features.flip(0)) for level in batch.levels
    )
    moved = expression(model, replace(batch, levels=of_tiles))
    assert (expression(model, batch) - moved).abs().amax(dim=1).min() > 1e-3


def test_published_bug_the_picture_does_not_matter_to_a_trained_encoder():
    model, batch = network(replace(TINY, **TRAINED)), section()
    other = replace(batch, patches=255 - batch.patches)
    assert (expression(model, batch) - expression(model, other)).abs().max() > 1e-3


def test_published_bug_layers_of_other_nodes_are_mixed():
    """A view in place of a permutation: a node's sequence were three other nodes."""
    torch.manual_seed(0)
    mix = LayerMix(TINY, 2).eval()
    states = torch.randn(7, 3, 8)
    whole = mix(states)
    for node in range(7):
        torch.testing.assert_close(mix(states[node : node + 1])[0], whole[node])
    before = states.clone()
    mix(states)
    assert torch.equal(states, before)


def test_published_bug_attention_on_and_off_do_not_differ():
    """One factor for all numbers of a node is undone by the norm after it."""
    batch = section()
    asking, silent = network(), network(replace(TINY, asks=False))
    silent.load_state_dict(asking.state_dict() | _scores_of(silent))
    gap = (expression(asking, batch) - expression(silent, batch)).abs()
    assert gap.amax(dim=1).min() > 1e-3


def _scores_of(model):
    """Return the weights that were frozen at 0."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen
    return {name: value for name, value in model.state_dict().items() if name in frozen}


def test_published_bug_a_spot_never_sees_itself():
    """Without self-loops and without residual its own state is lost."""
    torch.manual_seed(0)
    layers = GraphLayers(TINY, 1).eval()
    tokens = torch.randn(3, 8)
    for self_loops in (True, False):
        graph = knn(lattice(3, 1), 1, self_loops=self_loops)
        index = torch.from_numpy(graph.edge_index)
        of_edges = torch.zeros(graph.n_edges, 2)
        moved = tokens.clone()
        moved[0] += torch.randn(8)
        change = (layers(moved, index, of_edges) - layers(tokens, index, of_edges))[
            :, 1
        ]
        assert change[0].abs().max() > 1e-2


def test_published_bug_an_isolated_node_is_no_number():
    lonely = np.vstack([lattice(3, 2), [[9000.0, 9000.0]]])
    for self_loops in (True, False):
        graph = radius(lonely, 250.0, self_loops=self_loops)
        batch = section(coords_um=lonely, graph=graph)
        assert expression(network(train=[batch]), batch).isfinite().all()


@pytest.mark.parametrize(
    "config", [TINY, replace(TINY, **TRAINED)], ids=["", "trained"]
)
def test_published_bug_a_prediction_depends_on_its_company(config):
    batch, model = section(), network(config)
    whole = expression(model, batch)
    for rows in ([3], [7, 2, 11], [19, 0]):
        torch.testing.assert_close(
            expression(model, batch.subset(rows)), whole[rows], atol=1e-5, rtol=1e-5
        )


def test_published_bug_the_parent_is_the_tile_with_the_most_similar_label():
    """Not what a spot expresses, but where it lies says which tile holds it."""
    coords_um = lattice(5, 4)
    batch = section(coords_um=coords_um)
    for level in batch.levels:
        cells = np.floor(coords_um / level.side_um)
        same_cell = (cells[:, None] == cells[None]).all(axis=2)
        parents = level.parents.numpy()
        assert ((parents[:, None] == parents[None]) == same_cell).all()
        assert torch.equal(level.nearest[:, 0], level.parents)
    model = network()
    with torch.inference_mode():
        said = model(batch).of_tiles["district"]
        other = model(replace(batch, targets=batch.targets.flip(0))).of_tiles[
            "district"
        ]
    together = batch.levels[1].parents[:, None] == batch.levels[1].parents[None]
    equal = torch.isclose(said[:, None], said[None]).all(dim=2)
    assert torch.equal(equal, together)
    assert torch.equal(said, other)


CONFIGS = {
    "all": TINY,
    "no tiles": replace(TINY, levels=()),
    "no graph": replace(TINY, depth=0, tile_depth=0),
    "last layer": replace(TINY, all_layers=False),
    "with line": replace(TINY, line=True),
    "plain means": replace(TINY, asks=False),
    "trained": replace(TINY, **TRAINED),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_published_bug_parameters_that_are_never_trained(config):
    batch, model = section(), network(config).train()
    model.loss(model(batch), batch).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_published_bug_a_projection_drawn_anew_for_every_section():
    """The same spot in two sections gives the same numbers, on any day."""
    first, second = section("A"), section("B")
    model = network(train=[first, section("C", seed=3)])
    torch.manual_seed(99)
    for part in ("features", "levels"):
        a, b = (getattr(model.condense(batch), part) for batch in (first, second))
        if part == "levels":
            a, b = a[0].features, b[0].features
        torch.testing.assert_close(a, b, atol=0, rtol=0)


def test_published_bug_labels_of_the_section_to_predict_are_looked_at():
    batch, model = section(), network()
    without = replace(batch, targets=None)
    assert torch.equal(expression(model, batch), expression(model, without))


# Laws.


def test_starts_at_the_mean_profile():
    batch = section()
    model = Asign(np.array([1.0, 2.0]), TINY)
    model.prepare([batch])
    prediction = model.train()(batch)
    profile = torch.tensor([[1.0, 2.0]]).expand(20, 2)
    assert torch.equal(prediction.expression, profile)
    for of_tile in prediction.of_tiles.values():
        assert torch.equal(of_tile, profile)


@given(order=st.permutations(range(20)))
@settings(max_examples=10, deadline=None)
def test_permuting_spots_permutes_predictions(order):
    batch, model = section(), network()
    torch.testing.assert_close(
        expression(model, permuted(batch, order)),
        expression(model, batch)[list(order)],
        atol=1e-5,
        rtol=1e-5,
    )


@given(order=st.permutations(range(len(section().levels[0].features))))
@settings(max_examples=10, deadline=None)
def test_the_order_of_tiles_does_not_matter(order):
    batch, model = section(), network()
    region, district = batch.levels
    order = torch.as_tensor(order)
    place = torch.argsort(order)
    other = replace(
        region,
        features=region.features[order],
        parents=place[region.parents],
        nearest=place[region.nearest],
        edges=replace(region.edges, index=place[region.edges.index]),
    )
    torch.testing.assert_close(
        expression(model, replace(batch, levels=(other, district))),
        expression(model, batch),
        atol=1e-5,
        rtol=1e-5,
    )


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_blocks_predict_as_the_whole_section(config):
    coords_um = lattice(12, 9)
    batch = section(coords_um=coords_um)
    model = network(replace(config, dropout=0.0), train=[batch])
    whole = predict(model, batch, n_symmetries=1, spots_per_step=1000)
    in_blocks = predict(model, batch, n_symmetries=1, spots_per_step=10)
    np.testing.assert_allclose(in_blocks, whole, atol=1e-5)
    too_few = model.n_hops - 1
    if too_few >= 0:
        parts = model.condense(batch).blocks(n_hops=too_few, max_spots=10)
        wrong = torch.cat([expression(model, part) for _, part in parts]).numpy()
        rows = np.concatenate([rows.numpy() for rows, _ in parts])
        assert np.abs(wrong - whole[rows]).max() > 1e-4


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_one_look_is_as_good_as_eight(symmetry, monkeypatch):
    batch, model = section(), network()
    turned = expression(model, batch.transformed(symmetry))
    torch.testing.assert_close(turned, expression(model, batch), atol=1e-5, rtol=1e-5)
    asked = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda b: asked.append(b) or forward(b))
    predict(model, batch)
    assert len(asked) == 1


def test_a_trained_picture_is_looked_at_eight_times(monkeypatch):
    batch, model = section(), network(replace(TINY, **TRAINED))
    asked = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda b: asked.append(b) or forward(b))
    predict(model, batch, spots_per_step=20)
    assert len(asked) == 8


def test_two_evaluations_agree():
    batch, model = section(), network()
    assert torch.equal(expression(model, batch), expression(model, batch))


def test_sections_of_a_batch_do_not_see_each_other():
    from stlearnkit.batches._joins import joined_edges, joined_levels

    first, second = section("A"), section("B", lattice(3, 2), seed=4)
    model = network(train=[first, second])
    both = replace(
        first,
        sections=("A", "B"),
        patients=("P", "P"),
        section_index=torch.tensor([0] * 20 + [1] * 6),
        coords_um=torch.cat([first.coords_um, second.coords_um]),
        queries=torch.arange(26),
        features=torch.cat([first.features, second.features]),
        patches=torch.cat([first.patches, second.patches]),
        targets=torch.cat([first.targets, second.targets]),
        edges=joined_edges([first, second], ("A", "B")),
        levels=joined_levels([first, second], ("A", "B")),
    )
    alone = torch.cat([expression(model, first), expression(model, second)])
    torch.testing.assert_close(expression(model, both), alone, atol=1e-5, rtol=1e-5)


def test_graph_layers_are_gatv2_by_hand():
    """One head, two nodes: scores, softmax over what comes in, and the residual."""
    torch.manual_seed(0)
    layers = GraphLayers(replace(TINY, n_heads=1), 1).eval()
    layer, norm = layers.layers[0], layers.norms[0]
    tokens, index = torch.randn(2, 8), torch.tensor([[0, 1, 1], [0, 0, 1]])
    of_edges = torch.randn(3, 2)
    left, right = layer.lin_l(norm(tokens)), layer.lin_r(norm(tokens))
    raw = left[index[0]] + right[index[1]] + layer.lin_edge(of_edges)
    scores = functional.leaky_relu(raw, 0.2) @ layer.att[0, 0]
    share = torch.softmax(scores[:2], dim=0)
    first = share[0] * left[0] + share[1] * left[1] + layer.bias
    expected = tokens + torch.stack([first, left[1] + layer.bias])
    states = layers(tokens, index, of_edges)
    torch.testing.assert_close(states[:, 0], tokens)
    torch.testing.assert_close(states[:, 1], expected, atol=1e-5, rtol=1e-5)


def test_graph_layers_are_a_dense_formula():
    torch.manual_seed(0)
    layers = GraphLayers(TINY, 1).eval()
    layer, tokens = layers.layers[0], torch.randn(9, 8)
    graph = radius(lattice(3, 3), 250.0, self_loops=True)
    index = torch.from_numpy(graph.edge_index)
    of_edges = torch.randn(graph.n_edges, 2)
    said = torch.zeros(9, 9, 8)
    said[index[1], index[0]] = layer.lin_edge(of_edges)
    left = layer.lin_l(layers.norms[0](tokens))
    right = layer.lin_r(layers.norms[0](tokens))
    raw = (right[:, None] + left[None] + said).unflatten(2, (2, 4))
    scores = (functional.leaky_relu(raw, 0.2) * layer.att[0]).sum(dim=3)
    joined = torch.zeros(9, 9, dtype=torch.bool)
    joined[index[1], index[0]] = True
    scores = scores.masked_fill(~joined[:, :, None], -torch.inf)
    heard = torch.einsum(
        "ijh,jhw->ihw", scores.softmax(dim=1), left.unflatten(1, (2, 4))
    )
    expected = tokens + heard.flatten(1) + layer.bias
    found = layers(tokens, index, of_edges)[:, 1]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_edge_features_by_hand():
    batch = section(
        coords_um=lattice(2, 1), graph=knn(lattice(2, 1), 1, self_loops=True)
    )
    inputs = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    found = edge_features(batch.edges, inputs)
    loops = batch.edges.index[0] == batch.edges.index[1]
    between = torch.tensor([np.log(3.0), 0.5**0.5])
    torch.testing.assert_close(found[loops], torch.tensor([[0.0, 1.0]]).expand(2, 2))
    torch.testing.assert_close(found[~loops], between.float().expand(2, 2))


def test_loss_by_hand():
    batch = section(coords_um=lattice(2, 1))
    config = replace(
        TINY, tile_weight=0.5, consistency_weight=0.25, correlation_weight=0.1
    )
    model = network(config, train=[section()])
    said = model(batch)
    measured, total = batch.targets, 0.0
    total += (said.expression - measured).square().mean()
    for name in ("region", "district"):
        tile = said.of_tiles[name]
        # Both spots lie in the same tile.
        torch.testing.assert_close(tile[0], tile[1])
        total += 0.5 * (tile - measured).square().mean()
        apart = tile - said.expression.mean(dim=0)
        total += 0.25 * apart.square().mean()
    total += 0.1 * correlation_loss(
        said.expression, measured, torch.zeros(2, dtype=torch.int64)
    )
    torch.testing.assert_close(model.loss(said, batch), total)


def test_a_tile_is_drawn_to_the_mean_of_its_spots():
    batch = section(coords_um=lattice(2, 1))
    guess = torch.zeros(1, 2, requires_grad=True)
    functional.mse_loss(guess.expand(2, 2), batch.targets).backward()
    of_mean = -2 * batch.targets.mean(dim=0) / 2
    torch.testing.assert_close(guess.grad[0], of_mean)


def test_correlation_loss_is_the_mean_of_correlations():
    random = torch.Generator().manual_seed(0)
    predicted = 50 * torch.randn(30, 4, generator=random)
    measured = predicted + 20 * torch.randn(30, 4, generator=random)
    index = torch.tensor([0] * 10 + [1] * 20)
    r = [
        [np.corrcoef(predicted[own, g], measured[own, g])[0, 1] for g in range(4)]
        for own in (index == 0, index == 1)
    ]
    expected = 1 - (10 * np.mean(r[0]) + 20 * np.mean(r[1])) / 30
    found = correlation_loss(predicted, measured, index)
    assert found.item() == pytest.approx(expected, abs=1e-4)


def test_correlation_loss_of_what_does_not_vary():
    flat = torch.zeros(3, 2, requires_grad=True)
    index = torch.zeros(3, dtype=torch.int64)
    measured = torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    loss = correlation_loss(flat, measured, index)
    loss.backward()
    assert loss.item() == 1.0
    assert flat.grad.isfinite().all()
    assert flat.grad[0, 0] > 0 > flat.grad[2, 0]
    alone = correlation_loss(flat[:1], measured[:1], index[:1])
    assert alone.item() == 1.0


@pytest.mark.usefixtures("unchecked")  # for speed: the same steps many times
def test_learns_one_small_section_by_heart():
    batch = section()
    model = Asign(
        batch.targets.mean(dim=0).double().numpy(), replace(TINY, dropout=0.0)
    )
    model.prepare([batch])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        model.loss(model(batch), batch).backward()
        optimizer.step()
    error = (expression(model.eval(), batch) - batch.targets).square().mean()
    assert error < 0.05 * batch.targets.var()


@pytest.mark.parametrize("spots_per_step", [8, 64])
def test_trained_stopped_and_loaded(tmp_path, spots_per_step):
    train, held_out = section("A"), section("B", seed=7)
    torch.manual_seed(0)
    model = Asign(train.targets.mean(dim=0).double().numpy(), TINY)
    config = FitConfig(max_epochs=2, spots_per_step=spots_per_step, augment=False)
    fitted = fit(
        model, [train], [held_out], folder=tmp_path, config=config, progress=False
    )
    assert len(fitted.history) == 3
    again = load(tmp_path, Asign)
    assert again.model.config == TINY
    np.testing.assert_array_equal(again.predict(held_out), fitted.predict(held_out))


@pytest.mark.parametrize("config", [TINY, replace(TINY, **TRAINED)], ids=["", "own"])
def test_mixed_precision_is_close_to_full(config):
    batch, model = section(), network(config)
    full = expression(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(batch)
        loss = model.loss(mixed, batch)
    loss.backward()
    assert (mixed.expression - full).abs().max() < 0.1 * full.std()


def test_one_spot():
    batch = section(coords_um=np.array([[100.0, 100.0]]))
    assert expression(network(), batch).isfinite().all()
    model = network().train()
    assert model.loss(model(batch), batch).isfinite()


def test_no_edges_at_all():
    graph = SpotGraph(np.zeros((2, 0), np.int64), n_spots=20)
    batch = section(graph=graph)
    assert expression(network(), batch).isfinite().all()


def test_spots_in_one_place():
    twice = np.vstack([lattice(3, 2), lattice(3, 2)])
    batch = section(coords_um=twice)
    batch = replace(batch, features=batch.features[:6].repeat(2, 1))
    found = expression(network(replace(TINY, depth=0)), batch)
    torch.testing.assert_close(found[:6], found[6:], atol=1e-5, rtol=1e-5)
    assert expression(network(), batch).isfinite().all()


@pytest.mark.parametrize(
    "config", [TINY, replace(TINY, asks=False)], ids=["", "silent"]
)
def test_attention_is_a_share_of_what_may_be_seen(config):
    batch, model = section(), network(config)
    looks = model.attention(batch.subset([4, 9, 2]))
    for name, weights in looks.tiles.items():
        level = next(level for level in batch.levels if level.name == name)
        assert weights.shape == (3, 2, level.nearest.shape[1])
        torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 2))
        if not config.asks:
            torch.testing.assert_close(
                weights, torch.full_like(weights, 1 / weights.shape[2])
            )
    for weights in looks.neighbours:
        total = torch.zeros(20, 2).index_add(0, looks.edges[1], weights)
        torch.testing.assert_close(total, torch.ones(20, 2))
    assert looks.layers.shape == (3, 2, 3)
    torch.testing.assert_close(looks.layers.sum(dim=2), torch.ones(3, 2))
    last = network(replace(config, all_layers=False)).attention(batch).layers
    assert torch.equal(last[0, 0], torch.tensor([0.0, 0.0, 1.0]))


def test_attention_leaves_the_model_as_it_was():
    model = network().train()
    model.attention(section())
    assert model.training


def test_a_backbone_learns_at_its_own_rate():
    model = network(replace(TINY, **TRAINED))
    rates = {
        id(parameter): group["lr"]
        for group in model.parameter_groups(0.1)
        for parameter in group["params"]
    }
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert set(rates) == trained
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            slow = name.startswith("backbone.")
            assert rates[id(parameter)] == pytest.approx(0.03 if slow else 0.1)


# What is refused.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width is 0, expected 1 or more"),
        ({"n_components": 0}, "n_components is 0, expected 1"),
        ({"n_tile_components": 0}, "n_tile_components is 0, expected 1"),
        ({"depth": -1}, "depth is -1, expected 0 or more"),
        ({"tile_depth": -1}, "tile_depth is -1, expected 0"),
        ({"tile_weight": -0.1}, "tile_weight is -0.1, expected 0"),
        ({"consistency_weight": float("nan")}, "consistency_weight is nan, expected"),
        ({"correlation_weight": float("inf")}, "correlation_weight is inf, expected"),
        ({"width": 6, "n_heads": 4}, "width is 6 and n_heads 4, expected a multiple"),
        ({"radii_um": (0.0,)}, r"radii_um is \(0.0,\), expected micrometres above 0"),
        ({"levels": ("a", "a")}, r"levels is \('a', 'a'\), expected each name once"),
        ({"dropout": 1.0}, "dropout is 1.0, expected 0 to below 1"),
        ({"line_dropout": -0.5}, "line_dropout is -0.5, expected 0 to below 1"),
        ({"backbone_speed": 0.0}, "backbone_speed is 0.0, expected above 0"),
    ],
)
def test_settings_that_cannot_be_meant(change, message):
    with pytest.raises(ValueError, match=message):
        AsignConfig(**change)


def test_missing_features():
    with pytest.raises(ValueError, match="section 'A' has no features, by which"):
        network()(replace(section(), features=None))


def test_missing_edges():
    with pytest.raises(ValueError, match="section 'A' has no graph, along"):
        network()(replace(section(), edges=None))


def test_missing_levels():
    batch = section()
    lacking = replace(batch, levels=batch.levels[:1])
    message = r"has levels \['region'\], but the model looks at \['district'\]"
    with pytest.raises(ValueError, match=message):
        network()(lacking)
    with pytest.raises(ValueError, match=message):
        network().prepare([lacking])


def test_missing_patches_for_a_backbone():
    with pytest.raises(ValueError, match="has no patches, which the backbone is trai"):
        network(replace(TINY, **TRAINED))(replace(section(), patches=None))


def test_another_encoder_than_in_training():
    with pytest.raises(ValueError, match="features have 7 columns, but the model was"):
        network()(section(n_features=7))


def test_panels_that_differ():
    train, held_out = section("A"), section("B", seed=7)
    other = replace(held_out, genes=("GENE1", "GENE3"))
    model = Asign(np.zeros(2), TINY)
    with pytest.raises(ValueError, match="section 'B' has another panel than 'A'"):
        fit(model, [train], [other], progress=False)
