"""Pixels of image files: found out about without reading, read when cut.

JPEG and PNG are decoded whole, and the last two stay decoded; of a TIFF the tiles
under the cut are read. No file stays open.
"""

__all__ = ["Pixels", "Stored", "inspect", "is_tiff", "preview"]

import threading
import warnings
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}  # TIFF ResolutionUnit: inch, centimetre
_OME_UNIT_UM = {"µm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}
_TIFF_SUFFIXES = {".tif", ".tiff", ".btf", ".svs", ".ndpi"}
_MOST_PIECE_BYTES = 2**30  # of a TIFF's tile or strip, which is read as a whole
_BAND_PX = 512  # rows copied at a time, so that no second copy of a slide is made
_DECODING = threading.Lock()  # two threads that need one file must not both decode it


@runtime_checkable
class Pixels(Protocol):
    """One resolution: anything with a shape that can be cut like an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, channels."""

    def __getitem__(self, key: Any) -> Any:
        """Return the pixels under `key`, a pair of slices."""


@dataclass(frozen=True)
class Stored:
    """Pixels of a file, read when cut; picklable, and holds no open handle."""

    path: Path
    shape: tuple[int, ...]
    dtype: str = "uint8"
    level: int = 0

    def __getitem__(self, key: Any) -> Any:
        """Return the pixels under `key`.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        if not is_tiff(self.path):
            with _DECODING:
                return _decode(self.path, self.path.stat().st_mtime_ns)[key]
        import tifffile
        import zarr

        try:
            with tifffile.TiffFile(self.path) as tiff:
                store = tiff.series[0].aszarr(level=self.level)
                return zarr.open_array(store, mode="r")[key]
        except Exception as error:
            raise ValueError(_damaged(self.path, error)) from error


def inspect(path: Path) -> tuple[tuple[Pixels, ...], float | None]:
    """Return the levels of an image file, finest first, and its µm per pixel."""
    return _inspect_tiff(path) if is_tiff(path) else (_inspect_image(path), None)


def is_tiff(path: Path) -> bool:
    """Tell by its name whether a file is one of the TIFF family."""
    return path.suffix.lower() in _TIFF_SUFFIXES


def preview(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    """Decode a JPEG or PNG, a JPEG at down to 1/8 of its size, not below `size`."""
    with _open_image(path) as image:
        image.draft("RGB", size)
        _load(path, image)
        return np.asarray(image)


@lru_cache(maxsize=2)
def _decode(path: Path, changed_ns: int) -> UInt8[np.ndarray, "height width 3"]:
    """Decode a whole image file; `changed_ns` makes an edited file a new key."""
    with _open_image(path) as image:
        pixels = np.empty((image.height, image.width, 3), np.uint8)
        _load(path, image)
        for top in range(0, image.height, _BAND_PX):
            bottom = min(top + _BAND_PX, image.height)
            pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    pixels.flags.writeable = False  # shared between all who open this file
    return pixels


def _open_image(path: Path) -> Image.Image:
    """Open a JPEG or PNG of up to 179 megapixels, header only.

    Pillow warns from half that size, which slides of normal size exceed; beyond it
    Pillow refuses, as a decompression bomb, and a tiled TIFF is the right format.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=("JPEG", "PNG"))


def _load(path: Path, image: Image.Image) -> None:
    """Decode an opened image.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        image.load()
    except (OSError, SyntaxError) as error:
        raise ValueError(_damaged(path, error)) from error


def _damaged(path: Path, error: Exception) -> str:
    """Say that a file whose header was fine cannot be read."""
    return f"{path} is damaged or not complete: {error}. Fetch or export it again."


def _inspect_image(path: Path) -> tuple[Pixels, ...]:
    """Read the size of a JPEG or PNG from its header.

    Raises
    ------
    ValueError
        If the image is not RGB.
    """
    with _open_image(path) as image:
        if image.mode != "RGB":
            raise ValueError(
                f"its pixels are of Pillow's mode {image.mode!r}, expected 'RGB'; "
                "Image.open(path).convert('RGB').save(new_path) converts it"
            )
        width, height = image.size
    return (Stored(path, (height, width, 3)),)


def _inspect_tiff(path: Path) -> tuple[tuple[Pixels, ...], float | None]:
    """Read the sizes of a TIFF's levels and its scale.

    Raises
    ------
    ValueError
        If the file ends before its pixels do: missing tiles would be read as black. If
        it is no pyramid of tiles or strips that fit into memory one at a time.
    """
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        levels = tiff.series[0].levels
        end = max(
            offset + n_bytes
            for level in levels
            for offset, n_bytes in zip(
                level.keyframe.dataoffsets, level.keyframe.databytecounts, strict=True
            )
        )
        largest = max(prod(level.keyframe.chunks) for level in levels)
        if largest > _MOST_PIECE_BYTES:
            raise ValueError(
                f"its pixels come in pieces of {largest:,} bytes, each read whole, "
                f"expected at most {_MOST_PIECE_BYTES:,}; save it in tiles of 256 px"
            )
        size = path.stat().st_size
        if end > size:
            raise ValueError(f"it has {size} bytes, but its pixels reach to byte {end}")
        stored: tuple[Pixels, ...] = tuple(
            Stored(path, tuple(level.shape), str(level.dtype), number)
            for number, level in enumerate(levels)
        )
        return stored, _tiff_mpp(tiff)


def _tiff_mpp(tiff: Any) -> float | None:
    """Find the scale in OME-XML, Aperio's description or the resolution tags."""
    import tifffile
    from tifffile.tifffile import svs_description_metadata

    if tiff.ome_metadata:
        image = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        if "PhysicalSizeX" in pixels:
            unit = _OME_UNIT_UM.get(pixels.get("PhysicalSizeXUnit", "µm"))
            return None if unit is None else float(pixels["PhysicalSizeX"]) * unit
    if tiff.is_svs:
        mpp = svs_description_metadata(tiff.pages[0].description).get("MPP")
        return float(mpp) if isinstance(mpp, int | float) else None
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
