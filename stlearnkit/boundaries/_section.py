"""Both maps of a whole section, tile by tile, where there is tissue."""

__all__ = ["detect"]

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Int32, UInt8, UInt16

from stlearnkit.boundaries._cache import key, load, save
from stlearnkit.boundaries._edges import DENSEST, PERCENTILE, STEPS, strength
from stlearnkit.boundaries._grid import Grid, Tile, part_of
from stlearnkit.boundaries._maps import BoundaryMaps
from stlearnkit.boundaries._nuclei import (
    AREA_UM2,
    REACH_UM,
    check_area,
    segment,
    sized,
)
from stlearnkit.boundaries._stain import Overview, haematoxylin
from stlearnkit.sections import Section

_TILE_PX = 1024
_SMALLEST_TILE_PX = 64
_N_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, eq=False)
class _Canvas:
    """What the tiles are drawn on."""

    grid: Grid
    overview: Overview
    mask: Bool[np.ndarray, "_ _"]  # of tissue, on a thumbnail
    strengths: UInt16[np.ndarray, "height width"]
    labels: Int32[np.ndarray, "height width"]
    area_um2: tuple[float, float]

    def tissue(self, rows: slice, columns: slice) -> Bool[np.ndarray, "height width"]:
        """Return the mask of a part of the section."""
        return part_of(self.mask, (rows, columns), self.grid.shape)

    def draw(self, tile: Tile) -> Int[np.ndarray, " values"]:
        """Draw the edges of a tile and the nuclei that peak in it.

        Returns
        -------
        Provisional numbers of the nuclei: those of the peaks' pixels in the section,
        which do not depend on the tiles.
        """
        tissue = self.tissue(*tile)
        if not tissue.any():
            return np.zeros(0, int)
        whole = self.grid.shape
        margin = int(np.ceil(REACH_UM / self.grid.mpp))
        wide = (_widen(tile[0], margin, whole[0]), _widen(tile[1], margin, whole[1]))
        corner = (wide[0].start, wide[1].start)
        core = (_shift(tile[0], corner[0]), _shift(tile[1], corner[1]))
        amount = haematoxylin(self.grid.read(*wide), self.overview.profile)
        sharp = strength(amount, self.grid.mpp)[core]
        self.strengths[tile] = np.minimum(sharp / DENSEST, 1) * STEPS * tissue

        background = self.overview.background_at(*corner, amount.shape, whole)
        labels, peaks = segment(
            amount, background, self.overview.typical, self.grid.mpp
        )
        own = np.zeros(amount.shape, bool)
        own[core] = tissue
        kept = sized(labels, len(peaks), self.grid.mpp, self.area_um2)
        kept = kept[own[tuple(peaks[kept - 1].T)]]
        numbers = np.zeros(len(peaks) + 1, int)
        places = peaks[kept - 1] + corner
        numbers[kept] = places[:, 0] * whole[1] + places[:, 1] + 1
        drawn = numbers[labels]
        np.copyto(self.labels[wide], drawn, where=drawn > 0, casting="same_kind")
        return numbers[kept]

    def renumber(self, numbers: Int[np.ndarray, " values"]) -> None:
        """Give the nuclei numbers from 1, in the order of their provisional numbers."""
        numbers = np.sort(numbers)
        for top in range(0, len(self.labels), _TILE_PX):
            band = self.labels[top : top + _TILE_PX]
            drawn = band > 0
            band[drawn] = np.searchsorted(numbers, band[drawn]) + 1

    def edges(self) -> UInt8[np.ndarray, "height width"]:
        """Scale the strengths of edges by their percentile over the tissue."""
        count = np.zeros(STEPS + 1, np.int64)
        for tile in _tiles(self.grid.shape, _TILE_PX):
            values = self.strengths[tile][self.tissue(*tile)]
            count += np.bincount(values, minlength=STEPS + 1)
        share = 100 * np.cumsum(count) / count.sum()
        top = max(1, int(np.searchsorted(share, PERCENTILE)))
        grey = np.minimum(np.arange(STEPS + 1) / top, 1)
        return (255 * grey).round().astype(np.uint8)[self.strengths]


def detect(
    section: Section,
    *,
    working_um: float = 0.7,
    area_um2: tuple[float, float] = AREA_UM2,
    tile_px: int = _TILE_PX,
    cache_folder: Path | None = None,
) -> BoundaryMaps:
    """Map the edges and nuclei of a whole section, computed at most once.

    Dyes, the threshold for haematoxylin and the scale of the edges are those of the
    section, not of its parts, so that a patch of pure fat has no edges. The method is
    told in `edge_map` and `nuclei`. Only tissue is looked at, as `stains.tissue_mask`
    finds it; the glass is 0 in both maps, but for the rims of nuclei at the border.

    Whoever has found nuclei and edges elsewhere needs none of this, but
    `BoundaryMaps.blank`.

    Parameters
    ----------
    section
        A section with its slide.
    working_um
        µm per pixel to work at, about: what is taken is a whole number of pixels of
        the slide, at least one. 0.7 is where nuclei of 6 µm are nine pixels wide;
        finer pixels cost in proportion to their number and find hardly more.
    area_um2
        Smallest and largest area of a nucleus.
    tile_px
        Side of the tiles that are worked on. It decides memory, not the result.
    cache_folder
        Where to keep maps; without it ``boundaries`` in `STLEARNKIT_CACHE`, else in
        the user's cache folder. They are kept under a hash of image, scale and
        settings.

    Raises
    ------
    SectionError
        If the section has no slide.
    ValueError
        If no tissue is found, pixels are so coarse that nuclei cannot be seen or so
        fine that they cannot be numbered, or a setting is out of its range.
    OSError
        If the folder cannot be written.

    Notes
    -----
    Tiles overlap by 40 µm, and a nucleus belongs to the tile in which its peak lies.
    No pixel further away has a say in it, so that tiles of any size give the same
    maps; `tile_px` only has to be larger than a nucleus. In images drawn without any
    noise, a pixel exactly between two nuclei may fall to either.

    Cost is linear in the pixels of tissue.
    """
    check_area(area_um2)
    if tile_px < _SMALLEST_TILE_PX:
        raise ValueError(
            f"tile_px is {tile_px}, expected {_SMALLEST_TILE_PX} or more: smaller "
            f"tiles would be mostly overlap. The default is {_TILE_PX}."
        )
    grid = Grid.of(section, working_um)
    slide = grid.slide
    name = key(
        slide.fingerprint(),
        slide.downsamples,
        section.mpp,
        grid.downsample,
        tuple(map(float, area_um2)),
    )
    found = load(name, cache_folder)
    if found is None:
        found = _draw(grid, area_um2, tile_px)
        save(name, found, cache_folder)
    return found


def _draw(grid: Grid, area_um2: tuple[float, float], tile_px: int) -> BoundaryMaps:
    """Make the maps."""
    mask, overview = grid.look()
    canvas = _Canvas(
        grid,
        overview,
        mask,
        np.zeros(grid.shape, np.uint16),
        np.zeros(grid.shape, np.int32),
        area_um2,
    )
    with ThreadPoolExecutor(_N_THREADS) as pool:
        drawn = list(pool.map(canvas.draw, _tiles(grid.shape, tile_px)))
    canvas.renumber(np.concatenate(drawn))
    return BoundaryMaps(
        canvas.edges(),
        canvas.labels,
        grid.mpp,
        float(grid.downsample),
        canvas.overview.profile,
        canvas.overview.source,
    )


def _tiles(shape: tuple[int, int], side_px: int) -> Iterator[Tile]:
    """Divide an image."""
    for top in range(0, shape[0], side_px):
        rows = slice(top, min(top + side_px, shape[0]))
        for left in range(0, shape[1], side_px):
            yield rows, slice(left, min(left + side_px, shape[1]))


def _widen(part: slice, margin: int, size: int) -> slice:
    """Add a margin on both sides, as far as there is an image."""
    return slice(max(part.start - margin, 0), min(part.stop + margin, size))


def _shift(part: slice, start: int) -> slice:
    """Count from `start`."""
    return slice(part.start - start, part.stop - start)
