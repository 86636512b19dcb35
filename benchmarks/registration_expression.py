"""Whether expression improves on the alignment of images, and what it costs.

Run with `STLEARNKIT_DATA` set:

    python benchmarks/registration_expression.py

The four pairs of neighbours among C2 to C6 of HER2ST are aligned by their images, and
then by expression, with and without the images' map as a start. The 500 genes with the
highest mean count are split at random: one half aligns, the other judges. Three splits.
"""

import time
from itertools import pairwise

import numpy as np
import pandas as pd

from stlearnkit import datasets
from stlearnkit.expression import log_normalised, top_genes
from stlearnkit.geometry import Affine2D
from stlearnkit.landmarks import matched_pcc
from stlearnkit.registration import WorkingImage, align, rigid
from stlearnkit.registration.transport import by_expression
from stlearnkit.sections import Section

STACK = ("C2", "C3", "C4", "C5", "C6")
N_GENES = 500
ALPHAS = (0.1, 0.5, 0.9)
SPLITS = 3
WITHIN_UM = 141.0


def agreement(
    fixed: Section, moving: Section, transform: Affine2D, genes: tuple[str, ...]
) -> float:
    """Return the median correlation of genes at matched spots."""
    values = [log_normalised(one, genes) for one in (fixed, moving)]
    placed = transform(moving.coords_um)
    return matched_pcc(
        values[0], fixed.coords_um, values[1], placed, within=WITHIN_UM
    ).median


def centred(fixed: Section, moving: Section) -> Affine2D:
    """Return the shift that lays the centres of the spots on each other."""
    shift = fixed.coords_um.mean(axis=0) - moving.coords_um.mean(axis=0)
    return Affine2D.rigid(
        0, tuple(shift), source=f"{moving.name}/um", target=f"{fixed.name}/um"
    )


def rows_of(
    fixed: Section, moving: Section, image: Affine2D, panel: tuple[str, ...], seed: int
) -> list[dict[str, object]]:
    """Return what each map of one pair is worth, by genes that did not make it."""
    order = np.random.default_rng(seed).permutation(N_GENES)
    learns, judges = (tuple(panel[i] for i in half) for half in np.split(order, 2))
    places = moving.coords_um
    pictures = (WorkingImage.of_section(one) for one in (fixed, moving))
    maps = {
        ("centres", "", ""): (centred(fixed, moving), np.nan),
        ("image, affine", "", ""): (image, np.nan),
        ("image, rigid", "", ""): (rigid(*pictures, image), np.nan),
    }
    for alpha in ALPHAS:
        for name, start in (("nothing", None), ("image", image)):
            before = time.process_time()
            found = by_expression(fixed, moving, start, alpha=alpha, genes=learns)
            spent = time.process_time() - before
            maps["expression", name, alpha] = found, spent
    return [
        {
            "pair": f"{moving.name} on {fixed.name}",
            "by": by,
            "start": start,
            "alpha": alpha,
            "from_image_um": np.hypot(*(found(places) - image(places)).T).mean(),
            "turn_deg": found.parts.angle_deg - image.parts.angle_deg,
            "genes": agreement(fixed, moving, found, judges),
            "cpu_s": spent,
        }
        for (by, start, alpha), (found, spent) in maps.items()
    ]


def main() -> None:
    """Print a table for each pair and one over all."""
    sections = [datasets.her2st(name) for name in STACK]
    panel = top_genes(sections, N_GENES).genes
    by_expression(sections[0], sections[1])  # loads what takes long to load
    rows = []
    for fixed, moving in pairwise(sections):
        image = align(fixed, moving).transform
        for seed in range(SPLITS):
            rows += rows_of(fixed, moving, image, panel, seed)
    table = pd.DataFrame(rows)
    keys = ["by", "start", "alpha"]
    for title, by in (("each pair", ["pair", *keys]), ("all pairs", keys)):
        means = table.groupby(by, sort=False).mean(numeric_only=True)
        print(f"\n## {title}, mean of {SPLITS} splits of the genes\n")
        print(means.round(3).to_string())
    wide = table.pivot_table(index=["pair"], columns=keys, values="genes", sort=False)
    gain = wide.sub(wide["image, affine", "", ""], axis=0)
    print("\n## pairs in which the judging genes agree better than by the image\n")
    print((gain > 0).sum().to_string())


if __name__ == "__main__":
    main()
