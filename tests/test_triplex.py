"""TRIPLEX: three views, none of them kept, hidden at random or left unsupervised."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn import functional

from stlearnkit.batches import SectionBatch
from stlearnkit.graphs import radius
from stlearnkit.models._components import PrincipalComponents
from stlearnkit.models._spots import disc_means
from stlearnkit.models.triplex import Triplex, TriplexConfig, TriplexPrediction
from stlearnkit.models.triplex._places import GridEncoding, lattice_neighbours
from stlearnkit.symmetries import SYMMETRIES
from stlearnkit.training import FitConfig, fit

TINY = TriplexConfig(
    width=8, n_heads=2, n_components=3, n_cells=3, radii_um=(250.0,), guide_width=4
)
GUIDED = replace(TINY, guided=True)
TRAINED = {"backbone": "test_efficientnet", "pretrained": False, "n_frozen_stages": 2}
PITCH_UM = 200.0


def lattice(n_columns, n_rows):
    """Return places of a square lattice, row by row."""
    x, y = np.meshgrid(np.arange(n_columns), np.arange(n_rows))
    return PITCH_UM * torch.from_numpy(np.column_stack([x.ravel(), y.ravel()])).float()


def views(name="A", *, n_columns=4, n_rows=3, seed=0, n_features=6):
    """Return a section of random numbers; the first spot lies on the image's corner."""
    random = torch.Generator().manual_seed(seed)
    n = n_columns * n_rows

    def normal(*shape):
        return torch.randn(*shape, generator=random)

    def pictures(*shape):
        return torch.randint(256, shape, generator=random).to(torch.uint8)

    inside = torch.ones(n, 1, 3, 3)
    inside[0] = torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, 1, 1]])
    return SectionBatch(
        (name,),
        ("P",),
        ("GENE1", "GENE2"),
        torch.zeros(n, dtype=torch.int64),
        functional.pad(lattice(n_columns, n_rows), (0, 1)),
        torch.arange(n),
        patches=pictures(n, 3, 64, 64),
        features=normal(n, n_features) * 3 + 1,
        grids={
            "spot": normal(n, 4, 3, 3),
            "surroundings": normal(n, 4, 3, 3).half(),
            "inside": inside,
            "spot_boundaries": pictures(n, 2, 16, 16),
            "surroundings_boundaries": pictures(n, 2, 20, 20),
        },
        targets=normal(n, 2),
    )


def awake(model):
    """Move everything that starts at 0 off it: heads, biases and gates."""
    random = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.5, generator=random)
    return model


def network(config=TINY, *, train=None):
    """Return a model whose every part has a say, ready to predict."""
    torch.manual_seed(0)
    model = Triplex(np.array([1.0, 2.0]), config)
    model.prepare(train or [views()])
    return awake(model).eval()


def expression(model, batch):
    with torch.inference_mode():
        return model(batch).expression


# The model as a whole.


def test_starts_at_the_mean_profile():
    batch = views()
    model = Triplex(np.array([1.0, 2.0]), GUIDED)
    model.prepare([batch])
    prediction = model.train()(batch)
    for predicted in (prediction.expression, *prediction.branches):
        assert torch.equal(predicted, torch.tensor([[1.0, 2.0]]).expand(12, 2))


CONFIGS = {
    "plain": TINY,
    "guided": GUIDED,
    "boundary asks": replace(GUIDED, guide_query="boundary"),
    "no line": replace(TINY, line=False),
    "cells alone": replace(TINY, neighbourhood_depth=0),
    "one block": replace(TINY, section_depth=1, radii_um=()),
    "backbone": replace(TINY, **TRAINED),
    "guided backbone": replace(GUIDED, **TRAINED),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_published_fault_heads_without_supervision(config):
    """The released BG-TRIPLEX trains neither the guided-neighbour nor the global head.

    Keys may be shifted alike without any change of attention: their bias alone has no
    gradient, by nature.
    """
    model, batch = network(config).train(), views()
    model.loss(model(batch), batch).backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    idle = [
        name
        for name, parameter in trained.items()
        if (parameter.grad is None or parameter.grad.abs().max() < 1e-7)
        and not name.endswith("to_keys.bias")
    ]
    assert idle == []
    assert all(parameter.grad is not None for parameter in trained.values())
    assert len(trained) > 50


@pytest.mark.parametrize("config", [TINY, GUIDED], ids=["plain", "guided"])
def test_published_fault_dropout_in_evaluation(config):
    model, batch = network(config), views()
    first = expression(model, batch)
    assert expression(model, batch).equal(first)
    assert not expression(model.train(), batch).equal(first)
    assert expression(model.eval(), batch).equal(first)
    model.train()
    looked = model.attention(batch)
    assert model.training
    again = model.eval().attention(batch)
    assert all(w.equal(vars(again)[name]) for name, w in vars(looked).items())


def test_published_fault_grid_of_the_first_section_kept():
    model, batch = network(), views()
    first = expression(model, batch)
    other = views("B", n_columns=2, n_rows=9, seed=5)
    alone = expression(network(), other)
    assert expression(model, other).equal(alone)
    assert expression(model, batch).equal(first)


def test_permuting_spots_permutes_predictions():
    batch, model = views(), network(GUIDED)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    shuffled = replace(
        batch.subset(order),
        queries=torch.arange(12),
        coords_um=batch.coords_um[order],
        features=batch.features[order],
    )
    expected = expression(model, batch)[order]
    torch.testing.assert_close(expression(model, shuffled), expected)


@pytest.mark.parametrize("config", [GUIDED, replace(GUIDED, **TRAINED)])
def test_a_prediction_does_not_depend_on_its_company(config):
    model, batch = network(config), views()
    together = expression(model, batch)
    alone = torch.cat([expression(model, batch.subset([row])) for row in range(12)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    some = expression(model, batch.subset([7, 2]))
    torch.testing.assert_close(some, together[[7, 2]], rtol=1e-4, atol=1e-5)


def test_a_prediction_depends_on_each_view():
    model, batch = network(), views()
    before = expression(model, batch)

    def moved(part):
        """Return which predictions change if the part of spot 5 does."""
        if part == "features":
            features = batch.features.clone()
            features[5] += 1
            changed = replace(batch, features=features)
        else:
            grid = batch.grids[part].clone()
            grid[5] += 1
            changed = replace(batch, grids={**batch.grids, part: grid})
        difference = (expression(model, changed) - before).abs().amax(dim=1)
        return difference > 1e-4

    only_fifth = torch.arange(12) == 5
    assert moved("spot").equal(only_fifth)
    assert moved("surroundings").equal(only_fifth)
    assert moved("features").all()  # all spots see it from afar


def test_what_lies_beyond_the_image_does_not_count():
    model, batch = network(), views()
    cells = batch.grids["surroundings"].clone()
    cells[batch.grids["inside"].expand_as(cells) == 0] = 9
    changed = replace(batch, grids={**batch.grids, "surroundings": cells})
    assert expression(model, changed).equal(expression(model, batch))
    of_changed = network(train=[changed]).neighbourhood.inputs
    assert of_changed.mean.equal(model.neighbourhood.inputs.mean)


def test_no_cell_on_the_image_leaves_a_number():
    batch = views()
    grids = {**batch.grids, "inside": torch.zeros(12, 1, 3, 3)}
    assert expression(network(), replace(batch, grids=grids)).isfinite().all()
    with pytest.raises(ValueError, match="there are no rows to learn components from"):
        network(train=[replace(batch, grids=grids)])


def stacked(first, second):
    """Return two sections as one stack, both at the same places."""
    both = {
        name: torch.cat([getattr(first, name), getattr(second, name)])
        for name in ("coords_um", "features", "targets", "patches")
    }
    return replace(
        first,
        sections=first.sections + second.sections,
        patients=first.patients + second.patients,
        section_index=torch.arange(2).repeat_interleave(12),
        queries=torch.arange(24),
        grids={n: torch.cat([g, second.grids[n]]) for n, g in first.grids.items()},
        **both,
    )


def test_sections_of_a_stack_do_not_see_each_other():
    first, second = views(), views("B", seed=2)
    model = network(GUIDED)
    both = stacked(first, second)
    alone = torch.cat([expression(model, first), expression(model, second)])
    torch.testing.assert_close(expression(model, both), alone)
    some = both.subset([3, 20])
    torch.testing.assert_close(expression(model, some), alone[[3, 20]])
    looks = model.attention(some).section
    of_second = model.attention(second.subset([8])).section[0]
    assert not looks[0, :, 12:].any()
    assert not looks[1, :, :12].any()
    torch.testing.assert_close(looks[1, :, 12:], of_second)


@pytest.mark.usefixtures("unchecked")  # for speed: the same steps many times
@pytest.mark.parametrize("config", [TINY, GUIDED], ids=["plain", "guided"])
def test_learns_one_small_section_by_heart(config):
    """Nothing here can be generalised: it must be told apart, spot by spot."""
    torch.manual_seed(0)
    batch = views()
    settings = {"dropout": 0.0, "line": False, "width": 16}
    model = Triplex(batch.targets.mean(dim=0).numpy(), replace(config, **settings))
    model.prepare([batch])
    optimizer = torch.optim.Adam(model.parameter_groups(1e-2))
    error = functional.mse_loss
    of_mean = error(model(batch).expression, batch.targets).item()
    for _ in range(90):
        optimizer.zero_grad()
        model.loss(model(batch), batch).backward()
        optimizer.step()
    prediction = model.eval()(batch)
    assert error(prediction.expression, batch.targets).item() < 0.05 * of_mean
    for branch in prediction.branches:
        assert error(branch, batch.targets).item() < 0.8 * of_mean
    if config.guided:
        assert all(gate != 0 for gate in model.gates().values())


@pytest.mark.parametrize("n_rows", [1, 2])
def test_section_of_one_spot_and_of_one_row(n_rows):
    batch = views("one", n_columns=1, n_rows=n_rows)
    model = network(GUIDED)
    assert expression(model, batch).isfinite().all()
    looks = model.attention(batch).section
    torch.testing.assert_close(looks.sum(dim=-1), torch.ones(n_rows, 2))


def test_mixed_precision_is_close_to_full():
    model, batch = network(GUIDED), views()
    full = expression(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(batch)
        loss = model.loss(mixed, batch)
    loss.backward()
    assert (mixed.expression - full).abs().max() < 0.05 * full.std()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        components = model.inputs.components(batch.features)
    assert components.equal(model.inputs.components(batch.features))


# Guidance.


@pytest.mark.parametrize("guide_query", ["image", "boundary"])
def test_with_gates_at_0_the_guided_model_is_triplex(guide_query):
    batch, plain = views(), network()
    guided = network(replace(GUIDED, guide_query=guide_query))
    missing, unexpected = guided.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert missing
    assert all(name.startswith("guides.") for name in missing)
    assert set(guided.gates()) == {
        f"{branch}, {name}"
        for branch in ("spot", "neighbourhood")
        for name in ("edges", "nuclei")
    }
    expected = expression(plain, batch)
    assert (expression(guided, batch) - expected).abs().max() > 1e-3
    gates = [p for name, p in guided.named_parameters() if ".gates." in name]
    for gate in gates:
        torch.nn.init.zeros_(gate)
    torch.testing.assert_close(expression(guided, batch), expected, rtol=0, atol=1e-6)
    for gate in gates:  # and each gate lets something through
        torch.nn.init.ones_(gate)
        assert (expression(guided, batch) - expected).abs().max() > 1e-3
        torch.nn.init.zeros_(gate)


def test_who_asks_makes_a_difference():
    image, boundary = network(GUIDED), network(CONFIGS["boundary asks"])
    boundary.load_state_dict(image.state_dict())
    batch = views()
    difference = expression(image, batch) - expression(boundary, batch)
    assert difference.abs().max() > 1e-3


def test_published_fault_edges_of_the_spot_from_somewhere_else():
    """Each map guides its own branch: the spot's its patch, the wide one the cells."""
    model, batch = network(GUIDED), views()
    before = model(batch)
    for view, moved, still in (
        ("spot", "spot", "neighbourhood"),
        ("surroundings", "neighbourhood", "spot"),
    ):
        name = f"{view}_boundaries"
        for channel in (0, 1):
            maps = batch.grids[name].clone()
            maps[:, channel] = 255 - maps[:, channel]
            after = model(replace(batch, grids={**batch.grids, name: maps}))
            assert (getattr(after, moved) - getattr(before, moved)).any()
            assert getattr(after, still).equal(getattr(before, still))
            assert after.section.equal(before.section)
    other = replace(batch, patches=255 - batch.patches)
    assert model(other).expression.equal(before.expression)


def test_blank_maps_say_the_same_of_every_spot():
    model, batch = network(GUIDED), views()
    blank = {
        name: torch.zeros_like(grid) if "boundaries" in name else grid
        for name, grid in batch.grids.items()
    }
    same = {name: grid[:1].expand_as(grid) for name, grid in blank.items()}
    spots = model(replace(batch, grids=same)).spot
    torch.testing.assert_close(spots, spots[:1].expand_as(spots))
    assert expression(model, replace(batch, grids=blank)).isfinite().all()


def test_maps_of_another_size_are_pooled_to_the_same_tokens():
    model, batch = network(GUIDED), views()
    name = "spot_boundaries"
    for side in (8, 31):
        maps = functional.interpolate(batch.grids[name].float(), side).to(torch.uint8)
        changed = replace(batch, grids={**batch.grids, name: maps})
        assert expression(model, changed).isfinite().all()
    tokens = model.guides["spot"].tokens["edges"]
    flat = torch.full((1, 40, 40), 255, dtype=torch.uint8)
    small, large = tokens(flat[:, :20, :20], 5), tokens(flat, 5)
    torch.testing.assert_close(small[:, 12], large[:, 12])  # away from the border


# The loss.


@pytest.mark.parametrize("config", [TINY, replace(TINY, guided=True)])
def test_condensed_batches_are_predicted_alike(config):
    batch = views()
    model = awake(network(config, train=[batch])).eval()
    small = model.condense(batch)
    assert small.features.shape[1] == 4 * config.n_components
    assert small.grids["spot"].shape[1] == config.n_components
    assert small.grids["inside"].equal(batch.grids["inside"])
    assert model.condense(small) is small
    assert expression(model, small).equal(expression(model, batch))
    turned = [b.subset([5, 2]).transformed(SYMMETRIES[3]) for b in (small, batch)]
    first, second = (expression(model, b) for b in turned)
    assert torch.allclose(first, second, atol=1e-6)


def test_a_model_that_does_not_ask_takes_plain_means():
    batch = views()
    model = network(replace(TINY, asks=False), train=[batch])
    looks = model.attention(batch)
    assert torch.allclose(looks.spot, torch.tensor(1 / 9))
    inside = batch.grids["inside"]
    expected = inside / inside.sum(dim=(2, 3), keepdim=True)
    assert torch.allclose(looks.neighbourhood, expected.expand_as(looks.neighbourhood))
    assert torch.allclose(looks.section, torch.tensor(1 / 12))
    step = torch.optim.AdamW(model.parameter_groups(0.1))
    model.loss(model(batch), batch).backward()
    step.step()
    assert torch.allclose(model.attention(batch).spot, torch.tensor(1 / 9))


def test_training_condenses_each_batch_once():
    train, validation = views("A"), views("B", seed=1)
    seen = []

    class Counted(Triplex):
        def condense(self, batch):
            if not batch.condensed:
                seen.append((batch.sections[0], batch.n_queries))
            return super().condense(batch)

    model = Counted(train.targets.mean(dim=0).double().numpy(), TINY)
    fit(
        model,
        [train],
        [validation],
        config=FitConfig(max_epochs=3, spots_per_step=4),
        progress=False,
        accelerator="cpu",
    )
    assert seen == [("A", 12), ("B", 12)]


def test_loss_by_hand():
    r"""1 + 0.7 · (2 + 1 + 4) + 0.3 · (1 + 0 + 1)."""
    fused = torch.tensor([[1.0], [1.0]], requires_grad=True)
    prediction = TriplexPrediction(
        fused,
        spot=torch.tensor([[0.0], [0.0]]),
        neighbourhood=torch.tensor([[1.0], [1.0]]),
        section=torch.tensor([[2.0], [0.0]]),
    )
    batch = replace(views(n_columns=2, n_rows=1), targets=torch.tensor([[0.0], [2.0]]))
    loss = network().loss(prediction, batch)
    assert loss.item() == pytest.approx(6.5)
    loss.backward()  # the branches do not pull at their teacher
    assert fused.grad.flatten().tolist() == [1.0, -1.0]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_branches_agree_with_what_distillation_says(share):
    model, batch = network(replace(TINY, distillation=share)), views()
    prediction = model(batch)
    goal = prediction.expression if share else batch.targets
    expected = functional.mse_loss(prediction.expression, batch.targets) + sum(
        functional.mse_loss(branch, goal) for branch in prediction.branches
    )
    assert model.loss(prediction, batch).item() == pytest.approx(expected.item())


# Groups of parameters.


def test_every_trained_parameter_is_in_one_group_at_its_rate():
    model = network(CONFIGS["guided backbone"])
    groups = model.parameter_groups(1e-3)
    rates = {id(p): g["lr"] for g in groups for p in g["params"]}
    assert sum(len(group["params"]) for group in groups) == len(rates)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert set(rates) == {id(parameter) for parameter in trained.values()}
    assert len(trained) < len(list(model.parameters()))  # two stages are frozen
    for name, parameter in trained.items():
        expected = 1e-3
        if name.startswith("backbone."):
            expected = 3e-4
        if ".gates." in name:
            expected = 1e-2
        assert rates[id(parameter)] == pytest.approx(expected), name
    (plain,) = network().parameter_groups(1e-3)
    assert plain["lr"] == pytest.approx(1e-3)


# Where it looks.


def test_attention_is_a_share_of_what_may_be_seen():
    model, batch = network(GUIDED), views()
    looks = model.attention(batch)
    assert looks.spot.shape == looks.neighbourhood.shape == (12, 2, 3, 3)
    assert looks.section.shape == (12, 2, 12)
    for weights in vars(looks).values():
        assert (weights >= 0).all()
        totals = weights.flatten(2).sum(dim=-1)
        torch.testing.assert_close(totals, torch.ones(12, 2))
    beyond = batch.grids["inside"].expand(12, 2, 3, 3) == 0
    assert beyond.any()
    assert not looks.neighbourhood[beyond].any()
    assert (looks.neighbourhood[~beyond] > 0).all()
    some = model.attention(batch.subset([4, 1]))
    for name, weights in vars(some).items():
        torch.testing.assert_close(weights, vars(looks)[name][[4, 1]])


def test_attention_is_what_the_prediction_was_made_with():
    """Weights × values give what the fused kernel returned within the prediction."""
    model, batch = network(GUIDED), views()
    calls = []
    watched = (model.fusion.attention, model.section.blocks[0].attention)
    hooks = [
        layer.register_forward_hook(lambda *call: calls.append(call))
        for layer in watched
    ]
    expression(model, batch)
    for hook in hooks:
        hook.remove()
    (_, (tokens,), of_section), *cross = calls
    looks = model.attention(batch)
    cases = [(watched[1], tokens[0], looks.section.transpose(0, 1), of_section[0])]
    for (layer, (_, context), found), weights in zip(
        cross, (looks.spot, looks.neighbourhood), strict=True
    ):
        cases.append((layer, context, weights.flatten(2)[:, :, None], found))
    with torch.inference_mode():
        for layer, context, weights, found in cases:
            values = layer.to_values(context).unflatten(-1, (2, 4)).transpose(-3, -2)
            joined = (weights @ values).transpose(-3, -2).flatten(-2)
            torch.testing.assert_close(layer.to_output(joined), found)


# Places.


def test_neighbours_on_a_square_lattice_by_hand():
    number, there = lattice_neighbours(lattice(3, 3))
    assert number[4].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert there[4].all()
    assert there[0].int().tolist() == [0, 0, 0, 0, 1, 1, 0, 1, 1]
    assert number[0].tolist() == [0, 0, 0, 0, 0, 1, 0, 3, 4]
    assert there.sum(dim=1).tolist() == [4, 6, 4, 6, 9, 6, 4, 6, 4]


def test_neighbours_beside_a_gap():
    places = lattice(3, 3)[[0, 2, 3, 4, 5, 6, 7, 8]]  # (1, 0) is missing
    number, there = lattice_neighbours(places)
    assert there[3].int().tolist() == [1, 0, 1, 1, 1, 1, 1, 1, 1]
    assert number[3].tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 7]


def test_neighbours_of_one_spot_and_of_two_in_one_place():
    number, there = lattice_neighbours(torch.zeros(1, 2))
    assert there.int().tolist() == [[0, 0, 0, 0, 1, 0, 0, 0, 0]]
    assert number.tolist() == [[0] * 9]
    number, there = lattice_neighbours(torch.zeros(2, 2))
    assert number[:, 4].tolist() == [0, 1]  # each is itself
    assert there.int().tolist() == [[0, 0, 0, 0, 1, 0, 0, 0, 0]] * 2
    number, there = lattice_neighbours(torch.cat([lattice(3, 3), lattice(3, 3)[:1]]))
    assert number[[0, 9], 4].tolist() == [0, 9]
    assert number[[0, 9], 5].tolist() == [1, 1]
    assert there[4].all()


@pytest.mark.parametrize(
    ("degrees", "found"),
    [(0, range(9)), (15, range(9)), (25, (1, 3, 4, 5, 7)), (30, (4,)), (45, range(9))],
)
def test_neighbours_on_a_lattice_that_is_turned(degrees, found):
    """The pitch stays, the axes do not turn: what is too far off is not seen."""
    angle = math.radians(degrees)
    turn = torch.tensor(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    )
    number, there = lattice_neighbours(lattice(5, 5) @ turn)
    assert there[12].nonzero().flatten().tolist() == list(found)
    straight, _ = lattice_neighbours(lattice(5, 5))
    around = [0, 1, 2, 5, 8, 7, 6, 3]  # the places about the spot, clockwise
    if degrees == 45:  # each neighbour is found one place further round
        straight[:, around] = straight[:, around].roll(1, dims=1)
    assert number[12, list(found)].equal(straight[12, list(found)])


def test_neighbours_on_a_hexagonal_lattice_are_those_of_the_row():
    rows, columns = np.divmod(np.arange(25), 5)
    places = 100 * np.column_stack([columns + rows % 2 / 2, rows * math.sqrt(3) / 2])
    number, there = lattice_neighbours(torch.from_numpy(places).float())
    assert there[12].nonzero().flatten().tolist() == [3, 4, 5]
    assert number[12, 3:6].tolist() == [11, 12, 13]


def test_neighbours_in_two_arrays_on_one_slide_stay_apart():
    shift = torch.tensor([3130.0, 47.0])
    both = torch.cat([lattice(3, 3), lattice(4, 2) + shift])
    number, there = lattice_neighbours(both)
    (first, of_first), (second, of_second) = (
        lattice_neighbours(lattice(3, 3)),
        lattice_neighbours(lattice(4, 2)),
    )
    assert there.equal(torch.cat([of_first, of_second]))
    assert number[:9].equal(first)
    assert number[9:].equal((second + 9) * of_second)


def test_grid_encoding_is_a_depthwise_convolution_on_a_whole_lattice():
    torch.manual_seed(0)
    encoding, tokens = GridEncoding(6), torch.randn(20, 6)
    torch.nn.init.normal_(encoding.bias)
    kernel = encoding.weights.T.reshape(6, 1, 3, 3)
    image = tokens.T.reshape(1, 6, 4, 5)  # four rows of five
    around = functional.conv2d(image, kernel, encoding.bias, padding=1, groups=6)
    expected = tokens + around[0].flatten(1).T
    torch.testing.assert_close(encoding(tokens, lattice(5, 4)), expected)


def test_disc_means_are_dense_means():
    random = torch.Generator().manual_seed(0)
    places, tokens = 900 * torch.rand(30, 2, generator=random), torch.eye(30)
    near = (torch.cdist(places, places) <= 250).float()
    expected = near / near.sum(dim=1, keepdim=True)
    torch.testing.assert_close(disc_means(tokens, places, 250.0), expected)
    alone = disc_means(tokens, places, 1e-3)
    assert alone.equal(tokens)
    neighbours = radius(places.double().numpy(), 250.0, self_loops=True).n_neighbours
    assert (expected > 0).sum(dim=1).tolist() == neighbours.tolist()


# Components.


@pytest.mark.parametrize("n_rows", [9, 200], ids=["fewer rows", "more rows"])
def test_components_are_those_of_scikit_learn(n_rows):
    random = np.random.default_rng(0)
    rows = random.normal(size=(n_rows, 12)) @ random.normal(size=(12, 12)) + 5
    ours = PrincipalComponents(4)
    ours.fit(torch.from_numpy(rows).float())
    found = ours(torch.from_numpy(rows).float()).numpy()
    standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    theirs = PCA(4, svd_solver="full").fit_transform(standard)
    theirs *= np.sqrt(theirs.size / (theirs**2).sum())
    signs = np.sign((found * theirs).sum(axis=0))
    np.testing.assert_allclose(found, theirs * signs, atol=1e-4)
    assert (found**2).mean() == pytest.approx(1, abs=1e-4)


def test_components_beyond_the_rank_are_0():
    rows = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    components = PrincipalComponents(5)
    components.fit(rows)
    found = components(rows)
    assert found.shape == (3, 5)
    assert not found[:, 2:].any()  # three rows span two directions about their mean
    assert (found[:, :2].abs().amax(dim=0) > 0.1).all()


@pytest.mark.parametrize("n_rows", [4, 1000], ids=["fewer rows", "more rows"])
def test_a_constant_feature_does_not_count(n_rows):
    """Rounding lets the mean of many 0.1 differ from 0.1, by far less than a scale."""
    rows = torch.randn(n_rows, 6, generator=torch.Generator().manual_seed(0))
    rows[:, 2] = 0.1
    components = PrincipalComponents(3)
    components.fit(rows)
    other = rows.clone()
    other[:, 2] = 0.7
    torch.testing.assert_close(components(other), components(rows))
    assert components(rows).abs().max() < 10


def test_rows_that_are_all_alike_have_no_components():
    components = PrincipalComponents(2)
    components.fit(torch.full((5, 3), 0.3))
    assert not components(torch.full((5, 3), 0.3)).any()


def test_many_rows_are_thinned(monkeypatch):
    monkeypatch.setattr("stlearnkit.models._components._MAX_ROWS", 10)
    rows = torch.randn(25, 3, generator=torch.Generator().manual_seed(0))
    thinned, components = PrincipalComponents(2), PrincipalComponents(2)
    thinned.fit(rows)
    components.fit(rows[::3])
    assert thinned.basis.equal(components.basis)


def test_components_make_room_for_what_is_loaded():
    trained, fresh = network(), Triplex.blank(2, TINY)
    fresh.load_state_dict(trained.state_dict())
    batch = views()
    assert expression(fresh.eval(), batch).equal(expression(trained, batch))
    elsewhere = PrincipalComponents(3).to("meta")
    with pytest.warns(UserWarning, match="meta parameter"):
        elsewhere.load_state_dict(trained.spot.inputs.state_dict())
    assert {buffer.device.type for buffer in elsewhere.buffers()} == {"meta"}
    assert elsewhere.basis.shape == (4, 3)


def test_preparation_sees_no_expression_and_not_only_the_first_section():
    first, second = views(), views("B", seed=1)
    without = [replace(batch, targets=None) for batch in (first, second)]
    both, blind = network(train=[first, second]), network(train=without)
    torch.testing.assert_close(both.state_dict(), blind.state_dict())
    features = torch.cat([first.features, second.features])
    torch.testing.assert_close(both.inputs.components.mean, features.mean(dim=0))
    maps = torch.cat([first.grids["spot"], second.grids["spot"]])
    torch.testing.assert_close(both.spot.inputs.mean, maps.mean(dim=(0, 2, 3)))


# What cannot be meant, or does not fit.


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_components": 0}, "n_components is 0, expected 1 or more"),
        ({"n_cells": 0}, "n_cells is 0, expected 1 or more"),
        ({"section_depth": 0}, "section_depth is 0, expected 1 or more"),
        ({"guide_width": 0}, "guide_width is 0, expected 1 or more"),
        ({"neighbourhood_depth": -1}, "neighbourhood_depth is -1, expected 0 or more"),
        ({"radii_um": (250.0, 0.0)}, r"radii_um is \(250\.0, 0\.0\), expected micro"),
        ({"radii_um": (math.nan,)}, r"radii_um is \(nan,\), expected micrometres"),
        ({"line_dropout": 1.0}, r"line_dropout is 1\.0, expected 0 to below 1"),
        ({"distillation": 1.5}, r"distillation is 1\.5, expected 0 to 1"),
        ({"guide_speed": 0.0}, r"guide_speed is 0\.0, expected above 0"),
        ({"backbone_speed": math.inf}, "backbone_speed is inf, expected above 0"),
    ],
)
def test_settings_that_cannot_be_meant(setting, message):
    with pytest.raises(ValueError, match=message):
        TriplexConfig(**setting)


@pytest.mark.usefixtures("unchecked")
def test_unknown_asker():
    with pytest.raises(ValueError, match="guide_query is 'map', expected 'image' or"):
        TriplexConfig(guide_query="map")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"width": 10, "n_heads": 4}, "width is 10 and n_heads 4, expected a multiple"),
        ({"dropout": 1.0}, r"dropout is 1\.0, expected 0 to below 1"),
        ({"expansion": 0}, "expansion is 0, expected 1 or more"),
    ],
)
def test_sizes_that_attention_refuses(setting, message):
    with pytest.raises(ValueError, match=message):
        Triplex(np.zeros(2), replace(TINY, **setting))


def without(batch, *names):
    return replace(
        batch, grids={n: g for n, g in batch.grids.items() if n not in names}
    )


@pytest.mark.parametrize("name", ["spot", "surroundings", "inside"])
@pytest.mark.parametrize("step", ["prepare", "forward", "attention"])
def test_missing_grid(name, step):
    batch = without(views(), name)
    model = network()
    calls = {"prepare": lambda: model.prepare([batch])}
    calls |= {
        "forward": lambda: model(batch),
        "attention": lambda: model.attention(batch),
    }
    message = rf"section 'A' has no grid '{name}', only \[.*ViewsRecipe\(\.\.\.\)"
    with pytest.raises(ValueError, match=message):
        calls[step]()


@pytest.mark.parametrize("view", ["spot", "surroundings"])
def test_missing_maps(view):
    name = f"{view}_boundaries"
    with pytest.raises(
        ValueError, match=rf"no grid '{name}', .*ViewsRecipe\(guides=GuideRecipe\(\)\)"
    ):
        network(GUIDED)(without(views(), name))
    assert expression(network(), without(views(), name)).isfinite().all()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda maps: maps[:, :1], r"1 channel\(s\) of torch\.uint8"),
        (lambda maps: maps / 255, r"2 channel\(s\) of torch\.float32"),
    ],
)
def test_maps_of_another_kind(change, found):
    batch = views()
    maps = change(batch.grids["spot_boundaries"])
    changed = replace(batch, grids={**batch.grids, "spot_boundaries": maps})
    with pytest.raises(ValueError, match=f"{found}, expected two of torch.uint8"):
        network(GUIDED)(changed)


@pytest.mark.parametrize("name", ["surroundings", "inside"])
def test_another_number_of_cells(name):
    batch = views()
    grid = torch.ones(12, 1, 5, 5)
    changed = replace(batch, grids={**batch.grids, name: grid})
    message = f"grid '{name}' of section 'A' has 5 cells a side, but n_cells .* is 3"
    with pytest.raises(ValueError, match=message):
        network()(changed)


def test_missing_features():
    lacking = replace(views(), features=None)
    with pytest.raises(ValueError, match="section 'A' has no features, by which the"):
        network()(lacking)
    with pytest.raises(ValueError, match="section 'A' has no features, by which the"):
        network().prepare([lacking])


def test_missing_patches_for_a_backbone():
    with pytest.raises(ValueError, match="section 'A' has no patches, which the backb"):
        network(CONFIGS["backbone"])(replace(views(), patches=None))


def test_another_encoder_than_in_training():
    with pytest.raises(ValueError, match=r"features have 7 columns, .* prepared for 6"):
        network()(views(n_features=7))


def test_a_model_that_was_not_prepared():
    model = Triplex(np.zeros(2), TINY)
    with pytest.raises(ValueError, match=r"prepared for 0.*model\.prepare\(train\)"):
        model(views())


def test_blank_model_has_the_same_parts_and_keeps_its_configuration():
    config = TriplexConfig(backbone="test_efficientnet")  # pretrained, not downloaded
    blank = Triplex.blank(2, config)
    assert blank.config == config
    trained = Triplex(np.zeros(2), replace(config, pretrained=False))
    assert blank.state_dict().keys() == trained.state_dict().keys()


@pytest.mark.parametrize("symmetry", SYMMETRIES[1:4])
def test_a_turned_section_is_another_look_at_the_same(symmetry):
    """Features stay, maps turn: what does not know directions says the same."""
    torch.manual_seed(0)
    model, batch = network(), views()
    torch.nn.init.zeros_(model.section.places.weights)
    torch.nn.init.zeros_(model.neighbourhood.bias.by_offset)
    turned = expression(model, batch.transformed(symmetry))
    torch.testing.assert_close(turned, expression(model, batch))
