"""A slide: one H&E image and its scale, in memory or read from disk by region.

`Slide.from_array` holds an image in memory. `Slide.open` reads a file: JPEG and
PNG are decoded whole when first needed, and only the last two stay decoded; TIFF
and OME-TIFF, pyramids included, are read tile by tile, so that a slide larger
than the memory can be used.

A *level* is one resolution of a pyramid: level 0 is the finest.

Taught in the chapter "From slide to patches".
"""

__all__ = ["Slide"]

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}  # TIFF ResolutionUnit: inch, centimetre
_OME_UNIT_UM = {"µm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}
_TIFF_SUFFIXES = {".tif", ".tiff", ".svs", ".btf", ".ndpi", ".scn"}


@runtime_checkable
class _Pixels(Protocol):
    """One resolution: anything with a shape that can be cut like an array."""

    shape: tuple[int, ...]

    def __getitem__(self, key: Any) -> Any:
        """Return the pixels under `key`, a pair of slices."""


@lru_cache(maxsize=2)
def _decode(path: Path, changed_ns: int) -> UInt8[np.ndarray, "height width 3"]:
    """Decode a whole image file; `changed_ns` makes an edited file a new key."""
    with _open_image(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    pixels.flags.writeable = False  # shared between all who open this file
    return pixels


@lru_cache(maxsize=8)
def _tiff_levels(path: Path, changed_ns: int) -> tuple[Any, ...]:
    """Open the pyramid of a TIFF without reading pixels."""
    import tifffile
    import zarr

    series = tifffile.TiffFile(path).series[0]
    return tuple(
        zarr.open(level.aszarr(chunkmode="strile"), mode="r") for level in series.levels
    )


@dataclass(frozen=True)
class _Stored:
    """Pixels of a file, read when cut; picklable, and holds no open handle."""

    path: Path
    shape: tuple[int, ...]
    level: int = 0

    def __getitem__(self, key: Any) -> Any:
        changed_ns = self.path.stat().st_mtime_ns
        if _is_tiff(self.path):
            return _tiff_levels(self.path, changed_ns)[self.level][key]
        return _decode(self.path, changed_ns)[key]


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

    levels: tuple[_Pixels, ...]
    mpp: float | None = None
    path: Path | None = None

    def __post_init__(self) -> None:
        """Check what every later step relies on."""
        if not self.levels:
            raise ValueError("levels is empty: a slide needs at least one image.")
        for number, level in enumerate(self.levels):
            if len(level.shape) != 3 or level.shape[2] != 3:
                raise ValueError(
                    f"image of level {number} has shape {tuple(level.shape)}, expected "
                    "(height, width, 3). Convert it to RGB: image[..., :3] drops an "
                    "alpha channel, np.stack([image] * 3, -1) turns grey into RGB."
                )
            dtype = getattr(level, "dtype", np.dtype(np.uint8))
            if dtype != np.uint8:
                raise ValueError(
                    f"image of level {number} has dtype {dtype}, expected uint8 with "
                    "values 0 to 255. For floats between 0 and 1 use "
                    "(255 * image).round().astype(np.uint8)."
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
            JPEG, PNG, TIFF or OME-TIFF.
        mpp
            Micrometres per pixel. Without it, the file's own metadata are used; a
            file that does not say leaves it None.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is not an image that can be read.
        """
        path = Path(path).absolute()
        if not path.is_file():
            raise FileNotFoundError(f"no slide at {path}. Check the path.")
        read: Callable[[Path], tuple[tuple[_Pixels, ...], float | None]] = (
            _inspect_tiff if _is_tiff(path) else _inspect_image
        )
        try:
            levels, found_mpp = read(path)
        except Exception as error:
            raise ValueError(
                f"{path} cannot be read as an image: {error}. "
                "Check that it is whole and a JPEG, PNG, TIFF or OME-TIFF."
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
        """Level-0 pixels per pixel of each level, along the width."""
        return tuple(self.width / level.shape[1] for level in self.levels)

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
            If the rectangle is empty or leaves the image.
        """
        rows, columns = self.levels[level].shape[:2]
        inside = 0 <= left and 0 <= top and left + width <= columns
        if width < 1 or height < 1 or not (inside and top + height <= rows):
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
        """
        factor = min(1.0, max_side / max(self.width, self.height))
        size = (max(1, round(self.width * factor)), max(1, round(self.height * factor)))
        if self.path is not None and not _is_tiff(self.path):
            with _open_image(self.path) as image:
                image.draft("RGB", size)  # a JPEG can be decoded at 1/8 of its size
                return _shrink(image.convert("RGB"), size)
        level = self._coarsest_with_side(max(size))
        return _shrink(
            Image.fromarray(np.asarray(self.levels[level][:, :], np.uint8)), size
        )

    def fingerprint(self) -> str:
        """Return a short hash that changes when the pixels change.

        For a file it is made of the size and of sixteen pieces of 1 MiB spread over
        it (the whole of a smaller file), so that it stays quick for huge slides.
        """
        digest = hashlib.blake2b(digest_size=16)
        if self.path is None:
            pixels = np.ascontiguousarray(self.levels[0][:, :])
            digest.update(repr(pixels.shape).encode())
            digest.update(pixels.data)
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


def _is_tiff(path: Path) -> bool:
    """Tell by its name whether a file is one of the TIFF family."""
    return path.suffix.lower() in _TIFF_SUFFIXES


def _open_image(path: Path) -> Image.Image:
    """Open a JPEG or PNG of up to 179 megapixels, header only.

    Pillow warns from half that size, which slides of normal size exceed; beyond it
    Pillow refuses, as a decompression bomb, and a tiled TIFF is the right format.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path)


def _shrink(
    image: Image.Image, size: tuple[int, int]
) -> UInt8[np.ndarray, "height width 3"]:
    """Resize with antialiasing, box-averaging first where that is much cheaper."""
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))


def _inspect_image(path: Path) -> tuple[tuple[_Pixels, ...], None]:
    """Read the size of a JPEG or PNG from its header."""
    with _open_image(path) as image:
        width, height = image.size
    return (_Stored(path, (height, width, 3)),), None


def _inspect_tiff(path: Path) -> tuple[tuple[_Pixels, ...], float | None]:
    """Read the sizes of a TIFF's levels and its scale."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        levels = []
        for number, level in enumerate(series.levels):
            if level.dtype != np.uint8:
                raise ValueError(f"its pixels are {level.dtype}, expected uint8")
            levels.append(_Stored(path, tuple(level.shape), number))
        return tuple(levels), _tiff_mpp(tiff)


def _tiff_mpp(tiff: Any) -> float | None:
    """Find the scale in OME-XML or in the TIFF's resolution tags."""
    import tifffile

    if tiff.ome_metadata:
        image = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        if "PhysicalSizeX" in pixels:
            unit = _OME_UNIT_UM.get(pixels.get("PhysicalSizeXUnit", "µm"))
            return None if unit is None else float(pixels["PhysicalSizeX"]) * unit
    tags = tiff.pages[0].tags
    if "ResolutionUnit" not in tags or "XResolution" not in tags:
        return None
    unit = _UM_PER_UNIT.get(int(tags["ResolutionUnit"].value))
    if unit is None:
        return None
    pixels_per_unit, per = tags["XResolution"].value
    # 72 dpi and the like are a printer's default, not a microscope's scale.
    mpp = unit * per / pixels_per_unit if pixels_per_unit else np.inf
    return mpp if mpp < 100 else None
