"""Sections from SpatialData zarr stores, whoever wrote them.

The format is that of Marconato et al. (2025), Nature Methods 22:58-62: images, shapes
and tables as elements, joined by coordinate systems, and by the columns of a table that
say which shape a row is about.
"""

__all__ = ["read_spatialdata"]

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Float

from stlearnkit import _spatialdata
from stlearnkit.conventions import COUNTS, SectionError
from stlearnkit.sections._section import Section
from stlearnkit.slides import Slide

if TYPE_CHECKING:
    from spatialdata import SpatialData

_METADATA = ("zarr.json", ".zarray", ".zmetadata")
_UNSAFE = {"pickle", "dill"}  # codecs that run what they read


def read_spatialdata(
    path: Path | str,
    *,
    patient: str | None = None,
    mpp: float | None = None,
    table: str | None = None,
    image: str | None = None,
) -> Section:
    """Read a section from a zarr store of SpatialData.

    One that `Section.to_spatialdata` wrote comes back as it was. In any other, e.g. of
    the readers of spatialdata-io, a table says which shapes its rows are about; their
    centres are the spots, brought to the pixels of an image. The image stays on disk
    and is read tile by tile.

    Parameters
    ----------
    path
        The folder, ``"….zarr"``.
    patient
        Name of the donor, which such a store does not say.
    mpp
        µm per px of the image, which it does not say either.
    table, image
        Names of the elements, where there are several.

    Raises
    ------
    FileNotFoundError
        If there is no such store.
    ValueError
        If it cannot be read, or holds what could run code.
    SectionError
        If it has no table about shapes, or `patient`, `mpp` or a choice is missing.

    Notes
    -----
    Raw counts are taken from ``layers["counts"]``, else from ``X``. The section is
    named after the shapes.
    """
    path = Path(path)
    data = _open(path)
    try:
        return Section(*_spatialdata.read(data))
    except SectionError:
        if patient is None or mpp is None:
            raise SectionError(
                f"{path} was not written by Section.to_spatialdata, and patient is "
                f"{patient!r}, mpp {mpp!r}. Give both: a SpatialData states neither "
                "the donor nor the size of a pixel."
            ) from None
    adata = data.tables[_one_of(list(data.tables), table, "table", path)]
    shapes = _shapes(data, adata, path)
    name = _one_of(list(data.images), image, "image", path)
    levels = tuple(_Level(array) for array in _arrays(data.images[name]))
    to_pixels = _to_pixels(data, shapes, name, path)
    return Section.build(
        adata.layers.get(COUNTS, adata.X),
        list(adata.var_names),
        list(adata.obs_names),
        _centres(data, adata, shapes, path) @ to_pixels[:2, :2].T + to_pixels[:2, 2],
        name=shapes,
        patient=patient,
        slide=Slide(levels, mpp),
        spot_diameter_um=_diameter(data, shapes, to_pixels) * mpp,
        obs=adata.obs,
    )


@dataclass(frozen=True)
class _Level:
    """One resolution of an image on disk, (channels, height, width) there."""

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, channels."""
        channels, height, width = self.array.shape
        return height, width, channels

    @property
    def dtype(self) -> Any:
        """Type of a value."""
        return self.array.dtype

    def __getitem__(self, key: Any) -> Any:
        """Return the pixels under `key`, a pair of slices."""
        cut = self.array[(slice(None), *key)].to_numpy()
        return np.ascontiguousarray(np.moveaxis(cut, 0, 2))


def _open(path: Path) -> "SpatialData":
    """Open a store that holds nothing that could run.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it cannot be read, or one of its codecs would run code.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"no zarr store at {path}. Check the path.")
    import spatialdata

    _check_codecs(path)
    try:
        return spatialdata.read_zarr(path)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a SpatialData: {type(error).__name__}: {error}. "
            "Check that it is the whole folder, as SpatialData.write left it."
        ) from error


def _check_codecs(path: Path) -> None:
    """Refuse arrays whose codec is Python's pickle: to read them is to run them.

    Raises
    ------
    ValueError
        If there is one, or what an array says of itself is no JSON.
    """
    for file in (file for file in path.rglob("*") if file.name in _METADATA):
        try:
            codecs = set(_words(json.loads(file.read_bytes())))
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{file} is no JSON: {error}. Fetch the store again."
            ) from error
        if codecs & _UNSAFE:
            raise ValueError(
                f"{file} names the codec {sorted(codecs & _UNSAFE)[0]!r}, which runs "
                "whatever code is in the data; expected one that only unpacks. Do not "
                "open this store unless you made it, and write it without objects."
            )


def _words(content: Any) -> list[str]:
    """Return what the keys ``id`` and ``name`` hold, however deep."""
    if isinstance(content, list):
        return [word for item in content for word in _words(item)]
    if not isinstance(content, dict):
        return []
    own = [content[key] for key in ("id", "name") if key in content]
    deeper = [word for item in content.values() for word in _words(item)]
    return [str(word).rpartition(".")[2] for word in own] + deeper


def _one_of(names: list[str], chosen: str | None, what: str, path: Path) -> str:
    """Return the element that was chosen, or the only one there is.

    Raises
    ------
    SectionError
        If it is not there, or there is a choice.
    """
    if chosen in names or (chosen is None and len(names) == 1):
        return chosen or names[0]
    raise SectionError(
        f"{what} is {chosen!r}, but {path} has the {what}s {names}. Give {what}=..., "
        "one of them."
    )


def _shapes(data: "SpatialData", adata: AnnData, path: Path) -> str:
    """Return the name of the shapes that the rows of a table are about.

    Raises
    ------
    SectionError
        If there are none, or those of several sections.
    """
    from spatialdata.models import TableModel

    about = adata.uns.get(TableModel.ATTRS_KEY, {}).get(TableModel.REGION_KEY)
    names = [about] if isinstance(about, str) else list(about or [])
    if len(names) != 1 or names[0] not in data.shapes:
        raise SectionError(
            f"the table of {path} is about {names}, expected the shapes of one section "
            f"among {list(data.shapes)}. Take the rows of one section with "
            "spatialdata.SpatialData.subset, or name another table."
        )
    return str(names[0])


def _centres(
    data: "SpatialData", adata: AnnData, shapes: str, path: Path
) -> Float[np.ndarray, "spots 2"]:
    """Return the centre of each row's shape, in the units of the shapes.

    Raises
    ------
    SectionError
        If a row is about a shape that is not there.
    """
    from spatialdata.models import TableModel

    key = adata.uns[TableModel.ATTRS_KEY][TableModel.INSTANCE_KEY]
    frame = data.shapes[shapes]
    at = pd.Index(frame.index).get_indexer(adata.obs[key])
    if (at < 0).any():
        raise SectionError(
            f"{int((at < 0).sum())} of {adata.n_obs} rows of the table of {path} are "
            f"about shapes that {shapes!r} does not have, first "
            f"{str(adata.obs[key].iloc[int(np.argmin(at))])!r}. Write both together."
        )
    centres = frame.geometry.iloc[at].centroid
    return np.column_stack([centres.x, centres.y]).astype(float)


def _diameter(
    data: "SpatialData", shapes: str, to_pixels: Float[np.ndarray, "3 3"]
) -> float:
    """Return the width of a shape, in pixels; that of a polygon from its area."""
    frame = data.shapes[shapes]
    scale = abs(np.linalg.det(to_pixels[:2, :2])) ** 0.5
    if "radius" in frame:
        return float(2 * np.median(frame["radius"]) * scale)
    return float(2 * np.median((frame.geometry.area / np.pi) ** 0.5) * scale)


def _arrays(image: Any) -> list[Any]:
    """Return the resolutions of an image, finest first."""
    if hasattr(image, "dims") and hasattr(image, "data"):
        return [image]
    return [next(iter(image[level].values())) for level in image.children]


def _to_pixels(
    data: "SpatialData", shapes: str, image: str, path: Path
) -> Float[np.ndarray, "3 3"]:
    """Return the affine map from the units of the shapes to pixels of the image.

    Raises
    ------
    SectionError
        If they share no coordinate system.
    """
    from spatialdata.transformations import get_transformation

    ways = [
        get_transformation(element, get_all=True)
        for element in (data.shapes[shapes], data.images[image])
    ]
    shared = [system for system in ways[0] if system in ways[1]]
    if not shared:
        raise SectionError(
            f"shapes {shapes!r} and image {image!r} of {path} share no coordinate "
            f"system: {list(ways[0])} and {list(ways[1])}. Name another image."
        )
    axes = ("x", "y")
    there, back = (way[shared[0]].to_affine_matrix(axes, axes) for way in ways)
    return np.linalg.inv(back) @ there
