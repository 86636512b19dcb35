"""What registration looks at: a small, grey picture of a section's tissue."""

__all__ = ["SMOOTH_UM", "SPIKE_UM", "WorkingImage"]

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8
from PIL import Image
from scipy.ndimage import (
    binary_fill_holes,
    distance_transform_edt,
    gaussian_filter,
    label,
)
from skimage.filters import threshold_otsu

from stlearnkit.conventions import FrameError, RegistrationError, frame_px, frame_um
from stlearnkit.geometry import Affine2D
from stlearnkit.registration._levels import Level
from stlearnkit.sections import Section
from stlearnkit.slides import Slide
from stlearnkit.stains import optical_density

WORKING_UM = 16.0  # per pixel: cells merge, glands and vessels stay
USUAL_SIDE_UM = 4000.0  # root of the tissue's area, assumed where nobody knows
MARGIN_UM = 320.0  # of glass kept around the tissue
_OVERVIEW_PX = 1024  # longer side of the first look at a slide of unknown scale
SMOOTH_UM = 32.0  # standard deviation of the window that roughness is seen in
_GLASS = (0.006, 0.02)  # optical density; glass is less rough than one of these
_FLAT = 1e-4  # optical density; no camera sees less noise, such pixels are filled in
SPIKE_UM = 64.0  # half the width of what is cut off: hairs, dirt at the outline
_GAP_UM = 100.0  # half the width of the gaps that are closed: alveoli, fat
_RIM = 0.05  # of the sides of an image
_SMALL_PART = 0.05  # of the largest part: dust, bubbles, letters
_HOLE = 0.1  # of the largest thick part; beyond, thin walls are those of a frame
_SMOOTH = 0.5  # of the density of what encloses it; glass has next to none
_CUT_PART = 0.5  # of the largest part, for what touches the border: fiducials


@dataclass(frozen=True, eq=False)
class WorkingImage:
    """The tissue of one section as registration sees it, cropped and small.

    Parameters
    ----------
    density
        Optical density, mean over the colours, above that of the glass.
    mask
        True where there is tissue.
    um_per_px
        Side of a pixel. Where nobody knows the scale, it is such that the root of the
        tissue's area is 4 mm.
    corner_um
        Place (x, y) of the upper left corner, from that of the slide.
    extent_um
        Width and height of the slide: beyond lies nobody knows what.
    frame
        Name of the frame that transforms join: µm of the section, or pixels of the
        slide where the scale is not known.
    um_per_unit
        Micrometres per unit of `frame`.

    Examples
    --------
    >>> image = np.full((200, 300, 3), 240, np.uint8)
    >>> image[50:150, 100:220] = (150, 80, 160)
    >>> small = WorkingImage.of_slide(Slide.from_array(image, mpp=16.0), "C2")
    >>> small.frame, small.um_per_px, bool(small.mask.any())
    ('C2/um', 16.0, True)
    """

    density: Float32[np.ndarray, "height width"]
    mask: Bool[np.ndarray, "height width"]
    um_per_px: float
    corner_um: Float[np.ndarray, "2"]
    extent_um: Float[np.ndarray, "2"]
    frame: str
    um_per_unit: float
    _levels: dict[int, Level] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of_section(cls, section: Section) -> "WorkingImage":
        """Take the picture of a section, in its µm frame.

        Raises
        ------
        SectionError
            If the section has no slide, or no scale.
        RegistrationError
            If there is no tissue to be seen.
        """
        slide = section.require_slide("to align it by")
        return cls.of_slide(slide, section.name, mpp=section.mpp)

    @classmethod
    def of_slide(
        cls,
        slide: Slide,
        name: str,
        *,
        mpp: float | None = None,
        usual_mpp: float | None = None,
    ) -> "WorkingImage":
        """Take the picture of a slide, with reduced decoding where the file allows it.

        Parameters
        ----------
        slide
            The image.
        name
            What the frame is called by: ``"C2"`` gives ``"C2/um"``, or ``"C2/px"``
            where the scale is not known.
        mpp
            µm per pixel, where the slide itself does not say.
        usual_mpp
            What to take for the scale where nobody knows it, so that slides that are
            to be compared share it. By default the tissue's size decides.

        Raises
        ------
        RegistrationError
            If there is no tissue to be seen.
        """
        mpp = slide.mpp if mpp is None else mpp
        longer = max(slide.width, slide.height)
        if mpp is not None:
            side_px = max(1, round(longer * mpp / WORKING_UM))
            image = slide.thumbnail(side_px)
            frame, um_per_unit = frame_um(name), 1.0
        else:
            image = slide.thumbnail(_OVERVIEW_PX)
            mpp = usual_mpp or _usual_mpp(image, slide, name)
            side_px = max(1, round(longer * mpp / WORKING_UM))
            image = _at_most(image, side_px)
            frame, um_per_unit = frame_px(name), mpp
        density = _density(image)
        um_per_px = mpp * longer / max(image.shape[:2])
        mask = _tissue(density, um_per_px, name)
        extent_um = mpp * np.array([slide.width, slide.height], float)
        rows, columns = kept = _crop(mask, round(MARGIN_UM / um_per_px))
        return cls(
            density[kept],
            mask[kept],
            um_per_px,
            um_per_px * np.array([columns.start, rows.start], float),
            extent_um,
            frame,
            um_per_unit,
        )

    @property
    def scale_is_known(self) -> bool:
        """Whether micrometres are meant, and not an assumption."""
        return self.frame.endswith("/um")

    @property
    def to_um(self) -> Float[np.ndarray, "3 3"]:
        """Matrix from the units of `frame` to micrometres."""
        return np.diag([self.um_per_unit, self.um_per_unit, 1.0])

    def matrix_um(
        self, transform: Affine2D, fixed: "WorkingImage"
    ) -> Float[np.ndarray, "3 3"]:
        """Return a map from this picture to a fixed one as a matrix in micrometres.

        Raises
        ------
        FrameError
            If the map does not join the frames of the two.
        """
        if (transform.source, transform.target) != (self.frame, fixed.frame):
            raise FrameError(
                f"the map goes from {transform.source!r} to {transform.target!r}, "
                f"expected {self.frame!r} to {fixed.frame!r}: from the moving to the "
                "fixed section. Take its inverse(), or exchange fixed and moving."
            )
        return fixed.to_um @ transform.matrix @ np.linalg.inv(self.to_um)

    def transform(
        self, matrix: Float[np.ndarray, "3 3"], fixed: "WorkingImage"
    ) -> Affine2D:
        """Return the map from this picture to a fixed one that a matrix in µm means."""
        in_units = np.linalg.inv(fixed.to_um) @ matrix @ self.to_um
        in_units[2] = (0.0, 0.0, 1.0)  # rounding must not make it projective
        return Affine2D(in_units, self.frame, fixed.frame)

    def level(self, factor: int) -> Level:
        """Return the picture with pixels `factor` times as large, made at most once."""
        if factor not in self._levels:
            self._levels[factor] = Level(
                _pooled(self.density, factor),
                _pooled(self.mask.astype(np.float32), factor),
                self.um_per_px * factor,
                self.corner_um,
            )
        return self._levels[factor]


def _density(
    image: UInt8[np.ndarray, "height width 3"],
) -> Float32[np.ndarray, "height width"]:
    """Return the mean optical density over the colours, 0 for the glass."""
    grey = optical_density(image).mean(axis=-1)
    return np.maximum(grey - np.percentile(grey, 5), 0).astype(np.float32)


def _tissue(
    density: Float32[np.ndarray, "height width"], um_per_px: float, name: str
) -> Bool[np.ndarray, "height width"]:
    """Find the tissue by its roughness.

    Tissue is rougher than glass in any stain and at any strength, while the tint of
    the glass and eosin that bled onto it are smooth. The logarithm is split by the
    threshold of Otsu (1979), without what a program filled in around the image, or
    glass would be split from that. Gaps are closed, parts that reach into the rim of
    the image and are less than half the largest are taken for fiducials, holes are
    filled, and hairs and small parts are dropped.

    Raises
    ------
    RegistrationError
        If there is none.
    """
    contrast = _local_contrast(density, SMOOTH_UM / um_per_px)
    rough, (lowest, highest) = np.log(contrast + 1e-3), np.log(_GLASS)
    seen = rough[contrast > _FLAT]
    split = threshold_otsu(seen) if len(seen) and np.ptp(seen) else highest
    tissue = rough > np.clip(split, lowest, highest)
    px = 1 / um_per_px
    near = _grown(tissue, _GAP_UM * px)
    parts, _ = _parts(near)
    # What a frame of fiducials encloses is no hole.
    inner = near & ~np.isin(parts, _on_rim(parts))
    radius_px = (_GAP_UM + 2 * SMOOTH_UM + SPIKE_UM) * px
    holes = _holes(inner, _shrunk(near, radius_px), density)
    thick = _shrunk(near | holes, radius_px)
    parts, areas = _parts(_grown(thick, SPIKE_UM * px))
    at_rim = np.isin(np.arange(len(areas)), _on_rim(parts))
    kept = areas > at_rim * _CUT_PART * areas.max()
    parts, areas = _parts(binary_fill_holes(kept[parts]))
    mask = (areas > _SMALL_PART * areas.max())[parts]
    if not mask.any():
        raise RegistrationError(
            f"no tissue found on {name!r}: nowhere wider than {2 * SPIKE_UM:.0f} µm "
            f"does optical density vary by {_GLASS[0]} or more, as it does in tissue. "
            "Look at the image; it may be blank."
        )
    return mask


def _parts(
    mask: Bool[np.ndarray, "height width"],
) -> tuple[Int[np.ndarray, "height width"], Int[np.ndarray, " values"]]:
    """Return a number for each connected part, and its area; that of glass is 0."""
    parts, n_parts = label(mask)
    areas = np.bincount(parts.ravel(), minlength=n_parts + 1)
    areas[0] = 0
    return parts, areas


def _grown(
    mask: Bool[np.ndarray, "height width"], radius_px: float
) -> Bool[np.ndarray, "height width"]:
    """Add all pixels within `radius_px` of the mask."""
    return distance_transform_edt(~mask) <= radius_px if mask.any() else mask


def _shrunk(
    mask: Bool[np.ndarray, "height width"], radius_px: float
) -> Bool[np.ndarray, "height width"]:
    """Take off all pixels within `radius_px` of what is not in the mask."""
    return distance_transform_edt(mask) > radius_px if not mask.all() else mask


def _holes(
    mask: Bool[np.ndarray, "height width"],
    thick: Bool[np.ndarray, "height width"],
    density: Float32[np.ndarray, "height width"],
) -> Bool[np.ndarray, "height width"]:
    """Return the holes in a mask, but not the glass that a frame encloses.

    A hole in tissue is small beside the largest thick part, or it is no hole but smooth
    tissue, and as dense as what encloses it.
    """
    holes, areas = _parts(binary_fill_holes(mask) & ~mask)
    _, bodies = _parts(thick)
    small = areas < _HOLE * bodies.max()
    dense = np.bincount(holes.ravel(), density.ravel()) / np.maximum(areas, 1)
    smooth = dense > _SMOOTH * density[mask].mean() if mask.any() else small
    return ((areas > 0) & (small | smooth))[holes]


def _on_rim(parts: Int[np.ndarray, "height width"]) -> Int[np.ndarray, " values"]:
    """Return the numbers of the parts that reach into the rim of the image."""
    rows, columns = (max(1, round(_RIM * side)) for side in parts.shape)
    inner = np.zeros(parts.shape, bool)
    inner[rows:-rows, columns:-columns] = True
    return np.unique(parts[~inner])


def _local_contrast(
    density: Float32[np.ndarray, "height width"], sigma_px: float
) -> Float32[np.ndarray, "height width"]:
    """Return the standard deviation of optical density around each pixel."""
    mean = gaussian_filter(density, sigma_px, truncate=3.0)
    square = gaussian_filter(density**2, sigma_px, truncate=3.0)
    return np.sqrt(np.maximum(square - mean**2, 0))


def _usual_mpp(
    image: UInt8[np.ndarray, "height width 3"], slide: Slide, name: str
) -> float:
    """Return the µm per pixel of the slide that make the tissue of usual size."""
    # Closing and smoothing are a few pixels of the overview.
    side_px = np.sqrt(_tissue(_density(image), WORKING_UM, name).sum())
    return float(USUAL_SIDE_UM / side_px * image.shape[1] / slide.width)


def _at_most(
    image: UInt8[np.ndarray, "height width 3"], side_px: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Shrink an image whose longer side is above `side_px`."""
    factor = side_px / max(image.shape[:2])
    if factor >= 1:
        return image
    size = tuple(max(1, round(factor * side)) for side in image.shape[1::-1])
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _crop(
    mask: Bool[np.ndarray, "height width"], margin_px: int
) -> tuple[slice, slice]:
    """Return the rows and columns that hold the tissue and a margin."""
    sides = []
    for axis in (1, 0):
        filled = np.flatnonzero(mask.any(axis=axis))
        start = max(0, int(filled[0]) - margin_px)
        stop = min(mask.shape[1 - axis], int(filled[-1]) + 1 + margin_px)
        sides.append(slice(start, stop))
    return sides[0], sides[1]


def _pooled(
    image: Float32[np.ndarray, "_ _"], factor: int
) -> Float32[np.ndarray, "height width"]:
    """Average squares of pixels; the last row and column repeat where one is cut."""
    padded = np.pad(image, [(0, -side % factor) for side in image.shape], mode="edge")
    height, width = (side // factor for side in padded.shape)
    return padded.reshape(height, factor, width, factor).mean(axis=(1, 3))
