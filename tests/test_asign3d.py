"""ASIGN in 3D: what the published code got wrong, laws, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_asign import awake, lattice, section
from torch.nn import functional

from stlearnkit.models.asign import Asign3d, Asign3dConfig, VolumeBatch

TINY = Asign3dConfig(
    width=8, n_heads=2, n_components=5, n_tile_components=3, radii_um=(250.0,)
)
NAMES = ("A", "B", "C")


def sections():
    """Return three sections of 20 spots, 50 µm askew, at heights of 0, 16 and 48 µm."""
    made = []
    for number, (name, z_um) in enumerate(zip(NAMES, (0.0, 16.0, 48.0), strict=True)):
        flat = section(name, lattice(5, 4) + 50.0 * number, seed=number)
        coords_um = functional.pad(flat.coords_um[:, :2], (0, 1), value=z_um)
        made.append(replace(flat, coords_um=coords_um))
    return made


def network(config=TINY):
    """Return a model whose every part has a say, ready to predict."""
    torch.manual_seed(0)
    model = Asign3d(np.array([1.0, 2.0]), config)
    model.prepare(sections())
    return awake(model).eval()


def volume(model, known, hidden, **settings):
    """Return a volume of condensed sections."""
    known, hidden = [model.condense(b) for b in known], model.condense(hidden)
    settings = {"diameter_um": 500.0, "likeness": 1.0, **settings}
    return VolumeBatch.join(known, hidden, **settings)


def expression(model, batch):
    with torch.inference_mode():
        return model(batch).expression


def without_targets(batch):
    return replace(batch, targets=None)


# What the published code got wrong in three dimensions, one test each.


@pytest.mark.parametrize("train", [False, True])
def test_published_bug_labels_of_held_out_sections_take_part(train):
    """There the labels of hidden spots, and of their regions, were in the loss."""
    below, hidden, above = sections()
    model = network().train(train)
    other = replace(hidden, targets=hidden.targets + 7)
    predicted = []
    for each in (hidden, other, without_targets(hidden)):
        torch.manual_seed(0)  # of dropout
        predicted.append(model(volume(model, [below, above], each)))
    for one in predicted[1:]:
        assert torch.equal(one.expression, predicted[0].expression)
        for name, of_tile in one.of_tiles.items():
            assert torch.equal(of_tile, predicted[0].of_tiles[name])


def test_published_bug_the_loss_sees_spots_that_are_known():
    """There a quarter of the spots was revealed, and the loss was of all of them."""
    below, hidden, above = sections()
    model = network()
    batch = volume(model, [below, above], hidden)
    assert batch.queries.tolist() == list(range(40, 60))
    assert torch.equal(batch.targets, hidden.targets)
    assert batch.propagated.shape == (20, 2)
    said = model(batch)
    model.loss(said, batch).backward()
    assert model.gate.grad.abs().min() > 0


def test_published_bug_spots_of_one_section_get_edges_across():
    model = network()
    batch = volume(model, sections()[:2], sections()[2])
    ends = batch.section_index[batch.cross_index]
    assert batch.cross_index.shape[1] > 0
    assert (ends[0] != ends[1]).all()
    within = batch.section_index[batch.edges.index]
    assert (within[0] == within[1]).all()


def test_published_bug_weights_do_not_count_in_propagation():
    """Likeness changes what comes to a spot; and by hand, from one neighbour each."""
    model = network()
    below, hidden, _ = sections()
    by_place, by_looks = (
        volume(model, [below], hidden, likeness=power).propagated
        for power in (0.0, 4.0)
    )
    assert (by_place - by_looks).abs().max() > 0.1
    lone = volume(model, [below], hidden, diameter_um=100.0, likeness=0.0)
    assert lone.reached.all()
    torch.testing.assert_close(lone.propagated, below.targets)


def test_published_bug_spots_that_nothing_comes_to_start_at_zero():
    model = network()
    below, hidden, _ = sections()
    far = replace(hidden, coords_um=hidden.coords_um + torch.tensor([9000.0, 0, 0]))
    batch = volume(model, [below], far)
    assert not batch.reached.any()
    mean = below.targets.mean(dim=0)
    torch.testing.assert_close(batch.propagated, mean.expand(20, 2))
    assert torch.isfinite(expression(model, batch)).all()


def test_published_bug_predictions_depend_on_company():
    """There test batches were shuffled, with random edges among them."""
    model = network()
    below, hidden, above = sections()
    batch = volume(model, [below, above], hidden)
    whole = expression(model, batch)
    assert torch.equal(expression(model, batch), whole)
    some = replace(
        batch,
        queries=batch.queries[[3, 8]],
        propagated=batch.propagated[[3, 8]],
        reached=batch.reached[[3, 8]],
        targets=None,
    )
    torch.testing.assert_close(expression(model, some), whole[[3, 8]])


def test_published_bug_training_reveals_what_testing_hides():
    """Known are whole sections, in training as in prediction."""
    model = network()
    below, hidden, _ = sections()
    some = below.subset([0, 3])
    with pytest.raises(ValueError, match="'A' has targets of 2 of 20 spots, expected"):
        VolumeBatch.join(
            [model.condense(some)], model.condense(hidden), diameter_um=9, likeness=1
        )


class TestTwin:
    """A single known section, each spot predicted from the others."""

    def test_nothing_comes_to_a_spot_from_its_own_label(self):
        model = network()
        below = sections()[0]
        before = volume(model, [below], below)
        for spot in (0, 7, 19):
            labels = below.targets.clone()
            labels[spot] += 100
            after = volume(model, [replace(below, targets=labels)], below)
            told = (after.propagated - before.propagated).abs().amax(dim=1)
            assert told[spot] == 0
            assert told.max() > 1

    def test_no_spot_is_joined_to_itself(self):
        model = network()
        first, second, _ = sections()
        batch = volume(model, [second, first], first)
        of = batch.section_index[batch.cross_index]
        twins = (batch.cross_index[0] - batch.cross_index[1]).abs() == 20
        between = (of.sort(dim=0).values == torch.tensor([[1], [2]])).all(dim=0)
        assert not (twins & between).any()
        assert (between & ~twins).any()
        # Spots of the other section at the same place in the list are others.
        assert ((of.sum(dim=0) == 2) & (of[0] != of[1])).any()


def test_edges_know_overlap_likeness_and_height():
    model = network()
    below, hidden, above = sections()
    batch = volume(model, [below, above], hidden)
    source, target = batch.cross_index
    overlap, alike, rise = batch.cross_features.T
    unit = functional.normalize(batch.features, dim=1)
    torch.testing.assert_close(alike, (unit[source] * unit[target]).sum(dim=1))
    z_um = batch.coords_um[:, 2]
    torch.testing.assert_close(rise, (z_um[source] - z_um[target]) / 100)
    assert 0 < overlap.min() < overlap.max() < 1


def test_sections_hear_of_each_other():
    """What a known section looks like matters, unless sections are silent."""
    below, hidden, _ = sections()
    moved = replace(below, features=below.features.flip(0))
    for depth, matters in ((1, True), (0, False)):
        model = network(replace(TINY, cross_depth=depth))
        one, two = (volume(model, [b], hidden, likeness=0.0) for b in (below, moved))
        torch.testing.assert_close(one.propagated, two.propagated)
        apart = (expression(model, one) - expression(model, two)).abs().max()
        assert (apart > 1e-4) == matters


def test_gates_mix_labels_and_image_gene_by_gene():
    model = network()
    batch = volume(model, sections()[:1], sections()[1])
    with torch.no_grad():
        model.gate.copy_(torch.tensor([50.0, -50.0]))
    found = expression(model, batch)
    torch.testing.assert_close(found[:, 0], batch.propagated[:, 0])
    assert (found[:, 1] - batch.propagated[:, 1]).abs().min() > 1e-4
    torch.testing.assert_close(model.label_shares, torch.tensor([1.0, 0.0]))


def test_before_training_it_is_between_labels_and_profile():
    model = Asign3d(np.array([1.0, 2.0]), replace(TINY, gate=0.25))
    model.prepare(sections())
    batch = volume(model.eval(), sections()[:1], sections()[1])
    expected = 0.25 * batch.propagated + 0.75 * torch.tensor([1.0, 2.0])
    torch.testing.assert_close(expression(model, batch), expected)


def test_any_sections_may_be_known():
    model = network()
    a, b, c = sections()
    found = [
        expression(model, volume(model, known, without_targets(b)))
        for known in ([a], [c], [a, c], [c, a])
    ]
    assert all(torch.isfinite(each).all() for each in found)
    assert (found[0] - found[1]).abs().max() > 1e-3
    torch.testing.assert_close(found[2], found[3])


def test_known_spots_count_by_their_weights():
    model = network()
    below, hidden, _ = sections()
    only = np.zeros(20)
    only[6] = 1.0
    batch = volume(model, [below], hidden, weights=[only], diameter_um=2000.0)
    reached = batch.reached
    expected = below.targets[6].expand(int(reached.sum()), 2)
    assert reached.any()
    torch.testing.assert_close(batch.propagated[reached], expected)


def test_the_loss_counts_queries_by_their_weights():
    model = network(replace(TINY, tile_weight=0, consistency_weight=0))
    model.config = replace(model.config, correlation_weight=0)
    batch = volume(model, sections()[:1], sections()[1])
    said = model(batch)
    errors = (said.expression - batch.targets).square().mean(dim=1)
    torch.testing.assert_close(model.loss(said, batch), errors.mean())
    weights = torch.arange(20.0)
    weighted = replace(batch, spot_weights=weights)
    expected = (errors * weights).sum() / weights.sum()
    torch.testing.assert_close(model.loss(said, weighted), expected)


def test_every_parameter_is_trained():
    """Published: more than half of the weights never got a gradient."""
    model = network().train()
    batch = volume(model, sections()[:2], sections()[2])
    model.loss(model(batch), batch).backward()
    lacking = [n for n, p in model.named_parameters() if p.grad is None]
    assert not lacking
    groups = model.parameter_groups(0.1)
    assert sorted(group["lr"] for group in groups) == [0.1, 1.0]
    assert sum(len(group["params"]) for group in groups) == len([*model.parameters()])


def test_the_control_does_not_ask_across_sections():
    model = network(replace(TINY, asks=False))
    batch = volume(model, sections()[:1], sections()[1])
    (weights,) = model.across.weights(
        torch.randn(40, 2, 8), batch.cross_index, batch.cross_features
    )
    counts = torch.bincount(batch.cross_index[1], minlength=40)
    expected = (1 / counts[batch.cross_index[1]])[:, None].expand(-1, 2)
    torch.testing.assert_close(weights, expected)


def test_attention_is_that_of_the_whole_volume():
    model = network()
    below, hidden, _ = sections()
    moved = replace(below, features=below.features.flip(0))
    first, second = (
        model.attention(volume(model, [b], hidden)).neighbours[0]
        for b in (below, moved)
    )
    ends = model.attention(volume(model, [below], hidden)).edges
    assert (first - second)[ends[1] >= 20].abs().max() > 1e-5


def test_a_single_section_is_refused():
    model = network()
    with pytest.raises(ValueError, match=r"section 'A' is no volume: Asign3d looks at"):
        model(sections()[0])


def test_nothing_known_is_refused():
    with pytest.raises(ValueError, match="known is empty: give one measured section"):
        volume(network(), [], sections()[0])


def test_a_known_section_without_targets_is_refused():
    with pytest.raises(ValueError, match="'A' has targets of 0 of 20 spots, expected"):
        volume(network(), [without_targets(sections()[0])], sections()[1])


def test_likeness_below_0_is_refused():
    with pytest.raises(ValueError, match=r"likeness is -1\.0, expected 0 or more"):
        volume(network(), sections()[:1], sections()[1], likeness=-1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gate": 1.0}, r"gate is 1\.0, expected between 0 and 1"),
        ({"gate": 0.0}, r"gate is 0\.0, expected between 0 and 1"),
        ({"gate_speed": 0.0}, r"gate_speed is 0\.0, expected above 0"),
        ({"cross_depth": -1}, "cross_depth is -1, expected 0 or more"),
        ({"backbone": ""}, "backbone is '', but a volume has frozen features"),
        ({"width": 7}, "width is 7 and n_heads 4, expected a multiple"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Asign3dConfig(**settings)
