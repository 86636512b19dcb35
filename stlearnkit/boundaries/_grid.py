"""The pixels of the maps: whole pixels of the slide, averaged."""

__all__ = ["Grid", "Tile", "part_of"]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from stlearnkit.boundaries._stain import OVERVIEW_UM, Overview, check_mpp
from stlearnkit.sections import Section
from stlearnkit.slides import Slide
from stlearnkit.stains import tissue_mask

_MASK_PX = 1000  # longer side of the thumbnail on which tissue is told from glass
_MOST_PX = np.iinfo(np.int32).max  # a nucleus is first named by its darkest pixel
Tile = tuple[slice, slice]  # rows, columns


@dataclass(frozen=True, eq=False)
class Grid:
    """The pixels that are worked on: whole pixels of a slide's level, averaged."""

    slide: Slide
    level: int
    reduction: int
    downsample: int
    mpp: float

    @classmethod
    def of(cls, section: Section, working_um: float) -> "Grid":
        """Choose pixels of about `working_um`, and the cheapest level to read.

        Raises
        ------
        SectionError
            If the section has no slide.
        ValueError
            If the pixels are too coarse, or too many.
        """
        slide = section.require_slide("to map")
        if not (np.isfinite(working_um) and working_um > 0):
            raise ValueError(
                f"working_um is {working_um}, expected µm per pixel above 0."
            )
        downsample = max(1, round(working_um / section.mpp))
        mpp = section.mpp * downsample
        check_mpp(mpp, "working_um, as whole pixels of the slide,")
        level = max(
            number
            for number, factor in enumerate(slide.downsamples)
            if factor <= downsample and downsample % factor == 0
        )
        reduction = round(downsample / slide.downsamples[level])
        grid = cls(slide, level, reduction, downsample, mpp)
        height, width = grid.shape
        if height * width > _MOST_PX:
            raise ValueError(
                f"working_um is {working_um}, for which the slide has {width} x "
                f"{height} px, expected at most {_MOST_PX} in all. Take a larger one."
            )
        return grid

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width; a last pixel may be made of fewer."""
        rows, columns = self.slide.levels[self.level].shape[:2]
        return -(-rows // self.reduction), -(-columns // self.reduction)

    def read(self, rows: slice, columns: slice) -> UInt8[np.ndarray, "height width 3"]:
        """Read a part of the section."""
        limits = self.slide.levels[self.level].shape[:2]
        top, left = rows.start * self.reduction, columns.start * self.reduction
        bottom = min(rows.stop * self.reduction, limits[0])
        right = min(columns.stop * self.reduction, limits[1])
        part = self.slide.crop(left, top, right - left, bottom - top, level=self.level)
        if self.reduction == 1:
            return part
        return np.asarray(Image.fromarray(part).reduce(self.reduction))

    def look(self) -> tuple[Bool[np.ndarray, "_ _"], Overview]:
        """Look at the whole: where there is tissue, on a thumbnail; its dyes."""
        mask = tissue_mask(self.slide.thumbnail(_MASK_PX))
        side_px = round(max(self.shape) * self.mpp / max(OVERVIEW_UM, self.mpp))
        small = self.slide.thumbnail(side_px)
        rows, columns = small.shape[:2]
        enlarged = part_of(mask, (slice(0, rows), slice(0, columns)), (rows, columns))
        return mask, Overview.of(small, self.mpp * self.shape[1] / columns, enlarged)


def part_of(
    mask: Bool[np.ndarray, "_ _"], tile: Tile, whole: tuple[int, ...]
) -> Bool[np.ndarray, "height width"]:
    """Return what a mask says of a tile of an image of size `whole`.

    Each pixel takes what lies under its centre.
    """
    rows, columns = (
        ((np.arange(part.start, part.stop) + 0.5) * (size / length)).astype(int)
        for part, size, length in zip(tile, mask.shape, whole, strict=True)
    )
    return mask[rows[:, None], columns]
