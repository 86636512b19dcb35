"""Parts of a model that learn faster or slower than the rest."""

__all__ = ["groups_by_rate"]

from collections.abc import Mapping
from typing import Any

import torch


def groups_by_rate(
    model: torch.nn.Module, learning_rate: float, speeds: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return the trained parameters in groups, each with its rate.

    Parameters
    ----------
    model
        The whole model.
    learning_rate
        Of all that is not named.
    speeds
        By the name of a part, wherever in the model, its rate as a multiple of that.
    """
    groups: dict[str, list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        kind = next((word for word in speeds if word in name.split(".")), "")
        if parameter.requires_grad:
            groups.setdefault(kind, []).append(parameter)
    return [
        {"params": some, "lr": learning_rate * speeds.get(kind, 1.0)}
        for kind, some in groups.items()
    ]
