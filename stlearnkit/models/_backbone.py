"""A pretrained convolutional network that is trained on from patches."""

__all__ = ["Backbone"]

from typing import Any

import torch
from jaxtyping import Float, UInt8

from stlearnkit._weights import default_name, last_map, load_network


class Backbone(torch.nn.Module):
    """A timm network without its classifier, from bytes to features or maps.

    Batch normalisation keeps the statistics it was pretrained with, in training too:
    those of a step would be those of a few patches of one section, so that a spot's
    prediction would depend on its company, and on how a step is split over machines.

    Parameters
    ----------
    name
        As for `encoders.Encoder.load`; None for the encoder of the book.
    pretrained
        Start from its pretrained weights.
    n_frozen_stages
        Stages, counted from the image, that keep their weights; -1 freezes all.

    Raises
    ------
    ValueError
        If timm knows no such network, or it has fewer stages than are to be frozen.
    """

    network: Any
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, name: str | None, *, pretrained: bool, n_frozen_stages: int
    ) -> None:
        super().__init__()
        self.network = load_network(name or default_name(), pretrained=pretrained)
        self.network.to(memory_format=torch.channels_last)
        self._freeze_stages(n_frozen_stages)
        mean, std = _colour_statistics(self.network)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.train()

    @property
    def n_features(self) -> int:
        """Number of features, and of channels of its maps."""
        return int(self.network.num_features)

    def forward(
        self, patches: UInt8[torch.Tensor, "queries 3 side side"]
    ) -> Float[torch.Tensor, "queries features"]:
        """Return one row of features per picture."""
        return self.network(self._colours(patches))

    def maps(
        self, patches: UInt8[torch.Tensor, "queries 3 side side"]
    ) -> Float[torch.Tensor, "queries features height width"]:
        """Return the last map of each picture, before the mean over places."""
        return last_map(self.network, self._colours(patches))

    def train(self, mode: bool = True) -> "Backbone":
        """Switch to training or back; batch statistics stay as they are.

        Parameters
        ----------
        mode
            True to train.
        """
        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def _colours(
        self, patches: UInt8[torch.Tensor, "queries 3 side side"]
    ) -> Float[torch.Tensor, "queries 3 side side"]:
        """Return pictures as the network was trained to see them."""
        colours = (patches / 255 - self.mean) / self.std
        return colours.contiguous(memory_format=torch.channels_last)

    def _freeze_stages(self, wanted: int) -> None:
        """Take the first stages out of training.

        Raises
        ------
        ValueError
            If there are not so many.
        """
        from timm.models import group_parameters

        stages = group_parameters(self.network, self.network.group_matcher(coarse=True))
        if wanted > len(stages):
            raise ValueError(
                f"n_frozen_stages is {wanted}, but the backbone has {len(stages)} "
                f"stages. Give 0 to {len(stages)}, or -1 for all."
            )
        frozen = list(stages.values())[: len(stages) if wanted == -1 else wanted]
        for name in (name for stage in frozen for name in stage):
            self.network.get_parameter(name).requires_grad_(False)


def _colour_statistics(
    network: torch.nn.Module,
) -> tuple[Float[torch.Tensor, "3 1 1"], Float[torch.Tensor, "3 1 1"]]:
    """Return mean and standard deviation of each colour that the network expects."""
    from timm.data import resolve_model_data_config

    config = resolve_model_data_config(network)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    return mean, std
