"""How well sections are aligned, and what it costs.

Run with `STLEARNKIT_DATA` set, all of it or some tables:

    python benchmarks/registration.py
    python benchmarks/registration.py her2st landmarks mob2k stack draws

`landmarks` compares with the least-squares affine map on the landmarks themselves,
which no image can beat by much, and with SimpleITK's affine map from the same start.
`draws` disturbs sections by chance and asks for the map that is found without the
disturbance. ``draws=60`` draws sixty times.
"""

import sys
import time
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise, permutations

import numpy as np
import pandas as pd
import SimpleITK
from scipy.ndimage import affine_transform

from stlearnkit import datasets
from stlearnkit.conventions import RegistrationError
from stlearnkit.expression import log_normalised, top_genes
from stlearnkit.geometry import Affine2D, Transform
from stlearnkit.landmark_sets import (
    BULB_SECTIONS,
    LUNG_STAINS,
    LandmarkedSlide,
    lung_lesion,
    olfactory_bulb,
)
from stlearnkit.landmarks import LandmarkScores, evaluate, matched_pcc
from stlearnkit.registration import (
    WorkingImage,
    align,
    align_stack,
    coarse,
    deformable,
    rigid,
)
from stlearnkit.sections import Section
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


def timed(job: Callable[[], object]) -> tuple[object, float]:
    """Return what a job gives and the seconds of processor it took."""
    start = time.process_time()
    return job(), time.process_time() - start


def table(title: str, rows: list[dict[str, object]]) -> None:
    """Print rows under a title."""
    print(f"\n## {title}\n")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format))


def attempt(fixed: Section, moving: Section) -> dict[str, object]:
    """Align two sections, reading included; return the row of a table."""
    start = time.process_time()
    row: dict[str, object] = {"fixed": fixed.name, "moving": moving.name}
    try:
        found = align(fixed, moving).quality
    except RegistrationError as error:
        return row | {"cpu_s": time.process_time() - start, "refused": str(error)[:150]}
    return row | {
        "cpu_s": time.process_time() - start,
        "dice": found.dice,
        "ncc": found.ncc_after,
        "evidence": found.evidence,
        "margin": found.margin,
        "scale": found.scale,
        "shear": found.shear,
        "inverse_um": found.inverse_um,
    }


def her2st() -> None:
    """Align all pairs of one patient, and of two, which must be refused."""
    sections = {name: datasets.her2st(name) for name in (*STACK, "B4")}
    table(
        "HER2ST, all pairs of C2 to C6",
        [attempt(sections[a], sections[b]) for a, b in combinations(STACK, 2)],
    )
    others = [(name, "B4") for name in STACK] + [("B4", name) for name in STACK]
    rows = [attempt(sections[a], sections[b]) for a, b in others]
    table("HER2ST, two patients", rows)


def mob2k() -> None:
    """Align three olfactory bulbs on another array, at another scale."""
    sections = {name: datasets.mob2k(name) for name in ("MOB1", "MOB2", "MOB3")}
    rows = [attempt(sections[a], sections[b]) for a, b in permutations(sections, 2)]
    table("MOB 2k, all pairs", rows)


def landmarks() -> None:
    """Print errors at landmarks, as ratios to the least-squares affine map on them."""
    for title, marked in landmark_sections().items():
        rows = [at_landmarks(*pair) for pair in permutations(marked, 2)]
        table(f"Landmarks: {title}", rows)
        ratios = pd.DataFrame(rows)[["affine", "deformable", "simpleitk"]]
        print(f"mean {ratios.mean().round(3).to_dict()}")
        print(f"highest {ratios.max().round(3).to_dict()}")


def at_landmarks(one: LandmarkedSlide, other: LandmarkedSlide) -> dict[str, object]:
    """Align two slides, reading included, and look at the landmarks."""

    def aligned() -> tuple[WorkingImage, WorkingImage, Affine2D]:
        a = WorkingImage.of_slide(one.slide, one.name)
        usual_mpp = None if a.scale_is_known else a.um_per_unit
        b = WorkingImage.of_slide(other.slide, other.name, usual_mpp=usual_mpp)
        return a, b, align(a, b).transform

    (a, b, found), cpu_s = timed(aligned)
    bent, more_s = timed(lambda: deformable(a, b, found))
    scale, moving_scale = (side.slide.mpp or 1.0 for side in (one, other))

    def score(transform: Transform) -> LandmarkScores:
        return evaluate(
            transform,
            other.landmarks_px * moving_scale,
            one.landmarks_px * scale,
            diagonal=one.diagonal_px * scale,
        )

    told = score(found)
    return {
        "fixed": one.name,
        "moving": other.name,
        "cpu_s": cpu_s,
        "bending_s": more_s,
        "unaligned": told.median_rtre_before,
        "floor": told.median_rtre_floor,
        "rTRE": told.median_rtre,
        "affine": told.over_floor,
        "deformable": score(bent).over_floor,
        "simpleitk": score(by_simpleitk(a, b)).over_floor,
    }


def by_simpleitk(fixed: WorkingImage, moving: WorkingImage) -> Affine2D:
    """Maximise the correlation of texture with SimpleITK, from our rigid map."""
    start = rigid(fixed, moving, coarse(fixed, moving).best.transform)
    inverse = np.linalg.inv(moving.matrix_um(start, fixed))
    back = SimpleITK.AffineTransform(2)  # ITK maps fixed to moving
    back.SetMatrix(inverse[:2, :2].ravel())
    back.SetTranslation(inverse[:2, 2])
    for factor in (2, 1):
        images = []
        for level in (fixed.level(factor), moving.level(factor)):
            image = SimpleITK.GetImageFromArray(level.texture)
            image.SetSpacing([level.um_per_px] * 2)
            image.SetOrigin((level.corner_um + level.um_per_px / 2).tolist())
            images.append(image)
        method = SimpleITK.ImageRegistrationMethod()
        method.SetMetricAsCorrelation()
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 200)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInterpolator(SimpleITK.sitkLinear)
        method.SetInitialTransform(back, inPlace=True)
        method.Execute(*images)
    matrix = np.eye(3)
    matrix[:2, :2] = np.reshape(back.GetMatrix(), (2, 2))
    matrix[:2, 2] = back.GetTranslation()
    return moving.transform(np.linalg.inv(matrix), fixed)


def stack() -> None:
    """Align C2 to C6 as a stack; print loop errors and genes of matched spots."""
    sections = [datasets.her2st(name) for name in STACK]
    found, cpu_s = timed(lambda: align_stack(sections, 48.0 * np.arange(len(STACK))))
    print("\n## Stack of C2 to C6\n")
    print(f"cpu_s {cpu_s:.1f}, loops in um {np.round(found.loop_um, 1).tolist()}")
    panel = top_genes(sections, 250).genes
    places = [places[:, :2] for places in found.stack.coords_3d_um()]
    levels = [log_normalised(section, panel) for section in sections]
    for i, j in combinations(range(len(STACK)), 2):
        found_pairs = matched_pcc(
            levels[i], places[i], levels[j], places[j], within=141
        )
        print(f"{STACK[i]} {STACK[j]}: median of 250 genes {found_pairs.median:.3f}")


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
    """Print the share of disturbed sections found again, and of failures refused."""
    rows = []
    for title, images, pairs in disturbable():
        for number, scenario in enumerate(SCENARIOS):
            results = []
            for draw in range(n_draws):
                fixed, moving = pairs[draw % len(pairs)]
                random = np.random.default_rng([number, draw])
                results.append(drawn(images[fixed], images[moving], scenario, random))
            error, refused = np.array(results).T
            lost = error > RECOVERED_UM
            rows.append(
                {
                    "sections": title,
                    "scenario": scenario,
                    "recovered": 1 - lost.mean(),
                    "median_um": np.median(error),
                    "highest_um": error.max(),
                    "right_refused": refused[~lost].mean(),
                    "lost_accepted": int((lost & (refused == 0)).sum()),
                }
            )
    table(f"Disturbed sections, {n_draws} draws each", rows)


def drawn(
    ours: np.ndarray, theirs: np.ndarray, scenario: str, random: np.random.Generator
) -> tuple[float, bool]:
    """Disturb a section, align it; return the mean error and whether it is refused."""
    fixed = WorkingImage.of_slide(Slide.from_array(ours, UM), "F")
    still = WorkingImage.of_slide(Slide.from_array(theirs, UM), "M")
    truth = align(fixed, still).transform
    rows, columns = np.nonzero(still.mask)
    places = (np.column_stack([columns, rows])[::17] + 0.5) * UM + still.corner_um
    image, there, kept = disturbed(theirs, places, scenario, random)
    moving = WorkingImage.of_slide(Slide.from_array(image, UM), "M")
    refused = False
    try:
        found = align(fixed, moving).transform
    except RegistrationError:
        refused, found = (
            True,
            rigid(fixed, moving, coarse(fixed, moving).best.transform),
        )
    away = found(there[kept]) - truth(places[kept])
    return float(np.linalg.norm(away, axis=1).mean()), refused


def disturbed(
    image: np.ndarray, places: np.ndarray, scenario: str, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the disturbed image, where the places are on it, and which still are."""
    if scenario == "stain":
        image = restained(image, random)
    glass = np.percentile(image.reshape(-1, 3), 90, axis=0)
    kept = np.ones(len(places), bool)
    size = int(1.15 * np.hypot(*image.shape[:2])) + 80
    direction = random.uniform(0, 2 * np.pi)
    normal = np.array([np.cos(direction), np.sin(direction)])
    mirrored = scenario == "flip" or (scenario != "turn" and random.random() < 0.5)
    turn = Affine2D.rigid(random.uniform(0, 360), source="a", target="b").matrix
    turn = turn @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    middle = np.array([image.shape[1], image.shape[0]]) * UM / 2
    turn[:2, 2] = size * UM / 2 + random.uniform(-320, 320, 2) - turn[:2, :2] @ middle
    if scenario not in ("missing", "torn"):
        return laid(image, turn, size, glass), mapped(turn, places), kept
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
    return canvas, mapped(turn, places), kept


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


TABLES = {job.__name__: job for job in (her2st, landmarks, mob2k, stack, draws)}

if __name__ == "__main__":
    for word in sys.argv[1:] or list(TABLES):
        name, _, number = word.partition("=")
        TABLES[name](*([int(number)] if number else []))
