"""ST-Net: starts at the mean, looks at its own patch only, learns everywhere."""

import numpy as np
import pytest
import timm
import torch
import toys

from stlearnkit.batches import SectionBatch
from stlearnkit.models.cnn import STNet, STNetConfig


def test_starts_at_the_mean_profile():
    model = toys.network().eval()
    predicted = model(toys.batch()).expression
    assert torch.allclose(predicted, torch.tensor([1.5, 1.5, 3.0]).expand(20, 3))


def test_is_the_backbone_then_a_line():
    model = toys.network().eval()
    torch.nn.init.normal_(model.head.weight)
    patches = toys.batch().patches
    network = model.backbone.network
    config = timm.data.resolve_model_data_config(network)
    mean, std = (np.reshape(config[key], (3, 1, 1)) for key in ("mean", "std"))
    colours = torch.from_numpy((patches.numpy() / 255 - mean) / std).float()
    by_hand = network(colours) @ model.head.weight.T + model.head.bias
    assert torch.allclose(model.of_patches(patches), by_hand, atol=1e-5)


def test_a_prediction_does_not_depend_on_its_company():
    model = toys.network().train()
    model.dropout.eval()
    torch.nn.init.normal_(model.head.weight)
    batch = toys.batch()
    together = model(batch).expression
    alone = torch.cat([model(batch.subset([row])).expression for row in range(20)])
    assert torch.allclose(together, alone, atol=1e-4)


def test_training_leaves_the_statistics_of_batch_normalisation_alone():
    model = toys.network()
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" in k}
    model.train()(toys.batch())
    after = model.state_dict()
    assert before
    assert all(after[name].equal(value) for name, value in before.items())


def test_every_parameter_gets_a_gradient():
    model = toys.network()
    torch.nn.init.normal_(model.head.weight)
    batch = toys.batch()
    model.loss(model(batch), batch).backward()
    idle = [
        n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()
    ]
    assert idle == []


def test_loss_is_the_mean_squared_error():
    model = toys.network().eval()
    batch = toys.batch()
    expected = ((batch.targets - torch.tensor([1.5, 1.5, 3.0])) ** 2).mean()
    assert model.loss(model(batch), batch).item() == pytest.approx(expected.item())


def test_frozen_stages_are_the_first_and_get_no_gradient():
    model = toys.network(n_frozen_stages=2)
    trained = [
        n for n, p in model.backbone.network.named_parameters() if p.requires_grad
    ]
    assert trained
    assert not any(name.startswith(("conv_stem", "blocks.0")) for name in trained)
    backbone, head = model.parameter_groups(1e-3)
    assert len(backbone["params"]) == len(trained)
    assert (backbone["lr"], head["lr"]) == (1e-3, 3e-3)


def test_all_stages_frozen_leaves_a_linear_model():
    model = toys.network(n_frozen_stages=-1)
    (group,) = model.parameter_groups(1e-3)
    assert [tuple(p.shape) for p in group["params"]] == [
        (3, model.backbone.n_features),
        (3,),
    ]
    assert not any(p.requires_grad for p in model.backbone.parameters())


def test_too_many_frozen_stages():
    with pytest.raises(ValueError, match=r"n_frozen_stages is 99, but .* has \d+ stag"):
        toys.network(n_frozen_stages=99)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"dropout": 1.0}, r"dropout is 1\.0, expected 0 to below 1"),
        ({"head_speed": 0.0}, r"head_speed is 0\.0, expected above 0"),
        ({"n_frozen_stages": -2}, "n_frozen_stages is -2, expected -1 for all"),
    ],
)
def test_settings_that_cannot_be_meant(setting, message):
    with pytest.raises(ValueError, match=message):
        STNetConfig(**setting)


def test_batch_without_patches():
    batch = SectionBatch.of_section(toys.section(), toys.GENES)
    with pytest.raises(ValueError, match="section 'toy' has no patches, and STNet"):
        toys.network()(batch)


def test_blank_model_has_the_same_parts_and_keeps_its_configuration():
    config = STNetConfig(backbone="test_efficientnet")  # pretrained, not downloaded
    blank = STNet.blank(3, config)
    assert blank.config == config
    assert blank.state_dict().keys() == toys.network().state_dict().keys()


@pytest.mark.parametrize("backbone", ["test_vit", "test_resnet"])
def test_any_timm_network_serves(backbone):
    model = toys.network(backbone=backbone).eval()
    side = timm.data.resolve_model_data_config(model.backbone)["input_size"][-1]
    assert model(toys.batch(side=side, n_spots=2)).expression.shape == (2, 3)
