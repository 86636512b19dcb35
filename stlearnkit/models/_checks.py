"""What baselines ask of the arrays they are trained on."""

__all__ = ["Blocks", "Target", "check_blocks", "check_training"]

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Blocks = Sequence[Float[np.ndarray, "_ _"]]
"""Features of one section: arrays spots × features, each as wide as it likes."""

Target = Float[np.ndarray, "_ genes"]
"""Expression of one section, spots × genes."""


def check_training(
    features: Sequence[Blocks],
    targets: Sequence[Target],
) -> None:
    """Refuse training sections that do not match each other.

    Raises
    ------
    ValueError
        If sections, blocks, spots, features or genes do not match in number, or an
        entry is not finite.
    """
    if len(features) != len(targets) or not targets:
        raise ValueError(
            f"features has {len(features)} sections, targets has {len(targets)}: give "
            "both for each section, one or more."
        )
    for number, (blocks, target) in enumerate(zip(features, targets, strict=True)):
        section = f"training section {number}"
        check_blocks(blocks, section)
        if len(target) != len(blocks[0]):
            raise ValueError(
                f"{section} has {len(blocks[0])} spots in its features and "
                f"{len(target)} in its target. Take both from the same Section."
            )
        if not np.isfinite(target).all():
            raise ValueError(
                f"the target of {section} has entries that are not finite. Normalise "
                "with expression.log_normalised, which refuses empty spots."
            )
        widths, first = [b.shape[1] for b in blocks], [b.shape[1] for b in features[0]]
        if widths != first:
            raise ValueError(
                f"blocks of {section} have {widths} features, those of section 0 "
                f"{first}. Use the same encoder, scales and radii for all."
            )
        if target.shape[1] != targets[0].shape[1]:
            raise ValueError(
                f"the target of {section} has {target.shape[1]} genes, that of section "
                f"0 has {targets[0].shape[1]}. Choose one panel for all sections: "
                "expression.top_genes."
            )


def check_blocks(blocks: Blocks, section: str) -> None:
    """Refuse blocks of one section that do not match each other.

    Raises
    ------
    ValueError
        If there are none, they differ in spots, or an entry is not finite.
    """
    n_spots = [len(block) for block in blocks]
    if not blocks or len(set(n_spots)) > 1:
        raise ValueError(
            f"{section} has blocks of {n_spots} spots, expected one block or more, all "
            "of the same spots. Take them from one Section."
        )
    for number, block in enumerate(blocks):
        n_bad = int((~np.isfinite(block)).any(axis=1).sum())
        if n_bad:
            raise ValueError(
                f"block {number} of {section} has {n_bad} spots with features that are "
                "not finite. Means over neighbours need self-loops; images need pixels."
            )
