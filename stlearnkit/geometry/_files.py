"""Transforms in files: our own JSON, and the text files of ITK."""

__all__ = ["load", "read_itk", "save", "write_itk", "written"]

import json
from pathlib import Path
from typing import Any

import numpy as np

from stlearnkit._store import replace_file
from stlearnkit.geometry._affine import Affine2D
from stlearnkit.geometry._displacement import Displacement, InverseDisplacement
from stlearnkit.geometry._itk import compose, describe, parse

_FORMAT = "stlearnkit transform"
_VERSION = 1

_AnyTransform = Affine2D | Displacement | InverseDisplacement


def save(transform: _AnyTransform, path: Path | str) -> None:
    """Write a transform, with its frames, as JSON.

    The file gets its name only when it is whole. Numbers are written so that `load`
    returns the same, bit by bit.

    Parameters
    ----------
    transform
        What to write.
    path
        Usually ``"….json"``; missing folders are made, an old file is replaced.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    replace_file(Path(path), written(transform))


def written(transform: _AnyTransform) -> bytes:
    """Return what `save` writes."""
    content = {"format": _FORMAT, "version": _VERSION, **_to_json(transform)}
    return json.dumps(content, indent=1).encode()


def load(path: Path | str) -> _AnyTransform:
    """Read a transform that `save` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not one of these.
    """
    path = Path(path)
    text = _text(path)
    try:
        content = json.loads(text)
        found = content["format"], content["version"]
        if found != (_FORMAT, _VERSION):
            raise ValueError(f"its format and version are {found}")
        return _from_json(content)
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a transform of version {_VERSION} written by "
            f"geometry.save: {type(error).__name__}: {error}. Save the transform anew; "
            "files of ITK are read by geometry.read_itk."
        ) from error


def write_itk(transform: _AnyTransform, path: Path | str) -> None:
    """Write a transform as a text file of ITK, for SimpleITK, 3D Slicer or ANTs.

    ITK maps points of the *fixed* image to the moving one, because images are pulled
    that way. So what is written is the way back, from `transform.target` (fixed) to
    `transform.source` (moving): given to ``SimpleITK.Resample``, it draws the moving
    image where `transform` takes its points. Frames are not written; ITK has none.

    Coordinates are physical ones, in units of the frames. An image whose pixels are
    `step` wide has spacing `step` and, as ITK's origin is the *centre* of the first
    pixel, origin ``step / 2``.

    Parameters
    ----------
    transform
        An `Affine2D`, or an `InverseDisplacement`, as registration gives it. It becomes
        a composite of an affine and a B-spline transform.
    path
        ``"….tfm"`` or ``"….txt"``.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If `transform` is a `Displacement`, whose way back is no spline.
    """
    if isinstance(transform, Displacement):
        raise ValueError(
            f"the way back of this Displacement, from {transform.target!r} to "
            f"{transform.source!r}, is no spline, so ITK cannot store it. Write "
            f"transform.inverse(): ITK then holds the map from {transform.source!r} to "
            f"{transform.target!r}."
        )
    replace_file(Path(path), describe(transform.inverse()).encode())


def read_itk(
    path: Path | str, *, source: str, target: str
) -> Affine2D | InverseDisplacement:
    """Read a text file of ITK, as `write_itk` writes it.

    Read are affine, rigid, similarity and translation transforms of the plane, and
    composites of these with one cubic B-spline.

    Parameters
    ----------
    path
        ``"….tfm"`` or ``"….txt"``.
    source
        Frame of the *moving* image, where ITK's points end.
    target
        Frame of the *fixed* image, where ITK's points start.

    Returns
    -------
    The map from `source` to `target`, the inverse of what ITK applies to points.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no text file of ITK, or holds another kind of transform.

    Notes
    -----
    Outside the grid ITK's B-spline stops at once, ours fades away over two steps.
    """
    path = Path(path)
    text = _text(path)
    try:
        return compose(parse(text), source=target, target=source).inverse()
    except (ValueError, LookupError) as error:
        raise ValueError(
            f"{path} cannot be read as a transform of ITK: {error}. Expected is a text "
            "file (.tfm, .txt) of affine transforms of the plane and at most one cubic "
            "B-spline."
        ) from error


def _text(path: Path) -> str:
    """Return what a file holds.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no transform at {path}. Check the path.")
    return path.read_text(encoding="utf-8", errors="replace")


def _to_json(transform: _AnyTransform) -> dict[str, Any]:
    """Return the parts of a transform as JSON knows them."""
    if isinstance(transform, InverseDisplacement):
        return {"kind": "inverse", "of": _to_json(transform.of)}
    if isinstance(transform, Displacement):
        return {
            "kind": "displacement",
            "affine": _to_json(transform.affine),
            "nodes": _to_json(transform.nodes),
            "coefficients": transform.coefficients.tolist(),
        }
    return {
        "kind": "affine",
        "source": transform.source,
        "target": transform.target,
        "matrix": transform.matrix.tolist(),
    }


def _from_json(content: dict[str, Any]) -> Any:
    """Return the transform of these parts.

    Raises
    ------
    ValueError
        If they make none.
    """
    kind = content["kind"]
    if kind == "affine":
        matrix = _array(content["matrix"], (3, 3))
        return Affine2D(matrix, str(content["source"]), str(content["target"]))
    if kind == "displacement":
        return Displacement(
            _from_json(content["affine"]),
            _from_json(content["nodes"]),
            _array(content["coefficients"], (None, None, 2)),
        )
    if kind == "inverse":
        return InverseDisplacement(_from_json(content["of"]))
    raise ValueError(f"its kind is {kind!r}")


def _array(numbers: Any, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return numbers as an array of a shape, of which None is any length.

    Raises
    ------
    ValueError
        If they have another.
    """
    array = np.array(numbers, dtype=float)
    if array.ndim != len(shape) or any(
        expected not in (None, found)
        for expected, found in zip(shape, array.shape, strict=True)
    ):
        raise ValueError(f"an array has shape {array.shape}, expected {shape}")
    return array
