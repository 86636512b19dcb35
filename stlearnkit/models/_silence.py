"""Attention that does not ask: the control that says what asking brings."""

__all__ = ["silence"]

from collections.abc import Iterator

import torch

from stlearnkit._pyg import quiet_import
from stlearnkit.models.attention import CrossBlock, MultiHeadAttention, RelativeBias

with quiet_import():
    from torch_geometric.nn import GATv2Conv


def silence(model: torch.nn.Module) -> None:
    """Keep all scores of a model's attentions at 0, for good: they become means.

    What only scores are made of gets no gradient any more and is frozen.
    """
    for module in model.modules():
        for parameter in _of_scores(module):
            torch.nn.init.zeros_(parameter)
            parameter.requires_grad = False


def _of_scores(module: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    """Yield what a layer makes its scores of, and nothing else."""
    if isinstance(module, MultiHeadAttention):
        yield from module.to_queries.parameters()
        yield from module.to_keys.parameters()
    elif isinstance(module, CrossBlock):
        yield from module.norm.parameters()
    elif isinstance(module, RelativeBias):
        yield from module.parameters()
    elif isinstance(module, GATv2Conv):
        yield module.att
        yield from module.lin_r.parameters()
        if module.lin_edge is not None:
            yield from module.lin_edge.parameters()
