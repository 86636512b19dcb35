"""A slide: one H&E image and its scale, in memory or read from disk by region.

`Slide.from_array` holds an image in memory. `Slide.open` reads a file: JPEG and
PNG are decoded whole when first needed, and only the last two stay decoded; TIFF
and OME-TIFF, pyramids included, are read tile by tile, so that a slide larger
than the memory can be used. No file stays open.

A *level* is one resolution of a pyramid: level 0 is the finest.

Taught in the chapter "From slide to patches".
"""

__all__ = ["Slide"]

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from stlearnkit._pixels import Pixels, inspect, is_tiff, preview

_BAND_PX = 512  # rows handled at a time, so that no second copy of a slide is made


@dataclass(frozen=True, eq=False)
class Slide:
    """An H&E image at one or more resolutions.

    Parameters
    ----------
    levels
        The resolutions, finest first; each (height, width, 3), uint8, RGB.
    mpp
        Micrometres per pixel of level 0, or None if nobody knows. Work in µm is
        then impossible, and says so.
    path
        The file behind it, or None for an image in memory.

    Raises
    ------
    ValueError
        If a level is not uint8 RGB, `mpp` is not positive, or no level is given.

    Examples
    --------
    >>> slide = Slide.from_array(np.zeros((40, 60, 3), np.uint8), mpp=0.5)
    >>> slide.width, slide.height, slide.crop(left=10, top=0, width=5, height=4).shape
    (60, 40, (4, 5, 3))
    """

    levels: tuple[Pixels, ...]
    mpp: float | None = None
    path: Path | None = None

    def __post_init__(self) -> None:
        """Check what every later step relies on.

        Raises
        ------
        ValueError
            As for the class.
        """
        if not self.levels:
            raise ValueError("levels is empty: a slide needs at least one image.")
        name = "image" if self.path is None else self.path.name
        for number, level in enumerate(self.levels):
            if len(level.shape) != 3 or level.shape[2] != 3:
                raise ValueError(
                    f"level {number} of {name} has shape {tuple(level.shape)}, "
                    "expected (height, width, 3). Convert it to RGB: image[..., :3] "
                    "drops an alpha channel, np.stack([image] * 3, -1) turns grey into "
                    "RGB, np.moveaxis(image, 0, -1) puts channels last; of several "
                    "pages save one."
                )
            dtype = np.dtype(getattr(level, "dtype", np.uint8))
            if dtype != np.uint8:
                raise ValueError(
                    f"level {number} of {name} has dtype {dtype}, expected uint8 with "
                    "values 0 to 255. For floats between 0 and 1 use "
                    "(255 * image).round().astype(np.uint8), for uint16 image // 257."
                )
        if self.mpp is not None and not (np.isfinite(self.mpp) and self.mpp > 0):
            raise ValueError(
                f"mpp is {self.mpp}, expected micrometres per pixel above 0, "
                "typically 0.25 to 1. Look it up with the scanner, or divide the "
                "spot pitch in µm by the pitch in pixels."
            )

    @classmethod
    def from_array(
        cls, image: UInt8[np.ndarray, "height width 3"], mpp: float | None = None
    ) -> "Slide":
        """Make a slide of an image in memory."""
        return cls((image,), mpp)

    @classmethod
    def open(cls, path: Path | str, mpp: float | None = None) -> "Slide":
        """Open an image file without reading its pixels yet.

        Parameters
        ----------
        path
            JPEG, PNG, TIFF, BigTIFF, OME-TIFF, Aperio's SVS or Hamamatsu's NDPI; RGB,
            8 bits. Tiles may be packed as JPEG, JPEG 2000, deflate and whatever else
            imagecodecs unpacks. NDPI is read as tifffile reads it, and was not tried
            on files of every scanner.
        mpp
            Micrometres per pixel. Without it, the file's own metadata are used; a
            file that does not say leaves it None.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not an image that can be read, is not complete, or is not
            8-bit RGB.
        """
        path = Path(path).absolute()
        if not path.is_file():
            raise FileNotFoundError(f"no slide at {path}. Check the path.")
        try:
            levels, found_mpp = inspect(path)
        except Exception as error:
            raise ValueError(
                f"{path} cannot be read as an image: {error}. "
                "Check that it is whole and a JPEG, PNG, TIFF, OME-TIFF or SVS."
            ) from error
        return cls(levels, mpp if mpp is not None else found_mpp, path)

    @property
    def height(self) -> int:
        """Rows of level 0."""
        return int(self.levels[0].shape[0])

    @property
    def width(self) -> int:
        """Columns of level 0."""
        return int(self.levels[0].shape[1])

    @property
    def downsamples(self) -> tuple[float, ...]:
        """Level-0 pixels per pixel of each level.

        Pyramids are made by whole factors, and sizes that do not divide are rounded:
        where a whole number explains the width of a level, it is taken.
        """
        return tuple(_factor(self.width, level.shape[1]) for level in self.levels)

    def crop(
        self, left: int, top: int, width: int, height: int, *, level: int = 0
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Cut a rectangle, touching only the tiles it needs.

        Parameters
        ----------
        left, top, width, height
            The rectangle in pixels *of that level*; it must lie inside the image.
        level
            Resolution to cut from.

        Raises
        ------
        ValueError
            If the rectangle is empty or leaves the image, or the file is damaged.
        IndexError
            If there is no such level.
        """
        if level not in range(len(self.levels)):
            raise IndexError(
                f"level is {level}, but the slide has levels 0 to "
                f"{len(self.levels) - 1}. See its downsamples."
            )
        rows, columns = self.levels[level].shape[:2]
        inside = (
            min(left, top) >= 0 and left + width <= columns and top + height <= rows
        )
        if width < 1 or height < 1 or not inside:
            raise ValueError(
                f"rectangle left={left}, top={top}, width={width}, height={height} "
                f"is empty or leaves level {level} of {columns} x {rows} px. Use "
                "patches.extract, which pads at the border."
            )
        return np.asarray(
            self.levels[level][top : top + height, left : left + width], np.uint8
        )

    def thumbnail(self, max_side: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return the whole image, antialiased, with its longer side at most `max_side`.

        A slide smaller than that is returned at its own size.

        Raises
        ------
        ValueError
            If `max_side` is below 1, or the file is damaged.
        """
        if max_side < 1:
            raise ValueError(f"max_side is {max_side}, expected 1 or more pixels.")
        factor = min(1.0, max_side / max(self.width, self.height))
        size = (max(1, round(self.width * factor)), max(1, round(self.height * factor)))
        if self.path is None or is_tiff(self.path):
            return _shrink(self.levels[self._coarsest_with_side(max(size))], size)
        return _shrink(preview(self.path, size), size)

    def fingerprint(self) -> str:
        """Return a short hash that changes when the pixels change.

        For a file it is made of the size and of sixteen pieces of 1 MiB spread over
        it (the whole of a smaller file), so that it stays quick for huge slides.
        """
        digest = hashlib.blake2b(digest_size=16)
        if self.path is None:
            digest.update(repr(tuple(self.levels[0].shape)).encode())
            for top in range(0, self.height, _BAND_PX):
                band = self.levels[0][top : top + _BAND_PX, :]
                digest.update(np.ascontiguousarray(band).data)
            return digest.hexdigest()
        size = self.path.stat().st_size
        digest.update(str(size).encode())
        piece, n_pieces = 2**20, 16
        with self.path.open("rb") as file:
            if size <= piece * n_pieces:
                digest.update(file.read())
            else:
                for start in np.linspace(0, size - piece, n_pieces).astype(int):
                    file.seek(int(start))
                    digest.update(file.read(piece))
        return digest.hexdigest()

    def __repr__(self) -> str:
        """Show size, scale and origin."""
        scale = "unknown scale" if self.mpp is None else f"{self.mpp:.3f} µm/px"
        where = "in memory" if self.path is None else self.path.name
        return (
            f"Slide({self.width} x {self.height} px, {scale}, "
            f"{len(self.levels)} level(s), {where})"
        )

    def _coarsest_with_side(self, min_side: int) -> int:
        """Return the coarsest level whose longer side is still `min_side` or more."""
        fine_enough = [
            number
            for number, level in enumerate(self.levels)
            if max(level.shape[:2]) >= min_side
        ]
        return fine_enough[-1] if fine_enough else 0


def _factor(fine_px: int, coarse_px: int) -> float:
    """Return how many fine pixels make a coarse one, preferring whole numbers."""
    ratio = fine_px / coarse_px
    explained = abs(round(ratio) * coarse_px - fine_px) < round(ratio)
    return float(round(ratio)) if explained else ratio


def _shrink(
    pixels: Pixels, size: tuple[int, int]
) -> UInt8[np.ndarray, "height width 3"]:
    """Resize to `size` (width, height) with antialiasing, reading a band at a time."""
    rows, columns = pixels.shape[:2]
    factor = max(1, min(columns // size[0], rows // size[1]) // 2)
    step = factor * max(1, _BAND_PX // factor)
    bands = [
        np.asarray(Image.fromarray(pixels[top : top + step, :]).reduce(factor))
        for top in range(0, rows, step)
    ]
    reduced = Image.fromarray(np.concatenate(bands))
    box = (0, 0, columns / factor, rows / factor)  # the last pixel may be a part of one
    return np.asarray(reduced.resize(size, Image.Resampling.BILINEAR, box=box))
