"""The whole of TRIPLEX, and of BG-TRIPLEX."""

__all__ = ["Triplex"]

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float

from stlearnkit.batches import Prediction, SectionBatch, SpotPredictor
from stlearnkit.models._backbone import Backbone
from stlearnkit.models._rates import groups_by_rate
from stlearnkit.models._silence import silence
from stlearnkit.models._spots import (
    SpotInputs,
    features,
    head,
    line,
    patches,
    sections,
)
from stlearnkit.models.attention import Block
from stlearnkit.models.triplex import _needs as needs
from stlearnkit.models.triplex._branches import (
    NeighbourhoodBranch,
    SectionBranch,
    SpotBranch,
    as_tokens,
)
from stlearnkit.models.triplex._config import TriplexConfig
from stlearnkit.models.triplex._guidance import Guidance
from stlearnkit.models.triplex._outputs import TriplexAttention, TriplexPrediction

_AT_A_TIME = 32  # patches in the backbone before training


class Triplex(SpotPredictor):
    """TRIPLEX; and BG-TRIPLEX, if its configuration says that it is guided.

    It predicts from frozen features, which `recipes.ViewsRecipe` makes; or trains a
    network on the patches of the spots, see `TriplexConfig.backbone`.

    Parameters
    ----------
    profile
        Mean expression of the training spots; the prediction before training.
    config
        What to build.

    Examples
    --------
    >>> random = torch.Generator().manual_seed(0)
    >>> batch = SectionBatch(
    ...     ("A",), ("P",), ("ERBB2", "GNAS"), torch.zeros(3, dtype=torch.int64),
    ...     200 * torch.eye(3), torch.arange(3),
    ...     features=torch.randn(3, 6, generator=random),
    ...     grids={
    ...         "spot": torch.randn(3, 4, 7, 7, generator=random),
    ...         "surroundings": torch.randn(3, 4, 5, 5, generator=random),
    ...         "inside": torch.ones(3, 1, 5, 5),
    ...     },
    ... )
    >>> model = Triplex(np.array([1.0, 2.0]), TriplexConfig(width=8))
    >>> model.prepare([batch])
    >>> model.eval()(batch).expression.tolist()
    [[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]
    """

    config_type = TriplexConfig

    def __init__(
        self, profile: Float[np.ndarray, " genes"], config: TriplexConfig | None = None
    ) -> None:
        super().__init__()
        self.config = config = config or TriplexConfig()
        self.n_genes = len(profile)
        self.backbone = None
        if config.backbone is not None:
            self.backbone = Backbone(
                config.backbone or None,
                pretrained=config.pretrained,
                n_frozen_stages=config.n_frozen_stages,
            )
        self.spot = SpotBranch(config)
        self.neighbourhood = NeighbourhoodBranch(config)
        self.inputs = SpotInputs(2 * config.n_components, config.radii_um)
        self.section = SectionBranch(config)
        self.fusion = config.cross_block()
        self.guides = torch.nn.ModuleDict(
            {name: Guidance(config) for name in ("spot", "neighbourhood")}
            if config.guided
            else {}
        )
        self.line = (
            line(config.n_inputs, self.n_genes, dropout=config.line_dropout)
            if config.line
            else None
        )
        names = ("spot", "neighbourhood", "section", "fused")
        self.norms = torch.nn.ModuleDict(
            {name: torch.nn.LayerNorm(config.width) for name in names}
        )
        self.heads = torch.nn.ModuleDict(
            {name: head(config.width, profile) for name in names}
        )
        if not config.asks:
            silence(self)

    @torch.no_grad()
    def prepare(self, train: Sequence[SectionBatch]) -> None:
        """Learn the principal components of all frozen features.

        Parameters
        ----------
        train
            The training sections.

        Raises
        ------
        ValueError
            If a batch lacks something that the model looks at.
        """
        side = self.config.n_cells
        maps = [
            as_tokens(self._spot_map(batch.subset(rows))).flatten(0, 1)
            for batch in train
            for rows in torch.arange(batch.n_queries).split(_AT_A_TIME)
        ]
        cells = [
            as_tokens(needs.surroundings(batch, side))[needs.inside(batch, side)]
            for batch in train
        ]
        self.spot.inputs.fit(torch.cat(maps))
        self.neighbourhood.inputs.fit(torch.cat(cells))
        self.inputs.fit(train)

    @torch.no_grad()
    def condense(self, batch: SectionBatch) -> SectionBatch:
        """Return a batch of principal components in place of frozen features.

        Parameters
        ----------
        batch
            As `recipes.ViewsRecipe` makes it, or condensed already.

        Raises
        ------
        ValueError
            If the batch lacks something that the model looks at, or was made with
            another encoder or other scales than those of training.
        """
        if batch.condensed:
            return batch
        cells = needs.surroundings(batch, self.config.n_cells)
        grids = {"surroundings": self.neighbourhood.inputs.of_maps(cells)}
        if self.backbone is None:
            grids["spot"] = self.spot.inputs.of_maps(needs.grid(batch, "spot"))
        return replace(
            batch,
            features=self.inputs(batch),
            grids={**batch.grids, **grids},
            condensed=True,
        )

    def forward(self, batch: SectionBatch) -> TriplexPrediction:
        """Predict each query from its three views.

        Raises
        ------
        ValueError
            As for `condense`.
        """
        batch = self.condense(batch)
        inside = needs.inside(batch, self.config.n_cells)
        spot, around, section = self._tokens(batch, inside)
        query = section[batch.queries][:, None]
        fused = self.fusion(query, spot)
        fused = fused + self.fusion(query, around, mask=inside[:, None, :])
        seen = inside[:, :, None] / inside.sum(dim=1).clamp(min=1)[:, None, None]
        of_branches = {
            "fused": self.norms["fused"](fused[:, 0]),
            "spot": self.norms["spot"](spot).mean(dim=1),
            "neighbourhood": (self.norms["neighbourhood"](around) * seen).sum(dim=1),
            "section": self.norms["section"](section[batch.queries]),
        }
        predicted = {name: self.heads[name](of_branches[name]) for name in of_branches}
        fused = predicted.pop("fused")
        if self.line is not None:
            fused = fused + self.line(features(batch)[batch.queries])
        return TriplexPrediction(fused, **predicted)

    def loss(self, prediction: Prediction, batch: SectionBatch) -> torch.Tensor:
        """Return the squared error, and how far the branches are off.

        Other than in the publication, branches are drawn to the fused prediction but
        not it to them.

        Parameters
        ----------
        prediction
            What the model said of the batch.
        batch
            The batch, with targets.
        """
        assert isinstance(prediction, TriplexPrediction)
        assert batch.targets is not None  # `training.fit` refuses such batches
        share = self.config.distillation
        error = torch.nn.functional.mse_loss
        teacher = prediction.expression.detach()
        total = error(prediction.expression, batch.targets)
        for branch in prediction.branches:
            total = total + (1 - share) * error(branch, batch.targets)
            total += share * error(branch, teacher)
        return total

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Return gates, which start at 0 and move faster, a backbone, and the rest.

        Parameters
        ----------
        learning_rate
            Of all but gates and backbone.
        """
        speeds = {
            "gates": self.config.guide_speed,
            "backbone": self.config.backbone_speed,
        }
        return groups_by_rate(self, learning_rate, speeds)

    @torch.inference_mode()
    def attention(self, batch: SectionBatch) -> TriplexAttention:
        """Return where the model looks for each query, without dropout.

        Parameters
        ----------
        batch
            The section. Weights over all spots are kept for each query: take a few of
            a large section by `SectionBatch.subset`.

        """
        was_training = self.training
        self.eval()
        try:
            return self._looks(batch)
        finally:
            self.train(was_training)

    def gates(self) -> dict[str, float]:
        """Return how far each gate of the guidance is open, by branch and map."""
        return {
            f"{branch}, {name}": float(gate.detach())
            for branch, guide in self.guides.items()
            for name, gate in cast(Guidance, guide).gates.items()
        }

    def _looks(self, batch: SectionBatch) -> TriplexAttention:
        """Return where the model, as it is, looks for each query."""
        batch = self.condense(batch)
        inside = needs.inside(batch, self.config.n_cells)
        spot, around, section = self._tokens(batch, inside)
        query = self.fusion.norm(section[batch.queries][:, None])
        looks = []
        for tokens, seen in ((spot, None), (around, inside[:, None, :])):
            _, weights = self.fusion.attention(
                query, self.fusion.norm_context(tokens), mask=seen, return_weights=True
            )
            side = math.isqrt(weights.shape[-1])
            looks.append(weights[:, :, 0].unflatten(-1, (side, side)))
        of_spot, of_cells = looks
        return TriplexAttention(of_spot, of_cells, self._section_attention(batch))

    def _tokens(
        self, batch: SectionBatch, inside: Bool[torch.Tensor, "queries tokens"]
    ) -> tuple[
        Float[torch.Tensor, "queries _ features"],
        Float[torch.Tensor, "queries tokens features"],
        Float[torch.Tensor, "spots features"],
    ]:
        """Return the tokens of the three views, guided where the model is."""
        maps = self._spot_map(batch)  # of components by now, if it is frozen
        spot = self.spot(
            maps if self.backbone is None else self.spot.inputs.of_maps(maps)
        )
        cells = needs.surroundings(batch, self.config.n_cells)
        around = self.neighbourhood(cells, inside)
        if self.guides:
            spot = self.guides["spot"](spot, needs.boundaries(batch, "spot"))
            maps = needs.boundaries(batch, "surroundings")
            around = self.guides["neighbourhood"](around, maps)
        inputs = features(batch)
        section = inputs.new_empty(batch.n_spots, self.config.width)
        for own in sections(batch):
            tokens = self.section(inputs[own], batch.coords_um[own, :2])
            section[own] = tokens.float()  # else half, where precision is mixed
        return spot, around, section

    def _section_attention(
        self, batch: SectionBatch
    ) -> Float[torch.Tensor, "queries heads spots"]:
        """Return the weights of the first block of the section branch."""
        inputs = features(batch)
        shape = (batch.n_queries, self.config.n_heads, batch.n_spots)
        weights = batch.coords_um.new_zeros(shape)
        for own in sections(batch):
            block = cast(Block, self.section.blocks[0])
            tokens = block.norm(self.section.tokens(inputs[own]))[None]
            asked = own[batch.queries]
            rows = (own.cumsum(0) - 1)[batch.queries[asked]]
            _, of_own = block.attention(tokens[:, rows], tokens, return_weights=True)
            spread = weights.new_zeros(len(rows), *shape[1:])
            spread[:, :, own] = of_own[0].transpose(0, 1)
            weights[asked] = spread
        return weights

    def _spot_map(
        self, batch: SectionBatch
    ) -> Float[torch.Tensor, "queries features height width"]:
        """Return each query's map as the encoder, or the own network, gives it."""
        if self.backbone is None:
            return needs.grid(batch, "spot")
        return self.backbone.maps(patches(batch))
