"""The whole of ASIGN in two dimensions."""

__all__ = ["Asign"]

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional

from stlearnkit.batches import Level, Prediction, SectionBatch, SpotPredictor
from stlearnkit.models._backbone import Backbone
from stlearnkit.models._rates import groups_by_rate
from stlearnkit.models._silence import silence
from stlearnkit.models._spots import SpotInputs, features, head, line, patches
from stlearnkit.models.asign import _needs as needs
from stlearnkit.models.asign._config import AsignConfig
from stlearnkit.models.asign._layers import (
    GraphLayers,
    TileBranch,
    TileLook,
    edge_features,
    mix_of,
)
from stlearnkit.models.asign._loss import correlation_loss
from stlearnkit.models.asign._outputs import AsignAttention, AsignPrediction


class Asign(SpotPredictor):
    """ASIGN in two dimensions.

    It predicts from frozen features, edges and tiles, which `recipes.GraphRecipe`
    makes. The whole section is computed at once, or in blocks that give the same: train
    it with `FitConfig(spots_per_step=...)` larger than a section, if memory allows.

    Parameters
    ----------
    profile
        Mean expression of the training spots; the prediction before training.
    config
        What to build.

    Examples
    --------
    >>> from stlearnkit.graphs import ScaleGraph, knn
    >>> coords_um = np.array([[100.0, 100.0], [300.0, 100.0], [500.0, 100.0]])
    >>> scales = ScaleGraph.build(coords_um, {"region": 350.0}, self_loops=True)
    >>> batch = SectionBatch(
    ...     ("A",), ("P",), ("ERBB2", "GNAS"), torch.zeros(3, dtype=torch.int64),
    ...     torch.tensor([[100.0, 100, 0], [300, 100, 0], [500, 100, 0]]),
    ...     torch.arange(3), features=torch.eye(3),
    ... ).with_graph(
    ...     knn(coords_um, 1, self_loops=True), scales, {"region": np.eye(2)}
    ... )
    >>> model = Asign(np.array([1.0, 2.0]), AsignConfig(width=8, levels=["region"]))
    >>> model.prepare([batch])
    >>> model.eval()(batch).expression.tolist()
    [[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]
    """

    config_type = AsignConfig

    def __init__(
        self, profile: Float[np.ndarray, " genes"], config: AsignConfig | None = None
    ) -> None:
        super().__init__()
        self.config = config = config or AsignConfig()
        self.n_genes = len(profile)
        self.symmetric = config.backbone is None  # features, distances and no more
        self.n_hops = max(config.depth, config.tile_depth if config.levels else 0)
        self.inputs = SpotInputs(config.n_components, config.radii_um)
        self.project = torch.nn.Linear(config.n_inputs, config.width)
        self.dropout = torch.nn.Dropout(config.dropout)
        names = config.levels
        self.tiles = torch.nn.ModuleDict({name: TileBranch(config) for name in names})
        self.looks = torch.nn.ModuleDict({name: TileLook(config) for name in names})
        self.graph = GraphLayers(config, config.depth)
        self.mix = mix_of(config, config.depth)
        self.backbone, self.picture = None, None
        if config.backbone is not None:
            self.backbone = Backbone(
                config.backbone or None,
                pretrained=config.pretrained,
                n_frozen_stages=config.n_frozen_stages,
            )
            self.picture = torch.nn.Linear(self.backbone.n_features, config.width)
        self.line = (
            line(config.n_inputs, self.n_genes, dropout=config.line_dropout)
            if config.line
            else None
        )
        self.heads = torch.nn.ModuleDict(
            {
                name: torch.nn.Sequential(
                    torch.nn.LayerNorm(config.width), head(config.width, profile)
                )
                for name in ("spot", *names)
            }
        )
        if not config.asks:
            silence(self)

    @torch.no_grad()
    def prepare(self, train: Sequence[SectionBatch]) -> None:
        """Learn the principal components of all frozen features.

        One projection serves all sections.

        Parameters
        ----------
        train
            The training sections.

        Raises
        ------
        ValueError
            If a batch lacks something that the model looks at.
        """
        self.inputs.fit(train)
        levels = [needs.levels(batch, self.config.levels) for batch in train]
        for name in self.config.levels:
            rows = torch.cat([of_batch[name].features for of_batch in levels])
            self._branch(name).components.fit(rows)

    @torch.no_grad()
    def condense(self, batch: SectionBatch) -> SectionBatch:
        """Return a batch of principal components in place of frozen features.

        Parameters
        ----------
        batch
            As `recipes.GraphRecipe` makes it, or condensed already.

        Raises
        ------
        ValueError
            If the batch lacks something that the model looks at, or was made with
            another encoder or other scales than those of training.
        """
        if batch.condensed:
            return batch
        found = needs.levels(batch, self.config.levels)
        return replace(
            batch,
            features=self.inputs(batch),
            levels=tuple(
                replace(level, features=self._branch(name).components(level.features))
                for name, level in found.items()
            ),
            condensed=True,
        )

    def forward(self, batch: SectionBatch) -> AsignPrediction:
        """Predict each query, from its whole section or block.

        Raises
        ------
        ValueError
            As for `condense`.
        """
        batch = self.condense(batch)
        inputs = features(batch)
        tokens, tiles = self._look(batch, self.dropout(self.project(inputs)))
        tokens = self._mixed(self._states(batch, tokens))
        if self.backbone is not None and self.picture is not None:
            seen = self.picture(self.backbone(patches(batch)))
            tokens = tokens.index_add(0, batch.queries, self.dropout(seen).to(tokens))
        predicted = self.heads["spot"](tokens).float()  # else half, if mixed
        if self.line is not None:
            predicted = predicted + self.line(inputs)
        said = {name: self.heads[name](tokens) for name, tokens in tiles.items()}
        levels = needs.levels(batch, self.config.levels)
        parents = {name: level.parents[batch.queries] for name, level in levels.items()}
        pooled = {name: _pooled(predicted, level) for name, level in levels.items()}
        return AsignPrediction(
            predicted[batch.queries],
            {name: said[name][tile] for name, tile in parents.items()},
            {name: pooled[name][tile] for name, tile in parents.items()},
        )

    def loss(self, prediction: Prediction, batch: SectionBatch) -> torch.Tensor:
        """Return the squared error and its companions; see the head of this room.

        A tile is trained on the expression of each query that it holds, which has the
        gradient of being trained on their mean, each tile by its number of queries. In
        a block, only spots within it count to the mean prediction of a tile.

        Parameters
        ----------
        prediction
            What the model said of the batch.
        batch
            The batch, with targets.
        """
        assert isinstance(prediction, AsignPrediction)
        assert batch.targets is not None  # `training.fit` refuses such batches
        config, error = self.config, partial(self._error, batch)
        total = error(prediction.expression, batch.targets)
        for name, of_tile in prediction.of_tiles.items():
            total = total + config.tile_weight * error(of_tile, batch.targets)
            apart = error(of_tile, prediction.in_tiles[name])
            total = total + config.consistency_weight * apart
        if config.correlation_weight:
            of_queries = batch.section_index[batch.queries]
            total = total + config.correlation_weight * correlation_loss(
                prediction.expression, batch.targets, of_queries
            )
        return total

    def _error(
        self,
        batch: SectionBatch,
        predicted: Float[torch.Tensor, "queries genes"],
        expected: Float[torch.Tensor, "queries genes"],
    ) -> torch.Tensor:
        """Return the mean squared error, in which all queries count alike."""
        return functional.mse_loss(predicted, expected)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Return a backbone, if there is one, and the rest.

        Parameters
        ----------
        learning_rate
            Of all but the backbone.
        """
        speeds = {"backbone": self.config.backbone_speed}
        return groups_by_rate(self, learning_rate, speeds)

    @torch.inference_mode()
    def attention(self, batch: SectionBatch) -> AsignAttention:
        """Return where the model looks, without dropout.

        Parameters
        ----------
        batch
            The section.

        Raises
        ------
        ValueError
            As for `condense`.
        """
        was_training = self.training
        self.eval()
        try:
            return self._looks(self.condense(batch))
        finally:
            self.train(was_training)

    def _branch(self, name: str) -> TileBranch:
        """Return the branch of a level."""
        return cast(TileBranch, self.tiles[name])

    def _look(
        self, batch: SectionBatch, tokens: Float[torch.Tensor, "spots features"]
    ) -> tuple[
        Float[torch.Tensor, "spots features"],
        dict[str, Float[torch.Tensor, "tiles features"]],
    ]:
        """Return the tokens of spots after they saw the tiles, and those of tiles."""
        tiles = {}
        for name, level in needs.levels(batch, self.config.levels).items():
            tiles[name] = self.tiles[name](level)
            tokens = self.looks[name](tokens, tiles[name], level)
        return tokens, tiles

    def _states(
        self, batch: SectionBatch, tokens: Float[torch.Tensor, "spots features"]
    ) -> Float[torch.Tensor, "spots _ features"]:
        """Return the states of spots before the first round of messages and after."""
        edges = needs.edges(batch)
        of_edges = edge_features(edges, features(batch))
        return self.graph(tokens, edges.index, of_edges)

    def _mixed(
        self, states: Float[torch.Tensor, "spots _ features"]
    ) -> Float[torch.Tensor, "spots features"]:
        """Return one token per spot from its states."""
        return states[:, -1] if self.mix is None else self.mix(states)

    def _looks(self, batch: SectionBatch) -> AsignAttention:
        """Return where the model, as it is, looks."""
        tokens, at_tiles = self.project(features(batch)), {}
        for name, level in needs.levels(batch, self.config.levels).items():
            tiles, look = self.tiles[name](level), cast(TileLook, self.looks[name])
            at_tiles[name] = look.weights(tokens, tiles, level)[batch.queries]
            tokens = look(tokens, tiles, level)
        edges = needs.edges(batch)
        of_edges = edge_features(edges, features(batch))
        states = self._states(batch, tokens)
        n_layers = states.shape[1]
        last = functional.one_hot(torch.tensor(n_layers - 1), n_layers).to(states)
        shape = (batch.n_queries, self.config.n_heads, n_layers)
        return AsignAttention(
            at_tiles,
            edges.index,
            self.graph.weights(states, edges.index, of_edges),
            last.expand(shape)
            if self.mix is None
            else self.mix.weights(states[batch.queries]),
        )


def _pooled(
    predicted: Float[torch.Tensor, "spots genes"], level: Level
) -> Float[torch.Tensor, "tiles genes"]:
    """Return the mean over the spots of each tile; 0 where there is none."""
    total = predicted.new_zeros(level.n_tiles, predicted.shape[1])
    n_members = torch.bincount(level.parents, minlength=level.n_tiles)
    total = total.index_add(0, level.parents, predicted)
    return total / n_members.clamp(min=1)[:, None]
