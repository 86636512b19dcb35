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
from dataclasses import dataclass
from itertools import combinations, pairwise, permutations

import numpy as np
import pandas as pd
import SimpleITK
from scipy.ndimage import affine_transform
from scipy.spatial import cKDTree

from stlearnkit import datasets
from stlearnkit.conventions import RegistrationError
from stlearnkit.downloads import data_dir
from stlearnkit.expression import log_normalised, top_genes
from stlearnkit.geometry import Affine2D
from stlearnkit.registration import (
    WorkingImage,
    align,
    align_stack,
    coarse,
    rigid,
)
from stlearnkit.sections import Section
from stlearnkit.slides import Slide

UM = 16.0
STACK = ("C2", "C3", "C4", "C5", "C6")
SCENARIOS = ("turn", "flip", "stain", "missing", "torn")
RECOVERED_UM = 100.0


@dataclass(frozen=True)
class Annotated:
    """A slide without a scale, and its landmarks (x, y) in pixels, by name."""

    slide: Slide
    landmarks: pd.DataFrame


def cima() -> dict[str, Annotated]:
    """Read three stains of a lung lesion: images at 5 %, landmarks at 50 %."""
    root, found = data_dir() / "cima", {}
    for path in sorted((root / "dataset/lung-lesion_3/scale-5pc").glob("*.jpg")):
        table = root / "annotations/lung-lesion_3/user-PS_scale-50pc" / path.name
        points = pd.read_csv(table.with_suffix(".csv"), index_col=0) * 0.1
        found[path.stem.split("-", 4)[4]] = Annotated(Slide.open(path), points)
    return found


def bulb() -> dict[str, Annotated]:
    """Read four olfactory bulbs; landmarks are at four times the images' size."""
    root, found = data_dir() / "mob_landmarks", {}
    for number in range(1, 5):
        image = root / f"tutorials/olfactory_bulb_st/images/0{number}.jpg"
        table = root / f"data/mob/landmarks/Rep{number}_MOB.tsv"
        points = pd.read_csv(table, sep="\t", index_col=0) / 4
        found[f"0{number}"] = Annotated(Slide.open(image), points)
    return found


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
    for title, marked in (("CIMA lung lesion", cima()), ("olfactory bulb", bulb())):
        rows = [at_landmarks(*pair) for pair in permutations(marked.items(), 2)]
        table(f"Landmarks: {title}", rows)
        ratios = pd.DataFrame(rows)[["ratio", "simpleitk"]]
        print(f"median {ratios.median().round(3).to_dict()}")
        print(f"highest {ratios.max().round(3).to_dict()}")


def at_landmarks(
    ours: tuple[str, Annotated], theirs: tuple[str, Annotated]
) -> dict[str, object]:
    """Align two slides of unknown scale, and look at the landmarks."""
    (fixed, one), (moving, other) = ours, theirs
    names = one.landmarks.index.intersection(other.landmarks.index)
    here, there = (side.landmarks.loc[names].to_numpy(float) for side in (one, other))

    def aligned() -> tuple[WorkingImage, WorkingImage, Affine2D]:
        a = WorkingImage.of_slide(one.slide, fixed)
        b = WorkingImage.of_slide(other.slide, moving, usual_mpp=a.um_per_unit)
        return a, b, align(a, b).transform

    (a, b, found), cpu_s = timed(aligned)
    best = Affine2D.fit(there, here, source=b.frame, target=a.frame)
    diagonal = np.hypot(one.slide.width, one.slide.height)

    def error(transform: Affine2D) -> float:
        return float(np.median(np.linalg.norm(transform(there) - here, axis=1)))

    return {
        "fixed": fixed,
        "moving": moving,
        "cpu_s": cpu_s,
        "unaligned": float(np.median(np.linalg.norm(there - here, axis=1))) / diagonal,
        "floor": error(best) / diagonal,
        "rTRE": error(found) / diagonal,
        "ratio": error(found) / error(best),
        "simpleitk": error(by_simpleitk(a, b)) / error(best),
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
    panel = top_genes(sections).genes
    places = [places[:, :2] for places in found.stack.coords_3d_um()]
    levels = [log_normalised(section, panel) for section in sections]
    for i, j in combinations(range(len(STACK)), 2):
        away, nearest = cKDTree(places[i]).query(places[j])
        near = away < 100
        one, other = levels[i][nearest[near]], levels[j][near]
        one, other = one - one.mean(axis=0), other - other.mean(axis=0)
        norm = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
        genewise = np.nanmedian((one * other).sum(axis=0) / norm)
        print(f"{STACK[i]} {STACK[j]}: {near.sum()} spots, genes {genewise:.3f}")


def pixels_of(slide: Slide, mpp: float) -> np.ndarray:
    """Return a slide at 16 µm per pixel."""
    return slide.thumbnail(round(max(slide.width, slide.height) * mpp / UM))


def disturbable() -> Iterator[tuple[str, dict[str, np.ndarray], list[tuple[str, str]]]]:
    """Give images at 16 µm per pixel and the pairs that are to be aligned."""
    sections = [datasets.her2st(name) for name in STACK]
    images = {one.name: pixels_of(one.slide, one.mpp) for one in sections}
    ordered = [pair for a, b in pairwise(STACK) for pair in ((a, b), (b, a))]
    yield "HER2ST", images, ordered
    for title, marked in (("CIMA", cima()), ("bulb", bulb())):
        first = next(iter(marked.values())).slide
        mpp = WorkingImage.of_slide(first, "first").um_per_unit
        images = {name: pixels_of(one.slide, mpp) for name, one in marked.items()}
        yield title, images, list(permutations(marked, 2))


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
