"""Where the spots of a section lie to each other, for the section branch of TRIPLEX."""

__all__ = ["GridEncoding", "lattice_neighbours"]

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

_STEPS = np.array([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)])


def lattice_neighbours(
    coords_um: Float[torch.Tensor, "spots 2"],
) -> tuple[Int[torch.Tensor, "spots 9"], Bool[torch.Tensor, "spots 9"]]:
    """Find the spots a step to the left, above and so on, row by row, itself fifth.

    One step is the pitch: the median distance to the nearest other spot. The spot
    nearest to where one is looked for counts if it is less than half a pitch away. So
    spots that sit askew, gaps, and several arrays on one slide need no grid that they
    do not have.

    On a square lattice these are its 3 × 3 places, if it is turned by less than 20°
    against the axes; at about 30°, where all are just as far from two places, nothing
    is found but the spot itself. On a hexagonal lattice, as of Visium, two of six
    neighbours are found: those of the same row.

    Returns
    -------
    Number of the spot in each place, and whether there is one; where not, the number
    is 0.
    """
    places = coords_um.detach().cpu().double().numpy()
    tree = cKDTree(places)
    nearest = tree.query(places, k=2)[0][:, 1]  # infinite if there is no other
    pitch = float(np.median(nearest))
    if not np.isfinite(pitch):
        found = np.where((_STEPS == 0).all(axis=1), 0, 1)[None]
    else:
        wanted = places[:, None] + pitch * _STEPS
        found = tree.query(wanted, distance_upper_bound=pitch / 2)[1]
    found[:, 4] = np.arange(len(places))  # also where two spots sit in one place
    there = torch.from_numpy(found < len(places)).to(coords_um.device)
    number = torch.from_numpy(np.where(found < len(places), found, 0))
    return number.to(coords_um.device), there


class GridEncoding(torch.nn.Module):
    r"""Tell tokens where they lie, by mixing each with the spots around it.

    .. math:: x_i \leftarrow x_i + b + \sum_{k} w_k \odot x_{n_k(i)}

    over the nine places :math:`n_k(i)` of `lattice_neighbours`, empty places counting
    0: a depthwise 3 × 3 convolution on the array, and TRIPLEX's position encoding
    (APEG). At the border of the tissue places are empty, which is how a token learns
    how far inside it lies.

    The published code lays spots on a dense grid, which it keeps from the first section
    for all others; here every section is looked at anew, and none needs a grid.

    Parameters
    ----------
    width
        Numbers per token.

    References
    ----------
    Chung et al., "Accurate spatial gene expression prediction by integrating
    multi-resolution features", CVPR 2024.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.empty(9, width))
        torch.nn.init.normal_(self.weights, std=0.02)
        self.bias = torch.nn.Parameter(torch.zeros(width))

    def forward(
        self,
        tokens: Float[torch.Tensor, "spots features"],
        coords_um: Float[torch.Tensor, "spots 2"],
    ) -> Float[torch.Tensor, "spots features"]:
        """Add to each token what lies around it."""
        number, there = lattice_neighbours(coords_um)
        around = tokens[number] * there[:, :, None]
        return tokens + self.bias + (around * self.weights).sum(dim=1)
