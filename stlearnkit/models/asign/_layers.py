"""What ASIGN is built of: graph attention, looks at tiles, a choice of layers."""

__all__ = [
    "GraphLayers",
    "LayerMix",
    "TileBranch",
    "TileLook",
    "edge_features",
    "mix_of",
]

import torch
from jaxtyping import Bool, Float, Int
from torch.nn import functional

from stlearnkit._pyg import quiet_import
from stlearnkit.batches import Edges, Level
from stlearnkit.models._components import PrincipalComponents
from stlearnkit.models.asign._config import AsignConfig
from stlearnkit.models.attention import Block, CrossBlock

with quiet_import():
    from torch_geometric.nn import GATv2Conv


def edge_features(
    edges: Edges, inputs: Float[torch.Tensor, "_ features"]
) -> Float[torch.Tensor, "edges 2"]:
    """Return of each edge its length, and how alike the image is at both ends.

    The length as ln(1 + length / 100 µm); likeness is the cosine of the inputs, 1 for
    self-loops.
    """
    sources, targets = edges.index
    unit = functional.normalize(inputs, dim=1)
    alike = (unit[sources] * unit[targets]).sum(dim=1)
    return torch.stack([torch.log1p(edges.lengths_um / 100), alike], dim=1)


class GraphLayers(torch.nn.Module):
    """Rounds of messages between nodes, by attention over the edges to each.

    A node keeps its state and adds what its neighbours say, so that nothing is lost
    however deep the stack, and one without edges stays as it is but for a constant.

    Parameters
    ----------
    config
        Of the model.
    depth
        Number of rounds.
    n_edge_features
        How many numbers are known of each edge.
    """

    def __init__(
        self, config: AsignConfig, depth: int, n_edge_features: int = 2
    ) -> None:
        super().__init__()
        width, n_heads = config.width, config.n_heads
        self.norms = torch.nn.ModuleList(
            torch.nn.LayerNorm(width) for _ in range(depth)
        )
        self.layers = torch.nn.ModuleList(
            GATv2Conv(
                width,
                width // n_heads,
                n_heads,
                add_self_loops=False,
                edge_dim=n_edge_features,
            )
            for _ in range(depth)
        )
        self.dropout = torch.nn.Dropout(config.dropout)

    def forward(
        self,
        tokens: Float[torch.Tensor, "_ features"],
        index: Int[torch.Tensor, "2 edges"],
        of_edges: Float[torch.Tensor, "edges _"],
    ) -> Float[torch.Tensor, "_ _ features"]:
        """Return the states of all nodes before the first round and after each."""
        states = [tokens]
        for norm, layer in zip(self.norms, self.layers, strict=True):
            heard = layer(norm(states[-1]), index, of_edges)
            states.append(states[-1] + self.dropout(heard))
        return torch.stack(states, dim=1)

    def weights(
        self,
        states: Float[torch.Tensor, "_ _ features"],
        index: Int[torch.Tensor, "2 edges"],
        of_edges: Float[torch.Tensor, "edges _"],
    ) -> tuple[Float[torch.Tensor, "edges heads"], ...]:
        """Return the weight of each edge in each round, given the states before it."""
        found = []
        for number, (norm, layer) in enumerate(
            zip(self.norms, self.layers, strict=True)
        ):
            _, (_, weights) = layer(
                norm(states[:, number]), index, of_edges, return_attention_weights=True
            )
            found.append(weights)
        return tuple(found)


class LayerMix(torch.nn.Module):
    """One token of each node from its states in all layers, which attend to each other.

    States of one node are the sequence, nodes are the batch: no node sees another here.
    Such a choice among layers is called jumping knowledge.

    Parameters
    ----------
    config
        Of the model.
    depth
        Number of layers; there is one state more.

    References
    ----------
    Xu et al., "Representation learning on graphs with jumping knowledge networks",
    ICML 2018.
    """

    def __init__(self, config: AsignConfig, depth: int) -> None:
        super().__init__()
        self.places = torch.nn.Parameter(torch.empty(depth + 1, config.width))
        torch.nn.init.normal_(self.places, std=0.02)
        self.block = Block(
            config.width,
            config.n_heads,
            expansion=config.expansion,
            dropout=config.dropout,
        )

    def forward(
        self, states: Float[torch.Tensor, "_ _ features"]
    ) -> Float[torch.Tensor, "_ features"]:
        """Return the mean of the states after they have seen each other."""
        return self.block(states + self.places).mean(dim=1)

    def weights(
        self, states: Float[torch.Tensor, "_ _ features"]
    ) -> Float[torch.Tensor, "_ heads _"]:
        """Return how much each state is looked at, as the mean over those that look."""
        tokens = self.block.norm(states + self.places)
        _, weights = self.block.attention(tokens, return_weights=True)
        return weights.mean(dim=2)


def mix_of(config: AsignConfig, depth: int) -> LayerMix | None:
    """Return what mixes the states of all layers, if there is more than one state."""
    return LayerMix(config, depth) if config.all_layers and depth else None


class TileLook(torch.nn.Module):
    """Let spots look at the tiles around them, nearer ones perhaps more.

    Parameters
    ----------
    config
        Of the model.
    """

    def __init__(self, config: AsignConfig) -> None:
        super().__init__()
        self.slopes = torch.nn.Parameter(torch.zeros(config.n_heads))
        self.slopes.requires_grad_(config.asks)
        self.block = CrossBlock(
            config.width,
            config.n_heads,
            expansion=config.expansion,
            dropout=config.dropout,
        )

    def forward(
        self,
        tokens: Float[torch.Tensor, "spots features"],
        tiles: Float[torch.Tensor, "tiles features"],
        level: Level,
    ) -> Float[torch.Tensor, "spots features"]:
        """Return the tokens of spots with what they saw added."""
        context, bias, seen = self._context(tiles, level)
        return self.block(tokens[:, None], context, bias=bias, mask=seen)[:, 0]

    def weights(
        self,
        tokens: Float[torch.Tensor, "spots features"],
        tiles: Float[torch.Tensor, "tiles features"],
        level: Level,
    ) -> Float[torch.Tensor, "spots heads neighbours"]:
        """Return how much each spot looks at each tile."""
        context, bias, seen = self._context(tiles, level)
        _, weights = self.block.attention(
            self.block.norm(tokens[:, None]),
            self.block.norm_context(context),
            bias=bias,
            mask=seen,
            return_weights=True,
        )
        return weights[:, :, 0]

    def _context(
        self, tiles: Float[torch.Tensor, "tiles features"], level: Level
    ) -> tuple[
        Float[torch.Tensor, "spots neighbours features"],
        Float[torch.Tensor, "spots heads 1 neighbours"],
        Bool[torch.Tensor, "spots 1 neighbours"],
    ]:
        """Return the tiles around each spot, their bias, and which there are."""
        steps = level.distances_um / level.side_um
        bias = self.slopes[:, None, None] * steps[:, None, None, :]
        seen = (level.nearest >= 0)[:, None, :]
        return tiles[level.nearest.clamp(min=0)], bias, seen


class TileBranch(torch.nn.Module):
    """The tiles of one level as tokens that exchange messages with those they touch.

    Parameters
    ----------
    config
        Of the model.
    """

    def __init__(self, config: AsignConfig) -> None:
        super().__init__()
        self.components = PrincipalComponents(config.n_tile_components)
        self.project = torch.nn.Linear(config.n_tile_components, config.width)
        self.dropout = torch.nn.Dropout(config.dropout)
        self.graph = GraphLayers(config, config.tile_depth)
        self.mix = mix_of(config, config.tile_depth)

    def forward(self, level: Level) -> Float[torch.Tensor, "tiles features"]:
        """Return one token for each tile of a condensed level."""
        tokens = self.dropout(self.project(level.features))
        of_edges = edge_features(level.edges, level.features)
        states = self.graph(tokens, level.edges.index, of_edges)
        return states[:, -1] if self.mix is None else self.mix(states)
