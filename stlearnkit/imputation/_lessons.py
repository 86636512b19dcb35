"""How ASIGN is trained on the few sections that were observed."""

__all__ = ["part_of", "train"]

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Bool

if TYPE_CHECKING:  # torch is slow to import
    import torch

    from stlearnkit.models.asign import Asign3d, VolumeBatch

_MAX_GRADIENT, _WEIGHT_DECAY = 1.0, 0.01
_N_PARTS = 4  # of each section; a network learns from all but one


def train(
    model: "Asign3d",
    volumes: "Sequence[VolumeBatch]",
    *,
    n_steps: int,
    learning_rate: float,
) -> None:
    """Train on the queries of one volume after another, ever more slowly."""
    import torch

    optimizer = torch.optim.AdamW(
        model.parameter_groups(learning_rate), weight_decay=_WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    model.train()
    for step in range(n_steps):
        volume = volumes[step % len(volumes)]
        loss = model.loss(model(volume), volume)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRADIENT)
        optimizer.step()
        schedule.step()


def part_of(volume: "VolumeBatch", number: int) -> "Bool[torch.Tensor, ' queries']":
    """Return every fourth query from left to right, beginning with one of four.

    Raises
    ------
    ValueError
        If there are less than four.
    """
    import torch

    if volume.n_queries < _N_PARTS:
        raise ValueError(
            f"section {volume.sections[-1]!r} has {volume.n_queries} spots, expected "
            f"{_N_PARTS} or more to learn from."
        )
    order = volume.coords_um[volume.queries, 0].argsort(stable=True)
    part = torch.zeros(volume.n_queries, dtype=torch.bool)
    part[order[number % _N_PARTS :: _N_PARTS]] = True
    return part
