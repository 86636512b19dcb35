"""Steps: which spots are trained on together, in which order, turned which way.

All is drawn from a seed and the number of the epoch, so that a run that was
interrupted, or is split over several processes, sees the same steps as any other.
"""

__all__ = ["Epoch", "Step", "plan_epoch"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from stlearnkit.batches import SectionBatch
from stlearnkit.symmetries import SYMMETRIES, Symmetry


@dataclass(frozen=True, eq=False)
class Step:
    """Spots of one section, turned together, from which one gradient is taken."""

    batch: int
    rows: Int[np.ndarray, " _"]
    symmetry: Symmetry


def plan_epoch(
    sizes: Sequence[int], spots_per_step: int, *, augment: bool, seed: int, epoch: int
) -> list[Step]:
    """Draw the steps of one epoch, in which every spot comes once.

    Parameters
    ----------
    sizes
        Number of queries of each batch.
    spots_per_step
        At most so many; the spots of a section are shared out evenly, so that no step
        is left with a few.
    augment
        Turn and mirror each step as one of the eight symmetries.
    seed, epoch
        Decide everything.
    """
    random = np.random.default_rng([seed, epoch])
    steps = []
    for batch, size in enumerate(sizes):
        n_steps = -(-size // spots_per_step)
        for rows in np.array_split(random.permutation(size), n_steps):
            drawn = int(random.integers(len(SYMMETRIES))) if augment else 0
            steps.append(Step(batch, rows, SYMMETRIES[drawn]))
    return [steps[index] for index in random.permutation(len(steps))]


class Epoch(torch.utils.data.Dataset):
    """The steps of one epoch, as one of `n_processes` sees them.

    Each process takes every n-th spot of each step. An item is the batch and the weight
    of its loss, chosen so that the mean of the gradients over processes is the gradient
    of the whole step even where the spots cannot be shared out evenly. A process for
    which none is left gets the first spot, with weight 0: the mean loss of no spots
    would be no number.
    """

    def __init__(
        self,
        batches: Sequence[SectionBatch],
        steps: Sequence[Step],
        *,
        process: int = 0,
        n_processes: int = 1,
    ) -> None:
        self.batches = batches
        self.steps = steps
        self.process = process
        self.n_processes = n_processes

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.steps)

    def __getitem__(self, index: int) -> tuple[SectionBatch, float]:
        """Return this process's share of a step, and the weight of its loss."""
        step = self.steps[index]
        rows = step.rows[self.process :: self.n_processes]
        weight = len(rows) * self.n_processes / len(step.rows)
        some = rows if len(rows) else step.rows[:1]
        batch = self.batches[step.batch].subset(torch.from_numpy(some))
        return batch.transformed(step.symmetry), weight
