"""What TRIPLEX needs of a batch, or one clear word on what is missing."""

__all__ = [
    "boundaries",
    "grid",
    "inside",
    "surroundings",
]

import torch
from jaxtyping import Bool, Float, Num, UInt8

from stlearnkit.batches import SectionBatch


def grid(batch: SectionBatch, name: str) -> Num[torch.Tensor, "queries _ _ _"]:
    """Return a grid of the batch.

    Raises
    ------
    ValueError
        If it has none of that name.
    """
    if name not in batch.grids:
        how = "guides=GuideRecipe()" if name.endswith("boundaries") else "..."
        raise ValueError(
            f"the batch of section {batch.sections[0]!r} has no grid {name!r}, only "
            f"{sorted(batch.grids)}. Make it by recipes.ViewsRecipe({how})."
        )
    return batch.grids[name]


def surroundings(
    batch: SectionBatch, n_cells: int
) -> Float[torch.Tensor, "queries features side side"]:
    """Return the features of the cells around each query.

    Raises
    ------
    ValueError
        If there are none, or not so many cells a side.
    """
    return _of_side(batch, "surroundings", n_cells)


def inside(batch: SectionBatch, n_cells: int) -> Bool[torch.Tensor, "queries tokens"]:
    """Return which cells of the surroundings lie on the image.

    Raises
    ------
    ValueError
        If nothing says so, or not for so many cells a side.
    """
    return _of_side(batch, "inside", n_cells).flatten(1) > 0.5


def boundaries(
    batch: SectionBatch, view: str
) -> UInt8[torch.Tensor, "queries 2 side side"]:
    """Return the maps of edges and nuclei of a view, ``"spot"`` or another.

    Raises
    ------
    ValueError
        If there are none, or not two, or not as bytes.
    """
    name = f"{view}_boundaries"
    maps = grid(batch, name)
    if maps.shape[1] != 2 or maps.dtype != torch.uint8:
        raise ValueError(
            f"grid {name!r} of section {batch.sections[0]!r} has {maps.shape[1]} "
            f"channel(s) of {maps.dtype}, expected two of torch.uint8: edges, then "
            "nuclei. Make it by recipes.ViewsRecipe(guides=GuideRecipe())."
        )
    return maps


def _of_side(
    batch: SectionBatch, name: str, n_cells: int
) -> Num[torch.Tensor, "queries _ side side"]:
    """Return a grid of so many cells a side.

    Raises
    ------
    ValueError
        If there is none, or of another size.
    """
    found = grid(batch, name)
    if found.shape[-1] != n_cells:
        raise ValueError(
            f"grid {name!r} of section {batch.sections[0]!r} has {found.shape[-1]} "
            f"cells a side, but n_cells of the model is {n_cells}. Give TriplexConfig "
            "and ViewsRecipe the same n_cells."
        )
    return found
