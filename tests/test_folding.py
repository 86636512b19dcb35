"""Folding of batch normalisation: the same features, in fewer steps."""

import pytest
import timm
import torch
from torch.nn import BatchNorm2d, Conv2d, Flatten, Module, ReLU, Sequential

from stlearnkit.encoders import random_encoder
from stlearnkit.encoders._folding import fold_normalisation


def n_norms(network):
    return sum(isinstance(part, BatchNorm2d) for part in network.modules())


def as_if_trained(network, seed=0):
    """Give all normalisations statistics and weights of their own."""
    random = torch.Generator().manual_seed(seed)
    for part in network.modules():
        if isinstance(part, BatchNorm2d) and part.running_mean is not None:
            part.running_mean.normal_(0, 0.5, generator=random)
            part.running_var.uniform_(0.5, 2, generator=random)
            if part.affine:
                part.weight.data.uniform_(0.5, 1.5, generator=random)
                part.bias.data.normal_(0, 0.5, generator=random)
    return network.eval().requires_grad_(requires_grad=False)


def test_by_hand():
    convolution, norm = Conv2d(1, 1, 1), BatchNorm2d(1, eps=0.0)
    convolution.weight.data[:], convolution.bias.data[:] = 3.0, 1.0
    norm.running_mean[:], norm.running_var[:] = 2.0, 4.0
    norm.weight.data[:], norm.bias.data[:] = 6.0, 5.0
    network = Sequential(Conv2d(3, 1, 1), convolution, norm).eval()
    folded = fold_normalisation(network, 4)
    # (3 x + 1 - 2) / 2 * 6 + 5 = 9 x + 2
    assert folded[1].weight.item() == 9
    assert folded[1].bias.item() == 2
    assert convolution.weight.item() == 3


@pytest.mark.parametrize(
    "name", ["mobilenetv2_035", "test_resnet", "test_efficientnet", "regnety_002"]
)
def test_a_folded_network_gives_the_same_features(name):
    torch.manual_seed(0)
    network = as_if_trained(timm.create_model(name, pretrained=False, num_classes=0))
    folded = fold_normalisation(network, 64)
    assert n_norms(network) > 0
    assert n_norms(folded) == 0
    pictures = torch.randn(4, 3, 64, 64)
    for made in (lambda n: n(pictures), lambda n: n.forward_features(pictures)):
        torch.testing.assert_close(made(folded), made(network), rtol=1e-4, atol=1e-5)


def test_the_encoder_runs_the_folded_network_and_keeps_its_own():
    encoder = random_encoder(seed=0, device="cpu")
    fingerprint = encoder.fingerprint
    assert n_norms(encoder._folded) == 0
    assert n_norms(encoder.network) > 0
    assert encoder.fingerprint == fingerprint


class Twice(Module):
    """Uses what a convolution returns before and after normalisation."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = Conv2d(3, 4, 1), BatchNorm2d(4)

    def forward(self, pictures):
        made = self.convolution(pictures)
        return made + self.norm(made)


class Shared(Module):
    """Normalises two convolutions alike."""

    def __init__(self):
        super().__init__()
        self.one, self.other = Conv2d(3, 4, 1), Conv2d(3, 4, 1)
        self.norm = BatchNorm2d(4)

    def forward(self, pictures):
        return self.norm(self.one(pictures)) + self.norm(self.other(pictures))


@pytest.mark.parametrize(
    "network",
    [
        Twice(),
        Shared(),
        Sequential(BatchNorm2d(3), Conv2d(3, 4, 1)),
        Sequential(Conv2d(3, 4, 1), ReLU(), BatchNorm2d(4)),
        Sequential(Conv2d(3, 4, 1), BatchNorm2d(4, track_running_stats=False)),
        Sequential(Conv2d(3, 4, 1), Flatten()),
    ],
    ids=["used twice", "shared", "before", "after a step", "of the batch", "none"],
)
def test_a_network_that_cannot_be_folded_is_left_as_it_is(network):
    network = as_if_trained(network)
    assert fold_normalisation(network, 8) is network


def test_only_what_can_be_folded_is():
    network = as_if_trained(
        Sequential(Conv2d(3, 4, 1), BatchNorm2d(4), ReLU(), BatchNorm2d(4))
    )
    folded = fold_normalisation(network, 8)
    assert n_norms(folded) == 1
    pictures = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(folded(pictures), network(pictures))


def test_nothing_stays_attached_to_the_network():
    network = as_if_trained(Sequential(Conv2d(3, 4, 1), BatchNorm2d(4)))
    folded = fold_normalisation(network, 8)
    parts = [*network.modules(), *folded.modules()]
    assert not any(part._forward_hooks for part in parts)
