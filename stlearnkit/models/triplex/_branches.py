"""The three looks of TRIPLEX: into the spot, around it, and over the section."""

__all__ = [
    "NeighbourhoodBranch",
    "SectionBranch",
    "SpotBranch",
    "as_tokens",
]

import torch
from jaxtyping import Bool, Float, Shaped

from stlearnkit.models._components import PrincipalComponents
from stlearnkit.models.attention import RelativeBias
from stlearnkit.models.triplex._config import TriplexConfig
from stlearnkit.models.triplex._places import GridEncoding


def as_tokens(
    maps: Shaped[torch.Tensor, "queries features _ _"],
) -> Shaped[torch.Tensor, "queries _ features"]:
    """Lay the places of each map in a row, row by row of the map."""
    return maps.flatten(2).mT


class SpotBranch(torch.nn.Module):
    """The places within the patch of a spot, each as a token.

    Parameters
    ----------
    config
        Of the model.
    """

    def __init__(self, config: TriplexConfig) -> None:
        super().__init__()
        self.inputs = PrincipalComponents(config.n_components)
        self.project = torch.nn.Linear(config.n_components, config.width)
        self.dropout = torch.nn.Dropout(config.dropout)

    def forward(
        self, maps: Float[torch.Tensor, "queries _ _ _"]
    ) -> Float[torch.Tensor, "queries tokens _"]:
        """Return one token for each place of a map of components."""
        return self.dropout(self.project(as_tokens(maps)))


class NeighbourhoodBranch(torch.nn.Module):
    """The patches around a spot as tokens that attend to each other.

    What lies at which distance is told apart by a bias for each offset; cells beyond
    the image are not seen.

    Parameters
    ----------
    config
        Of the model.
    """

    def __init__(self, config: TriplexConfig) -> None:
        super().__init__()
        self.inputs = PrincipalComponents(config.n_components)
        self.project = torch.nn.Linear(config.n_components, config.width)
        self.dropout = torch.nn.Dropout(config.dropout)
        # Without blocks nothing would train it.
        self.bias = (
            RelativeBias((config.n_cells, config.n_cells), config.n_heads)
            if config.neighbourhood_depth
            else None
        )
        self.blocks = torch.nn.ModuleList(
            config.block() for _ in range(config.neighbourhood_depth)
        )

    def forward(
        self,
        maps: Float[torch.Tensor, "queries _ _ _"],
        inside: Bool[torch.Tensor, "queries tokens"],
    ) -> Float[torch.Tensor, "queries tokens _"]:
        """Return one token for each cell of a map of components.

        `inside` says which cells lie on the image.
        """
        tokens = self.dropout(self.project(as_tokens(maps)))
        bias = None if self.bias is None else self.bias()
        for block in self.blocks:
            tokens = block(tokens, bias=bias, mask=inside[:, None, :])
        return tokens


class SectionBranch(torch.nn.Module):
    """All spots of a section as tokens that attend to each other.

    The first block is followed by the position encoding.

    Parameters
    ----------
    config
        Of the model.
    """

    def __init__(self, config: TriplexConfig) -> None:
        super().__init__()
        self.project = torch.nn.Linear(config.n_inputs, config.width)
        self.dropout = torch.nn.Dropout(config.dropout)
        self.blocks = torch.nn.ModuleList(
            config.block() for _ in range(config.section_depth)
        )
        self.places = GridEncoding(config.width)

    def forward(
        self,
        inputs: Float[torch.Tensor, "spots features"],
        coords_um: Float[torch.Tensor, "spots 2"],
    ) -> Float[torch.Tensor, "spots _"]:
        """Return one token for each spot of one section."""
        tokens = self.tokens(inputs)
        for number, block in enumerate(self.blocks):
            tokens = block(tokens[None])[0]
            if number == 0:
                tokens = self.places(tokens, coords_um)
        return tokens

    def tokens(
        self, inputs: Float[torch.Tensor, "spots features"]
    ) -> Float[torch.Tensor, "spots _"]:
        """Return the tokens before they have seen each other.

        Parameters
        ----------
        inputs
            Of one section, or of several.
        """
        return self.dropout(self.project(inputs))
