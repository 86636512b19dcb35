"""Sections disturbed by chance: found again or not, and whether it is said.

A table of `registration.py`: the map that is found with the disturbance is compared
with the one that is found without.
"""

from collections.abc import Iterator
from itertools import pairwise, permutations

import numpy as np
import pandas as pd
from scipy.ndimage import affine_transform

from stlearnkit import datasets
from stlearnkit.conventions import RegistrationError
from stlearnkit.geometry import Affine2D
from stlearnkit.landmark_sets import (
    BULB_SECTIONS,
    LUNG_STAINS,
    LandmarkedSlide,
    lung_lesion,
    olfactory_bulb,
)
from stlearnkit.registration import WorkingImage, align, coarse, rigid
from stlearnkit.slides import Slide

UM = 16.0
STACK = ("C2", "C3", "C4", "C5", "C6")
SCENARIOS = ("turn", "flip", "stain", "missing", "torn")
RECOVERED_UM = 100.0


def landmark_sections() -> dict[str, list[LandmarkedSlide]]:
    """Return both sets of sections with landmarks."""
    return {
        "lung lesion": [lung_lesion(stain) for stain in LUNG_STAINS],
        "olfactory bulb": [olfactory_bulb(name) for name in BULB_SECTIONS],
    }


def table(title: str, rows: list[dict[str, object]]) -> None:
    """Print rows under a title."""
    print(f"\n## {title}\n")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format))


def pixels_of(slide: Slide, mpp: float) -> np.ndarray:
    """Return a slide at 16 µm per pixel."""
    return slide.thumbnail(round(max(slide.width, slide.height) * mpp / UM))


def disturbable() -> Iterator[tuple[str, dict[str, np.ndarray], list[tuple[str, str]]]]:
    """Give images at 16 µm per pixel and the pairs that are to be aligned."""
    sections = [datasets.her2st(name) for name in STACK]
    images = {one.name: pixels_of(one.slide, one.mpp) for one in sections}
    ordered = [pair for a, b in pairwise(STACK) for pair in ((a, b), (b, a))]
    yield "HER2ST", images, ordered
    for title, marked in landmark_sections().items():
        first = marked[0].slide
        mpp = first.mpp or WorkingImage.of_slide(first, "first").um_per_unit
        images = {one.name: pixels_of(one.slide, mpp) for one in marked}
        yield title, images, list(permutations(images, 2))


def draws(n_draws: int = 30) -> None:
    """Print the share of disturbed sections found again, and of failures refused.

    `recovered` ones are accepted, and right within 100 µm; `found` are those which were
    refused though right, too.
    """
    for title, images, pairs in disturbable():
        pictures = {name: pictured(image, name) for name, image in images.items()}
        truths = {(a, b): align(pictures[a], pictures[b]).transform for a, b in pairs}
        rows = []
        for number, scenario in enumerate(SCENARIOS):
            results = []
            for draw in range(n_draws):
                a, b = pairs[draw % len(pairs)]
                random = np.random.default_rng([number, draw])
                image, *places = disturbed(images[b], pictures[b], scenario, random)
                results.append(drawn(pictures[a], image, truths[a, b], *places))
            error, refused = np.array(results).T
            lost = error > RECOVERED_UM
            rows.append(
                {
                    "scenario": scenario,
                    "recovered": (~lost & (refused == 0)).mean(),
                    "found": 1 - lost.mean(),
                    "median_um": np.median(error),
                    "highest_um": error.max(),
                    "lost_refused": int((lost & (refused == 1)).sum()),
                    "lost_accepted": int((lost & (refused == 0)).sum()),
                }
            )
        table(f"Disturbed: {title}, {n_draws} draws each", rows)


def pictured(image: np.ndarray, name: str) -> WorkingImage:
    """Return the picture of an image at 16 µm per pixel."""
    return WorkingImage.of_slide(Slide.from_array(image, UM), name)


def drawn(
    fixed: WorkingImage,
    image: np.ndarray,
    truth: Affine2D,
    before: np.ndarray,
    after: np.ndarray,
) -> tuple[float, bool]:
    """Align a disturbed image; return the mean error and whether it is refused."""
    moving = pictured(image, truth.source.removesuffix("/um"))
    refused = False
    try:
        found = align(fixed, moving).transform
    except RegistrationError:
        refused, swept = True, coarse(fixed, moving).best.transform
        found = rigid(fixed, moving, swept)
    away = found(after) - truth(before)
    return float(np.linalg.norm(away, axis=1).mean()), refused


def disturbed(
    image: np.ndarray, still: WorkingImage, scenario: str, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the disturbed image, and places of tissue that stays, before and after."""
    rows, columns = np.nonzero(still.mask)
    places = (np.column_stack([columns, rows])[::17] + 0.5) * UM + still.corner_um
    if scenario == "stain":
        image = restained(image, random)
    glass = np.percentile(image.reshape(-1, 3), 90, axis=0)
    size = int(1.15 * np.hypot(*image.shape[:2])) + 80
    direction = random.uniform(0, 2 * np.pi)
    normal = np.array([np.cos(direction), np.sin(direction)])
    mirrored = scenario == "flip" or (scenario != "turn" and random.random() < 0.5)
    turn = Affine2D.rigid(random.uniform(0, 360), source="a", target="b").matrix
    turn = turn @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    middle = np.array([image.shape[1], image.shape[0]]) * UM / 2
    turn[:2, 2] = size * UM / 2 + random.uniform(-320, 320, 2) - turn[:2, :2] @ middle
    if scenario not in ("missing", "torn"):
        return laid(image, turn, size, glass), places, mapped(turn, places)
    edge = np.quantile(places @ normal, 1 - random.uniform(0.15, 0.35))
    kept = places @ normal < edge
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    beyond = ((columns + 0.5) * normal[0] + (rows + 0.5) * normal[1]) * UM >= edge
    rest = np.where(beyond[..., None], glass, image)
    canvas = laid(rest, turn, size, glass)
    if scenario == "torn":
        centre, away = places[~kept].mean(axis=0), direction + random.uniform(-1.2, 1.2)
        shift = random.uniform(200, 500) * np.array([np.cos(away), np.sin(away)])
        slip = Affine2D.rigid(
            random.uniform(-15, 15), tuple(shift), source="a", target="a", center=centre
        ).matrix
        piece = laid(image, turn @ slip, size, glass)
        shown = laid(np.repeat(255.0 * beyond[..., None], 3, 2), turn @ slip, size, 0)
        canvas = np.where(shown > 127, piece, canvas)
    return canvas, places[kept], mapped(turn, places[kept])


def laid(image: np.ndarray, matrix: np.ndarray, size: int, glass: object) -> np.ndarray:
    """Lay an image on a square canvas, by a matrix in µm."""
    to_um = np.array([[UM, 0, UM / 2], [0, UM, UM / 2], [0, 0, 1]])
    back = np.linalg.inv(matrix @ to_um) @ to_um
    back = back[[1, 0]][:, [1, 0, 2]]
    beyond = np.broadcast_to(glass, 3)
    colours = [
        affine_transform(
            np.asarray(image[..., colour], np.float32),
            back[:, :2],
            back[:, 2],
            output_shape=(size, size),
            order=1,
            cval=float(beyond[colour]),
        )
        for colour in range(3)
    ]
    return np.stack(colours, axis=-1).clip(0, 255).astype(np.uint8)


def mapped(matrix: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Map places by a matrix."""
    return places @ matrix[:2, :2].T + matrix[:2, 2]


def restained(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Mix the colours' densities, strengthen or weaken them, and bend the scale."""
    density = -np.log10(np.maximum(image, 1) / 255)
    mixed = np.maximum(density @ (np.eye(3) + random.normal(0, 0.15, (3, 3))), 0)
    bent = (mixed * random.uniform(0.5, 1.6)) ** random.uniform(0.8, 1.25)
    return (255 * 10.0**-bent).clip(0, 255).astype(np.uint8)
