"""Guidance: what tokens of edges and nuclei add to tokens of the image."""

__all__ = ["Guidance", "MapTokens"]

import math
from typing import cast

import torch
from jaxtyping import Float, UInt8

from stlearnkit.models.attention import CrossBlock
from stlearnkit.models.triplex._branches import as_tokens
from stlearnkit.models.triplex._config import TriplexConfig

MAPS = ("edges", "nuclei")


class MapTokens(torch.nn.Module):
    """Turn a map around each spot into a grid of tokens: a small convolutional network.

    Parameters
    ----------
    width
        Numbers per token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, width // 2, 5, stride=2, padding=2),
            torch.nn.GELU(),
            torch.nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
            torch.nn.GELU(),
        )

    def forward(
        self, maps: UInt8[torch.Tensor, "queries side side"], side_tokens: int
    ) -> Float[torch.Tensor, "queries tokens features"]:
        """Return a grid of tokens, of so many rows and columns, row by row."""
        found = self.layers(maps[:, None] / 255)
        return as_tokens(torch.nn.functional.adaptive_avg_pool2d(found, side_tokens))


class Guidance(torch.nn.Module):
    r"""Let edges and nuclei guide the tokens of one branch.

    .. math:: T' = T + \gamma_e\, H(T, E) + \gamma_m\, H(T, M)

    where :math:`H` is what a cross-attention block with its network makes of the
    tokens, less the tokens themselves. The gates :math:`\gamma` are learnt and start at
    0, so that training starts at TRIPLEX, and a gate that stays near 0 says that its
    map is of no use.

    Parameters
    ----------
    config
        Of the model.
    """

    def __init__(self, config: TriplexConfig) -> None:
        super().__init__()
        self.image_asks = config.guide_query == "image"
        self.tokens = torch.nn.ModuleDict(
            {name: MapTokens(config.guide_width) for name in MAPS}
        )
        self.widen = torch.nn.ModuleDict(
            {name: torch.nn.Linear(config.guide_width, config.width) for name in MAPS}
        )
        self.attend = torch.nn.ModuleDict({name: config.cross_block() for name in MAPS})
        self.gates = torch.nn.ParameterDict(
            {name: torch.nn.Parameter(torch.zeros(())) for name in MAPS}
        )

    def forward(
        self,
        tokens: Float[torch.Tensor, "queries tokens features"],
        maps: UInt8[torch.Tensor, "queries 2 side side"],
    ) -> Float[torch.Tensor, "queries tokens features"]:
        """Return the guided tokens."""
        guided, side = tokens, math.isqrt(tokens.shape[1])
        for number, name in enumerate(MAPS):
            asked = self.widen[name](self.tokens[name](maps[:, number], side))
            message = self._message(cast(CrossBlock, self.attend[name]), tokens, asked)
            guided = guided + self.gates[name] * message
        return guided

    def _message(
        self,
        block: CrossBlock,
        tokens: Float[torch.Tensor, "queries tokens features"],
        maps: Float[torch.Tensor, "queries tokens features"],
    ) -> Float[torch.Tensor, "queries tokens features"]:
        """Return what one map has to say to each token, at its place."""
        if self.image_asks:
            return block(tokens, maps) - tokens
        return block(maps, tokens)
