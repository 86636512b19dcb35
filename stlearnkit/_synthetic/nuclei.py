"""The nuclei of a simulated section: ellipses that are sown, measured and drawn."""

__all__ = ["footprints", "in_pixels", "labels", "scatter"]

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float, Int32
from scipy.spatial import cKDTree

from stlearnkit._synthetic.tissue import PAINT_UM, REGIONS, Scene

_BACKGROUND, _TUMOUR, _STROMA, _FAT, _IMMUNE = range(len(REGIONS))
_FADED = 1.4  # distance, in radii, at which the blur of a nucleus has ended
# Nuclei of each kind: spacing of the lattice they are drawn from and half the length
# in µm, spread of that, range of width by length, darkness.
_NUCLEI = {
    _TUMOUR: (11.5, 5.2, 0.25, (0.66, 0.98), 0.95),
    _STROMA: (12.0, 6.5, 0.35, (0.24, 0.40), 1.10),
    _IMMUNE: (7.6, 3.2, 0.15, (0.82, 1.00), 1.35),
}
# Chance of a lattice point to become a nucleus, by the region it lies in.
_CHANCES = {
    _TUMOUR: np.array([0.0, 0.90, 0.0, 0.0, 0.0]),
    _STROMA: np.array([0.0, 0.02, 0.30, 0.20, 0.05]),
    _IMMUNE: np.array([0.0, 0.02, 0.00, 0.03, 0.95]),
}


def scatter(scene: Scene, side_um: float, rng: np.random.Generator) -> pd.DataFrame:
    """Sow nuclei: ellipses in µm that suit the region and do not cover one another.

    Returns
    -------
    pandas.DataFrame
        One row per nucleus: centre `x_um`, `y_um`, half axes `major_um`, `minor_um`,
        direction of the major axis `angle_rad`, `darkness`, and `kind`: the region
        that it belongs to, wherever it lies.
    """
    sown = [_sow(scene, side_um, kind, rng) for kind in (_TUMOUR, _STROMA, _IMMUNE)]
    nuclei = pd.concat(sown, ignore_index=True)
    centres = nuclei[["x_um", "y_um"]].to_numpy()
    lengths = nuclei["major_um"].to_numpy()
    near = cKDTree(centres).query_pairs(lengths.max() + 1.5, output_type="ndarray")
    apart = np.hypot(*(centres[near[:, 0]] - centres[near[:, 1]]).T)
    crowded = near[apart < lengths[near].max(axis=1) + 1.5, 1]
    return nuclei.drop(index=np.unique(crowded)).reset_index(drop=True)


def in_pixels(nuclei: pd.DataFrame, mpp: float) -> pd.DataFrame:
    """Bring all columns in µm to pixels."""
    lengths = [column for column in nuclei if column.endswith("_um")]
    in_pixels = nuclei.assign(**{column: nuclei[column] / mpp for column in lengths})
    return in_pixels.rename(columns=lambda column: column.replace("_um", "_px"))


def labels(
    nuclei: pd.DataFrame, shape: tuple[int, int]
) -> Int32[np.ndarray, "height width"]:
    """Return the number of the nucleus in each pixel, from 1; 0 between them.

    Parameters
    ----------
    nuclei
        Ellipses as `scatter` makes them, with lengths in pixels.
    shape
        Height and width of the image.
    """
    numbers = np.zeros(shape, np.int32)
    flat = numbers.reshape(-1)
    for rows, pixels, squared in footprints(nuclei, shape):
        flat[pixels[squared <= 1]] = rows[squared <= 1] + 1
    columns, lines = nuclei[["x_px", "y_px"]].to_numpy().astype(int).T
    numbers[lines, columns] = np.arange(1, len(nuclei) + 1)  # even the smallest
    return numbers


def footprints(
    nuclei: pd.DataFrame, shape: tuple[int, ...]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield for one kind of nuclei at a time: rows, pixels and squared distances.

    One entry per pixel of a nucleus: its row in the table, its index in the flat
    image and its distance from the centre, where 1 is the edge of the ellipse.
    """
    width = shape[1]
    columns = ["x_px", "y_px", "major_px", "minor_px", "angle_rad"]
    for rows in nuclei.groupby("kind", sort=False).indices.values():
        x, y, major, minor, angle = nuclei[columns].to_numpy(np.float32)[rows].T
        reach = int(np.ceil(major.max())) + 1
        steps = np.arange(-reach, reach + 1)
        right = (np.floor(x) + 0.5 - x)[:, None] + steps.astype(np.float32)
        down = (np.floor(y) + 0.5 - y)[:, None] + steps.astype(np.float32)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        major, minor = major[:, None], minor[:, None]
        along = (sin * down / major)[:, :, None] + (cos * right / major)[:, None]
        across = (cos * down / minor)[:, :, None] - (sin * right / minor)[:, None]
        squared = along * along + across * across
        which, line, column = np.nonzero(squared < _FADED**2)
        line += y.astype(int)[which] - reach
        column += x.astype(int)[which] - reach
        yield rows[which], line * width + column, squared[squared < _FADED**2]


def _sow(
    scene: Scene, side_um: float, kind: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Sow the nuclei of one kind: a jittered lattice, thinned by where it lies."""
    spacing, major, spread, rounds, darkness = _NUCLEI[kind]
    ticks = np.arange(30.0, side_um - 30.0, spacing)  # none cut by the border
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    points += rng.uniform(-0.5, 0.5, points.shape) * spacing
    points = points[rng.random(len(points)) < _chance(scene, points, kind)]
    n_nuclei = len(points)
    majors = major * rng.uniform(1 - spread, 1 + spread, n_nuclei)
    angles = rng.uniform(0, np.pi, n_nuclei)
    if kind == _STROMA:
        angles = _fibre_angle(scene, points) + 0.2 * rng.standard_normal(n_nuclei)
    return pd.DataFrame(
        {
            "x_um": points[:, 0],
            "y_um": points[:, 1],
            "major_um": majors,
            "minor_um": majors * rng.uniform(*rounds, n_nuclei),
            "angle_rad": angles,
            "darkness": darkness * np.exp(0.16 * rng.standard_normal(n_nuclei)),
            "kind": REGIONS[kind],
        }
    )


def _chance(
    scene: Scene, points: Float[np.ndarray, "points 2"], kind: int
) -> Float[np.ndarray, " points"]:
    """Return the chance that a lattice point becomes a nucleus of that kind."""
    region = scene.at(scene.regions, points)
    chance = _CHANCES[kind][region]
    if kind == _IMMUNE:  # lymphocytes stray into the stroma around their foci
        near = np.clip(1 + scene.at(scene.fields["immune"], points) / 1.5, 0, 1)
        chance = np.where(region == _STROMA, 0.30 * near**2, chance)
    in_fat_cell = scene.at(scene.rims, points) > 3.0
    return np.where(in_fat_cell, 0.0, chance)


def _fibre_angle(
    scene: Scene, points: Float[np.ndarray, "points 2"]
) -> Float[np.ndarray, " points"]:
    """Return the direction of the fibres in radians, from x towards y."""
    across, ahead = scene.fields["across"], 3 * PAINT_UM
    right, down = np.array([ahead, 0.0]), np.array([0.0, ahead])
    slope_x = scene.at(across, points + right) - scene.at(across, points - right)
    slope_y = scene.at(across, points + down) - scene.at(across, points - down)
    return np.arctan2(slope_y, slope_x) + np.pi / 2
