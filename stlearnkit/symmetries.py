"""Symmetries: the eight ways to lay a square on itself, for pictures and for places.

Tissue has no up and no left: a patch that is turned or mirrored is as good a patch.
Training on all eight is eight times as many pictures; predicting from all eight and
taking the mean makes a prediction that no quarter turn or mirroring can change.

Taught in the chapter "A first network".
"""

__all__ = ["SYMMETRIES", "Symmetry"]

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped


@dataclass(frozen=True)
class Symmetry:
    """One of the eight ways to lay a square on itself.

    It acts on pictures and on places alike, so that what lay beside a spot still does.

    Parameters
    ----------
    mirrored
        Swap left and right first.
    quarter_turns
        Then turn counter-clockwise, as seen on the screen, so many times: 0 to 3.

    Examples
    --------
    A quarter turn takes the right neighbour (x = 1) to the top (y = -1, as y points
    down):

    >>> turn = Symmetry(mirrored=False, quarter_turns=1)
    >>> turn.of_points(torch.tensor([[1.0, 0.0]]), torch.zeros(2)).tolist()
    [[0.0, -1.0]]
    >>> turn.of_images(torch.tensor([[1, 2], [3, 4]])).tolist()
    [[2, 4], [1, 3]]
    """

    mirrored: bool
    quarter_turns: int

    def of_images(
        self, images: Shaped[torch.Tensor, "... side side"]
    ) -> Shaped[torch.Tensor, "... side side"]:
        """Return square images mirrored and turned; the last two axes are y and x."""
        flipped = images.flip(-1) if self.mirrored else images
        return torch.rot90(flipped, self.quarter_turns, (-2, -1))

    def of_points(
        self,
        points: Float[torch.Tensor, "points 2"],
        centre: Float[torch.Tensor, " 2"],
    ) -> Float[torch.Tensor, "points 2"]:
        """Return points (x, y), y downwards, mirrored and turned about `centre`."""
        x, y = (points - centre).unbind(dim=1)
        x = -x if self.mirrored else x
        for _ in range(self.quarter_turns):
            x, y = y, -x
        return torch.stack([x, y], dim=1) + centre


SYMMETRIES = tuple(
    Symmetry(mirrored, turns) for mirrored in (False, True) for turns in range(4)
)
"""All eight, the one that changes nothing first."""
