"""Maps made elsewhere: read, checked, and brought to the pixels of ours."""

__all__ = ["check_labels", "cover", "draw_polygons", "read_image"]

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Shaped
from PIL import Image
from skimage.draw import polygon

from stlearnkit._pixels import is_tiff
from stlearnkit._tables import check_unpacked

_MOST_TIMES = 1000  # a map of few nuclei, mostly zeros, is packed some hundred times
_SIZE_SLACK = 0.01  # scales of slides are known to about 1 %


def read_image(path: Path | str) -> Shaped[np.ndarray, "..."]:
    """Read a TIFF or PNG as it is.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no such image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no map at {path}. Check the path.")
    try:
        if is_tiff(path):
            return _read_tiff(path)
        with Image.open(path, formats=("PNG",)) as image:
            return np.asarray(image)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as an image: {error}. Save it as TIFF or PNG."
        ) from error


def _read_tiff(path: Path) -> Shaped[np.ndarray, "..."]:
    """Read the first image of a TIFF that can be as large as it says."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        check_unpacked(path, int(series.nbytes), _MOST_TIMES)
        return series.asarray()


def check_labels(labels: Shaped[np.ndarray, "..."]) -> None:
    """Refuse what is no label image.

    Raises
    ------
    ValueError
        If it has no two axes, no whole numbers from 0, or no nucleus.
    """
    if labels.ndim != 2:
        raise ValueError(
            f"labels has shape {labels.shape}, expected (height, width): one number "
            "per pixel. Colours of an overlay are no labels; export the label image."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels has dtype {labels.dtype}, expected whole numbers. Number the "
            "parts of a mask by skimage.measure.label(mask)."
        )
    if labels.size == 0 or labels.max() == 0 or labels.min() < 0:
        span = "nothing" if labels.size == 0 else f"{labels.min()} to {labels.max()}"
        raise ValueError(
            f"labels holds {span}, expected 0 between nuclei and at least one nucleus "
            "numbered from 1. Check that it is the right file."
        )
    if labels.max() > np.iinfo(np.int32).max:
        raise ValueError(
            f"labels holds {labels.max()}, expected at most {np.iinfo(np.int32).max}. "
            "Use skimage.segmentation.relabel_sequential."
        )


def cover(
    shape: tuple[int, ...], mpp: float, expected: tuple[int, ...], expected_mpp: float
) -> list[float]:
    """Return how many rows and columns of a map our own pixels cover.

    A scale that is wrong by 1 % would shift nuclei by 100 µm at the far end of a slide
    of 10 mm. So where the two maps differ by more than their last pixel, which may
    stand for a part of one, it is their corners that are laid on each other.

    Raises
    ------
    ValueError
        If the map does not show the whole slide, or `mpp` is not positive.
    """
    if not (np.isfinite(mpp) and mpp > 0):
        raise ValueError(f"mpp is {mpp}, expected µm per pixel of the map, above 0.")
    size_um = np.array(shape) * mpp
    expected_um = np.array(expected) * expected_mpp
    slack = _SIZE_SLACK * expected_um + max(mpp, expected_mpp)
    if (np.abs(size_um - expected_um) > slack).any():
        raise ValueError(
            f"map of {shape[1]} x {shape[0]} px at mpp {mpp} shows "
            f"{size_um[1]:.0f} x {size_um[0]:.0f} µm, but the slide has "
            f"{expected_um[1]:.0f} x {expected_um[0]:.0f} µm. Give the map of the "
            "whole slide, and its own µm per pixel."
        )
    step = expected_mpp / mpp
    return [
        own * step if abs(own * step - length) <= max(step, 1.0) else float(length)
        for own, length in zip(expected, shape, strict=True)
    ]


def draw_polygons(
    file: Path, shape: tuple[int, ...], downsample: float
) -> Int32[np.ndarray, "height width"]:
    """Fill the polygons of a GeoJSON file with numbers from 1, in their order.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it holds no polygons on the image.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no GeoJSON at {file}. Check the path.")
    labels = np.zeros(shape, np.int32)
    number = 0
    for number, feature in enumerate(_features(file), start=1):
        try:
            rings = [
                np.array(ring, float)[:, [0, 1]] / downsample - 0.5
                for ring in _outlines(feature)
            ]
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file}: feature {number} has no outline that can be read: {error!r}. "
                "Expected a Polygon or MultiPolygon with coordinates [[[x, y], ...]]."
            ) from error
        for x, y in (ring.T for ring in rings):  # 0 is the centre of the first pixel
            if not _inside(x, y, shape):
                raise ValueError(
                    f"{file}: feature {number} leaves the image of {shape[1]} x "
                    f"{shape[0]} px at 1/{downsample:g} of full resolution. Export "
                    "coordinates in full-resolution pixels of this slide."
                )
            rows, columns = polygon(y, x, shape)
            labels[rows, columns] = number
    if not labels.any():
        raise ValueError(
            f"{file} holds no nucleus: {number} features. Export the detections "
            "as a FeatureCollection of polygons."
        )
    return labels


def _features(file: Path) -> list[Any]:
    """Parse the file, and return its features.

    Raises
    ------
    ValueError
        If it is not GeoJSON.
    """
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{file} is not JSON, or not complete: {error}. Export it again."
        ) from error
    features = content.get("features") if isinstance(content, dict) else content
    if not isinstance(features, list):
        raise ValueError(
            f"{file} is JSON, but not a FeatureCollection: it has no list 'features'. "
            "Export objects as GeoJSON, as a FeatureCollection."
        )
    return features


def _outlines(feature: Any) -> Iterator[Any]:
    """Yield the outer ring of each polygon of a feature.

    Of a cell QuPath writes two outlines: `geometry` is then that of the cytoplasm.

    Raises
    ------
    KeyError
        If it has none.
    """
    geometry = feature.get("nucleusGeometry") or feature["geometry"]
    polygons = geometry["coordinates"]
    if geometry["type"] == "Polygon":
        yield polygons[0]
    elif geometry["type"] == "MultiPolygon":
        for part in polygons:
            yield part[0]
    else:
        raise KeyError(geometry["type"])


def _inside(
    x: Shaped[np.ndarray, "..."], y: Shaped[np.ndarray, "..."], shape: tuple[int, ...]
) -> bool:
    """Tell whether an outline lies on the image, give or take a pixel."""
    on_x = (x >= -1.5).all() and (x <= shape[1] + 0.5).all()
    return bool(on_x and (y >= -1.5).all() and (y <= shape[0] + 0.5).all())
