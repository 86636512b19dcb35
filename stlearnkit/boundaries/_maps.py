"""The maps of a section, what is cut out of them, and maps made elsewhere."""

__all__ = ["BoundaryMaps"]

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int32, Integer, UInt8
from PIL import Image
from scipy.ndimage import distance_transform_edt

from stlearnkit.boundaries._grid import Grid
from stlearnkit.boundaries._read import (
    check_labels,
    cover,
    draw_polygons,
    read_image,
)
from stlearnkit.boundaries._shapes import describe
from stlearnkit.patches import extract
from stlearnkit.sections import Section
from stlearnkit.slides import Slide
from stlearnkit.stains import StainProfile

_DEEP_UM = 4.0  # inside a nucleus, from where on it does not get any brighter
_BAND_PX = 512  # rows worked on at a time


@dataclass(frozen=True, eq=False)
class BoundaryMaps:
    """Edges and nuclei of a whole section, on one grid of pixels.

    The upper left corner of the maps is that of the slide, and a pixel of the maps is
    `downsample` pixels of the slide wide: (x, y) of the slide at full resolution is
    (x, y) / `downsample` here.

    Parameters
    ----------
    edges
        Strength of edges, 0 to 255; 0 on glass.
    nuclei
        Number of the nucleus in each pixel, from 1; 0 between them.
    mpp
        µm per pixel of the maps.
    downsample
        Full-resolution pixels per pixel of the maps.
    profile
        Dyes of the section.
    source
        Where the dyes come from, or the nuclei if they were found elsewhere, in words.

    Raises
    ------
    ValueError
        If the two maps differ in size, or a scale is not positive.

    Examples
    --------
    >>> from stlearnkit.stains import RUIFROK
    >>> labels = np.zeros((20, 20), np.int32)
    >>> labels[5:15, 5:15] = 1
    >>> profile = StainProfile(RUIFROK, np.ones(2))
    >>> maps = BoundaryMaps(np.zeros((20, 20), np.uint8), labels, 0.5, 2.0, profile, "")
    >>> maps.shapes[["x_px", "y_px", "area_um2"]].values.tolist()
    [[20.0, 20.0, 25.0]]
    """

    edges: UInt8[np.ndarray, "height width"]
    nuclei: Int32[np.ndarray, "height width"]
    mpp: float
    downsample: float
    profile: StainProfile
    source: str

    def __post_init__(self) -> None:
        """Check that the maps lie on one grid.

        Raises
        ------
        ValueError
            As for the class.
        """
        if self.edges.shape != self.nuclei.shape:
            raise ValueError(
                f"edges has shape {self.edges.shape}, but nuclei {self.nuclei.shape}. "
                "Bring maps of another size in by with_edges or with_labels."
            )
        for name in ("mpp", "downsample"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}, expected a number above 0.")

    @classmethod
    def blank(cls, section: Section, *, working_um: float = 0.7) -> "BoundaryMaps":
        """Return maps of a section without edges or nuclei, for those made elsewhere.

        Nothing is detected; a thumbnail is looked at for the dyes, which `morphology`
        needs::

            maps = BoundaryMaps.blank(section).with_polygons("nuclei.geojson")

        Parameters
        ----------
        section
            A section with its slide.
        working_um
            µm per pixel of the maps, about, as for `detect`.

        Raises
        ------
        SectionError
            If the section has no slide.
        ValueError
            If no tissue is found, or the pixels are too coarse, or too many.
        """
        grid = Grid.of(section, working_um)
        _, overview = grid.look()
        return cls(
            np.zeros(grid.shape, np.uint8),
            np.zeros(grid.shape, np.int32),
            grid.mpp,
            float(grid.downsample),
            overview.profile,
            overview.source,
        )

    @property
    def n_nuclei(self) -> int:
        """Number of nuclei."""
        return len(self.shapes)

    @cached_property
    def shapes(self) -> pd.DataFrame:
        """One row per nucleus: place, size and form.

        `x_px`, `y_px`: centre in full-resolution pixels of the slide; `area_um2`;
        `eccentricity`: 0 for a disc, towards 1 for a rod; `nearest_um`: distance to
        the centre of the nearest other nucleus, NaN if there is none. The index is the
        number in `nuclei`.
        """
        return describe(self.nuclei, self.mpp, self.downsample)

    @cached_property
    def depth(self) -> UInt8[np.ndarray, "height width"]:
        """How deep inside its nucleus each pixel lies.

        0 between nuclei, 255 from 4 µm inside on. Along the line where two nuclei
        touch it falls to nearly 0: unlike in a plain mask, they stay apart.
        """
        margin = int(np.ceil(_DEEP_UM / self.mpp)) + 1
        depth = np.zeros(self.nuclei.shape, np.uint8)
        for top in range(0, len(depth), _BAND_PX):
            above = min(top, margin)
            band = self.nuclei[top - above : top + _BAND_PX + margin]
            covered = np.flatnonzero(band.any(axis=0))
            if len(covered):  # the rest of the band is glass
                columns = slice(max(covered[0] - margin, 0), covered[-1] + margin)
                part = _depth(band[:, columns], self.mpp)[above : above + _BAND_PX]
                depth[top : top + _BAND_PX, columns] = part
        return depth

    def patches(
        self,
        centres_px: Float[np.ndarray, "spots 2"],
        side_um: float,
        *,
        output_px: int = 112,
    ) -> UInt8[np.ndarray, "spots 2 side side"]:
        """Cut both maps around spots, as `patches.extract` cuts the image.

        Parameters
        ----------
        centres_px
            Centres (x, y) in full-resolution pixels of the slide.
        side_um
            Side of the square in µm.
        output_px
            Side of the result in pixels.

        Returns
        -------
        patches
            First `edges`, then `depth`; 0 beyond the image.

        Raises
        ------
        ValueError
            As for `patches.extract`, in particular if a centre lies outside the image.

        Examples
        --------
        >>> from stlearnkit.stains import RUIFROK
        >>> labels = np.zeros((20, 20), np.int32)
        >>> labels[5:15, 5:15] = 1
        >>> profile = StainProfile(RUIFROK, np.ones(2))
        >>> maps = BoundaryMaps(
        ...     np.full((20, 20), 9, np.uint8), labels, 1.0, 2.0, profile, ""
        ... )
        >>> maps.patches(np.array([[20.0, 0.0]]), 20.0, output_px=20)[0, 0, :, 10]
        array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9],
              dtype=uint8)
        """
        centres = centres_px / self.downsample
        size = self.edges.shape[::-1]
        outside = ((centres < 0) | (centres >= size)).any(axis=1)
        if outside.any():
            raise ValueError(
                f"{int(outside.sum())} of {len(centres)} centres lie outside the maps, "
                f"which cover {size[0] * self.downsample:.0f} x "
                f"{size[1] * self.downsample:.0f} full-resolution px, first: row "
                f"{int(np.argmax(outside))}. Check that centres_px is (x, y), and that "
                "the maps are of this section."
            )
        both = np.stack([self.edges, self.depth, self.depth], axis=-1)
        # Beyond an image `extract` sees white: the negative makes that 0.
        np.invert(both, out=both)
        cut = extract(
            Slide.from_array(both, self.mpp), centres, side_um, output_px=output_px
        )
        return np.ascontiguousarray(np.moveaxis(~cut[..., :2], -1, 1))

    def with_labels(
        self, labels: Integer[np.ndarray, "_ _"] | Path | str, mpp: float
    ) -> "BoundaryMaps":
        """Return the maps with nuclei that were found elsewhere.

        Parameters
        ----------
        labels
            Number of the nucleus in each pixel, 0 between them; or the file of such an
            image, TIFF or PNG. It must show the whole slide and nothing else: corners
            are laid on corners.
        mpp
            Its µm per pixel, to within 1 %. Another scale than that of the maps is
            brought to it, each pixel taking the number under its centre.

        Raises
        ------
        ValueError
            If the image cannot be read, holds no whole numbers or no nucleus, or does
            not have the slide's size.
        FileNotFoundError
            If there is no such file.
        """
        found = read_image(labels) if isinstance(labels, Path | str) else labels
        check_labels(found)
        covered = cover(found.shape, mpp, self.nuclei.shape, self.mpp)
        rows, columns = (
            np.minimum((np.arange(n) + 0.5) * (part / n), limit - 1).astype(int)
            for n, part, limit in zip(
                self.nuclei.shape, covered, found.shape, strict=True
            )
        )
        nuclei = found[rows[:, None], columns].astype(np.int32, copy=False)
        return replace(self, nuclei=nuclei, source="nuclei from a label image")

    def with_polygons(self, file: Path | str) -> "BoundaryMaps":
        """Return the maps with nuclei outlined in a GeoJSON file, as QuPath writes it.

        Parameters
        ----------
        file
            A FeatureCollection of Polygons or MultiPolygons, in full-resolution pixels
            of the slide. Holes are filled; where two overlap, the later one wins. A
            cell is drawn by its `nucleusGeometry`, if it has one. The number of a
            nucleus is the place of its feature in the file, from 1; what covers the
            centre of no pixel is left out.

        Raises
        ------
        ValueError
            If the file is no such collection, holds no polygon, or a polygon leaves
            the image.
        FileNotFoundError
            If there is no such file.
        """
        nuclei = draw_polygons(Path(file), self.nuclei.shape, self.downsample)
        return replace(self, nuclei=nuclei, source="nuclei from GeoJSON")

    def with_edges(
        self, edges: UInt8[np.ndarray, "_ _"] | Path | str, mpp: float
    ) -> "BoundaryMaps":
        """Return the maps with edges that were found elsewhere, such as PiDiNet's.

        Parameters
        ----------
        edges
            Strength from 0 to 255 over the whole slide, or the file of such an image,
            TIFF or PNG; laid on the slide as for `with_labels`.
        mpp
            Its µm per pixel. Another scale is brought to that of the maps, linearly.

        Raises
        ------
        ValueError
            If the image cannot be read, is not uint8 or does not have the slide's size.
        FileNotFoundError
            If there is no such file.
        """
        found = read_image(edges) if isinstance(edges, Path | str) else edges
        if found.dtype != np.uint8 or found.ndim != 2:
            raise ValueError(
                f"edges has dtype {found.dtype} and shape {found.shape}, expected "
                "uint8 (height, width). For 0 to 1 use (255 * edges).astype(np.uint8)."
            )
        height, width = self.edges.shape
        bottom, right = cover(found.shape, mpp, self.edges.shape, self.mpp)
        box = (0, 0, min(right, found.shape[1]), min(bottom, found.shape[0]))
        resized = Image.fromarray(found).resize(
            (width, height), Image.Resampling.BILINEAR, box
        )
        return replace(self, edges=np.asarray(resized))

    def __repr__(self) -> str:
        """Show size, scale and origin."""
        height, width = self.edges.shape
        return (
            f"BoundaryMaps({width} x {height} px, {self.mpp:.3f} µm/px; {self.source})"
        )


def _depth(
    labels: Int32[np.ndarray, "height width"], mpp: float
) -> UInt8[np.ndarray, "height width"]:
    """Turn the distance to the nearest other label into brightness."""
    inner = labels > 0
    for axis in (0, 1):  # pixels at a border of two labels, on both sides
        differs = np.diff(labels, axis=axis) != 0
        first = [slice(None), slice(None)]
        second = list(first)
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        inner[tuple(first)] &= ~differs
        inner[tuple(second)] &= ~differs
    if inner.all():  # no border in sight, and no distance to it
        return np.full(labels.shape, 255, np.uint8)
    # The border runs between pixels: half a pixel from the centre of the last one.
    depth_um = (distance_transform_edt(inner) + 0.5) * mpp
    depth = np.minimum(depth_um / _DEEP_UM, 1) * (labels > 0)
    return (255 * depth).round().astype(np.uint8)
