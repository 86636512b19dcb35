"""What a batch refuses to be made of."""

__all__ = ["check_grids", "check_rows", "check_targets"]

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Num

from stlearnkit.sections import Section


def check_rows(
    section: Section, parts: Mapping[str, Num[np.ndarray, "..."] | None]
) -> None:
    """Refuse arrays that do not belong to these spots.

    Raises
    ------
    ValueError
        If a part has not one row per spot, or an entry is not finite.
    """
    for name, values in parts.items():
        if values is not None and len(values) != section.n_spots:
            raise ValueError(
                f"{name} has {len(values)} rows, but section {section.name!r} has "
                f"{section.n_spots} spots. Make it from this very section."
            )
        if values is not None and not np.isfinite(values).all():
            raise ValueError(
                f"{name} of section {section.name!r} has entries that are not finite. "
                "Find out why before training on them."
            )


def check_grids(grids: Mapping[str, Num[np.ndarray, "spots _ _ _"]]) -> None:
    """Refuse maps that could not be turned by a quarter.

    Raises
    ------
    ValueError
        If a grid is not square.
    """
    for name, grid in grids.items():
        if grid.ndim != 4 or grid.shape[2] != grid.shape[3]:
            raise ValueError(
                f"grids[{name!r}] has shape {grid.shape}, expected (spots, channels, "
                "side, side)."
            )


def check_targets(
    genes: Sequence[str], targets: Num[np.ndarray, "spots _"] | None
) -> None:
    """Refuse targets of other genes.

    Raises
    ------
    ValueError
        If there is not one column per gene.
    """
    if targets is not None and targets.shape[1] != len(genes):
        raise ValueError(
            f"targets has {targets.shape[1]} columns, but genes has {len(genes)}. Use "
            "expression.log_normalised(section, genes)."
        )
