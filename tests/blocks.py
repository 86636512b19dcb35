"""Sections without images, whose expression depends on place: for benchmarks."""

import numpy as np

from stlearnkit.sections import Section
from stlearnkit.slides import Slide

GENES = tuple(f"GENE{number}" for number in range(12))


def section(
    name: str,
    patient: str,
    *,
    seed: int = 0,
    side: int = 6,
    image: bool = False,
    genes: tuple[str, ...] = GENES,
) -> Section:
    """A square of spots; each gene rises along a direction of its own.

    Patients differ in their mean profile. With an image, brightness rises along x.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    x, y = (axis.ravel() for axis in np.meshgrid(*[np.arange(side)] * 2))
    angles = np.linspace(0, 2 * np.pi, len(genes), endpoint=False)
    slope = (np.outer(x, np.cos(angles)) + np.outer(y, np.sin(angles))) / side
    level = np.random.default_rng([*patient.encode()]).normal(3, 0.5, len(genes))
    depth = rng.lognormal(0, 0.3, (side**2, 1))
    counts = rng.poisson(depth * np.exp(level + slope)) + (np.arange(len(genes)) == 0)
    slide = None
    if image:
        ramp = np.linspace(20, 230, 10 * side).astype(np.uint8)
        slide = Slide.from_array(np.tile(ramp[:, None], (10 * side, 1, 3)), mpp=20.0)
    return Section.build(
        counts,
        genes,
        [f"{column}x{row}" for column, row in zip(x, y, strict=True)],
        10.0 * np.column_stack([x, y]) + 5,
        name=name,
        patient=patient,
        slide=slide,
    )


PATIENTS = {"C2": "C", "C3": "C", "C4": "C", "B4": "B", "B5": "B"}


def load(name: str) -> Section:
    """Load one of five sections of two patients, as a loader of datasets would.

    Raises
    ------
    ValueError
        If there is no such section.
    """
    if name not in PATIENTS:
        raise ValueError(f"name is {name!r}, choose one of {list(PATIENTS)}.")
    return section(name, PATIENTS[name])
