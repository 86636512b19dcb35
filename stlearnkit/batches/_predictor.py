"""What every model here is, and what it returns."""

__all__ = ["Prediction", "SpotPredictor"]

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float

from stlearnkit.batches._batch import SectionBatch


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of the queries of a batch.

    Models with several outputs extend it by named fields.
    """

    expression: Float[torch.Tensor, "queries genes"]
    """Predicted expression, on the scale of the targets."""


class SpotPredictor(torch.nn.Module, ABC):
    """What every model here is: it predicts the queries of a batch.

    `training.fit` trains any of them. It is built from the mean profile of the training
    spots and a configuration, ``Model(profile, config)``, and starts *at* that profile,
    so that whatever it learns is learnt on top of the simplest baseline.

    The prediction of a spot must depend on the section, never on which other spots
    happen to be asked for with it.
    """

    config_type: ClassVar[type]
    """The frozen dataclass of its configuration, all of whose fields JSON can hold.

    If it has a field `pretrained`, False spares the model reading pretrained weights.
    """
    config: Any
    """The configuration it was built with."""
    n_genes: int
    """Number of genes it predicts."""
    symmetric: bool = False
    """Whether a prediction is the same however the tissue is turned or mirrored, so
    that `training.predict` need look but once."""
    n_hops: int | None = None
    """How many times a graph network follows the edges of a batch: a large section is
    then trained on and predicted in blocks, see `SectionBatch.blocks`. None for all
    others, which need the whole section."""

    def prepare(self, train: Sequence[SectionBatch]) -> None:
        """Take from the training sections what is not learnt by gradients; nothing.

        `training.fit` calls it before the first step. A model of frozen features keeps
        here, as buffers, the scale of each: what they are worth to the first step
        should not depend on the encoder's units.
        """

    def condense(self, batch: SectionBatch) -> SectionBatch:
        """Return a batch with all that training does not change computed; as it is.

        `training.fit` and `training.predict` call it once for each batch, not at each
        step. `forward` takes batches as they were made, too.
        """
        return batch

    @abstractmethod
    def forward(self, batch: SectionBatch) -> Prediction:
        """Predict the queries of a batch."""

    def loss(self, prediction: Prediction, batch: SectionBatch) -> torch.Tensor:
        """Return what training makes small, a mean over queries; the squared error."""
        assert batch.targets is not None  # `training.fit` refuses such batches
        return torch.nn.functional.mse_loss(prediction.expression, batch.targets)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Return the parameters to train, in groups with a rate ``lr`` each."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return [{"params": trained, "lr": learning_rate}]

    @classmethod
    def blank(cls, n_genes: int, config: Any) -> "SpotPredictor":
        """Build the model for weights that are about to be loaded into it.

        Those that a network was pretrained with are not read: they would be replaced.

        Parameters
        ----------
        n_genes
            Number of genes it is to predict.
        config
            Its configuration.
        """
        pretrained = any(field.name == "pretrained" for field in fields(config))
        model = cls(
            np.zeros(n_genes),
            replace(config, pretrained=False) if pretrained else config,
        )
        model.config = config
        return model
