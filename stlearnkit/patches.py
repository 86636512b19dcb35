"""Patches: square pieces of a slide around its spots, of a stated physical size.

A patch is asked for in µm, because a network that learned at one scale cannot read
another, and pixels of two scanners differ in size. What is read is the coarsest
level of the slide that is still fine enough, and only the part under the spots.

**Where a pixel lies.** Coordinates are continuous: the pixel in column 0 covers x
from 0 to 1, so that an image of width 100 covers exactly 0 to 100, and the centre of
the first pixel is at 0.5. Hence a patch of even side around whole numbers cuts pixels
out as they are, and halving an image halves every coordinate.

Taught in the chapter "From slide to patches".
"""

__all__ = ["Scale", "coverage", "extract"]

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from stlearnkit.slides import Slide

_GLASS = 255  # what lies beyond the image
_LEVEL_SLACK = 1.01  # scales of slides are known to about 1 %
_PREREDUCE = 1.5  # averaging whole pixels may take the scale down to this, not below
_MAX_SOURCE_PX = 8192  # side of a patch before it is resized
_MAX_BYTES = 8 * 2**30  # of the patches returned
_MAX_BLOCK_PX = 4096  # side of the square whose spots are read together
_N_THREADS = min(4, os.cpu_count() or 1)  # Pillow resizes without Python's lock


@dataclass(frozen=True)
class Scale:
    """A physical size at which to look at the tissue around a spot.

    Parameters
    ----------
    name
        Word for it, as used in keys of features, e.g. ``"spot"``; letters, digits
        and underscores.
    side_um
        Side of the square patch in µm.

    Raises
    ------
    ValueError
        If the name cannot be part of a key, or the side is not positive.

    Examples
    --------
    >>> Scale("neighbourhood", 224.0).side_um
    224.0
    """

    name: str
    side_um: float

    def __post_init__(self) -> None:
        """Check both.

        Raises
        ------
        ValueError
            As for the class.
        """
        if not self.name.isidentifier():
            raise ValueError(
                f"name of the scale is {self.name!r}, expected letters, digits and "
                "underscores, not beginning with a digit. Try 'spot' or 'um_224'."
            )
        _check_side(self.side_um)


def extract(
    slide: Slide,
    centres_px: Float[np.ndarray, "spots 2"],
    side_um: float,
    *,
    output_px: int = 224,
) -> UInt8[np.ndarray, "spots side side 3"]:
    """Cut a square of `side_um` around each centre, at `output_px` pixels a side.

    Where a patch leaves the image, it is filled with white, which is how a scanner
    shows empty glass. Repeating the edge pixels instead would draw streaks, which look
    like fibres. `coverage` tells how much of a patch is image.

    Parameters
    ----------
    slide
        The slide, with its `mpp`.
    centres_px
        Centres (x, y) in full-resolution pixels; fractions count. The upper left
        corner of the image is (0, 0), the centre of its first pixel (0.5, 0.5).
    side_um
        Side of the square in µm; at least one pixel.
    output_px
        Side of the result in pixels.

    Returns
    -------
    patches
        One per centre, in that order, RGB.

    Raises
    ------
    ValueError
        If the slide has no `mpp`; a centre is not finite or not on the image;
        `side_um` or `output_px` is not positive; or the sizes are absurd: a patch
        smaller than one pixel, or so much to read or return that a unit must be wrong.

    Notes
    -----
    The level read is the coarsest whose pixels are no larger than those of the result
    (1 % larger is let pass, as no scale is known better). The result is interpolated
    linearly, with a triangle as wide as two pixels of the result if it shrinks, so that
    nothing finer than a pixel of the result turns into false patterns. A patch shrunk
    3-fold or more is first averaged over whole pixels, by a factor that leaves at least
    1.5. The triangle looks up to one pixel of the result beyond the square. A patch
    does not depend, in any bit, on the others asked for.

    Cost grows with the number of spots times the larger of `output_px` squared and
    the square of the side in pixels of the level read; where patches overlap, the
    tissue under them is read once for each block of neighbouring spots, so it stops
    growing with the density of spots.

    Examples
    --------
    >>> image = np.zeros((40, 60, 3), np.uint8)
    >>> image[:, 30:] = 200
    >>> slide = Slide.from_array(image, mpp=0.5)
    >>> extract(slide, np.array([[30.0, 20.0]]), 2.0, output_px=4)[0, 0, :, 0]
    array([  0,   0, 200, 200], dtype=uint8)
    """
    side_px = _check_request(slide, centres_px, side_um, output_px)
    level = _choose_level(slide, side_px / output_px)
    side = side_px / slide.downsamples[level]  # from here on in pixels of that level
    _check_source(side_um, side)
    reduction = max(1, int(side / output_px / _PREREDUCE))
    corners = centres_px / slide.downsamples[level] - side / 2
    margin = int(np.ceil(max(1.0, side / output_px))) + reduction
    first = np.floor((corners - margin) / reduction).astype(int) * reduction
    last = np.ceil((corners + side + margin) / reduction).astype(int) * reduction
    patches = np.empty((len(centres_px), output_px, output_px, 3), np.uint8)

    def fill(spots: Int[np.ndarray, " spots"]) -> None:
        """Read the tissue under some spots once, and resize each one's part of it."""
        start = first[spots].min(axis=0)
        image = _read(slide, level, start, last[spots].max(axis=0))
        if reduction > 1:
            image = image.reduce(reduction)
        for spot in spots:
            own = np.concatenate([first[spot] - start, last[spot] - start]) // reduction
            corner = (corners[spot] - first[spot]) / reduction
            patches[spot] = np.asarray(
                image.crop(own.tolist()).resize(
                    (output_px, output_px),
                    Image.Resampling.BILINEAR,
                    (*corner, *(corner + side / reduction)),
                )
            )

    with ThreadPoolExecutor(_N_THREADS) as pool:
        for _ in pool.map(fill, _blocks(first, last)):
            pass  # consumed, so that an error in a thread is raised here
    return patches


def coverage(
    slide: Slide, centres_px: Float[np.ndarray, "spots 2"], side_um: float
) -> Float[np.ndarray, " spots"]:
    """Tell which fraction of each patch's area lies on the image.

    Parameters
    ----------
    slide, centres_px, side_um
        As for `extract`.

    Returns
    -------
    fraction
        From 0.25 at a corner, for patches smaller than the image, to 1, which is exact
        for patches wholly inside.

    Raises
    ------
    ValueError
        As for `extract`.

    Examples
    --------
    >>> slide = Slide.from_array(np.zeros((100, 100, 3), np.uint8), mpp=1.0)
    >>> coverage(slide, np.array([[50.0, 50.0], [0.0, 50.0]]), 20.0)
    array([1. , 0.5])
    """
    side_px = _check_request(slide, centres_px, side_um, 1)
    size = np.array([slide.width, slide.height])
    # What is cut off, not what is left: exactly 0, not a rounding above, if inside.
    beyond = np.maximum(side_px / 2 - np.stack([centres_px, size - centres_px]), 0)
    return (1 - beyond.sum(axis=0) / side_px).prod(axis=1)


def _choose_level(slide: Slide, shrink: float) -> int:
    """Return the coarsest level that is at least as fine as the result."""
    fine_enough = [
        level
        for level, downsample in enumerate(slide.downsamples)
        if downsample <= shrink * _LEVEL_SLACK
    ]
    return max(fine_enough, key=lambda level: slide.downsamples[level], default=0)


def _blocks(
    first: Int[np.ndarray, "spots 2"], last: Int[np.ndarray, "spots 2"]
) -> Iterator[Int[np.ndarray, " spots"]]:
    """Group spots to read together; each alone where a common read saves nothing."""
    if len(first) == 0:
        return
    area = (last - first)[0].prod()
    cell_px = min(2 * (last - first).max(), _MAX_BLOCK_PX)
    _, block = np.unique(first // cell_px, axis=0, return_inverse=True)
    for number in range(block.max() + 1):
        spots = np.flatnonzero(block == number)
        together = (last[spots].max(axis=0) - first[spots].min(axis=0)).prod()
        yield from [spots] if together < area * len(spots) else spots[:, None]


def _read(
    slide: Slide,
    level: int,
    first: Int[np.ndarray, "2"],
    last: Int[np.ndarray, "2"],
) -> Image.Image:
    """Cut from `first` to `last` (x, y), with white beyond the image."""
    rows, columns = slide.levels[level].shape[:2]
    left, top = np.clip(first, 0, (columns, rows)).tolist()
    right, bottom = np.clip(last, 0, (columns, rows)).tolist()
    inside = slide.crop(left, top, right - left, bottom - top, level=level)
    if (first >= 0).all() and right == last[0] and bottom == last[1]:
        return Image.fromarray(inside)
    width, height = last - first
    padded = np.full((height, width, 3), _GLASS, np.uint8)
    x, y = left - first[0], top - first[1]
    padded[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return Image.fromarray(padded)


def _check_request(
    slide: Slide,
    centres_px: Float[np.ndarray, "spots 2"],
    side_um: float,
    output_px: int,
) -> float:
    """Check what a caller may get wrong, and return the side in pixels of level 0.

    Raises
    ------
    ValueError
        At the first thing that is wrong.
    """
    if slide.mpp is None:
        raise ValueError(
            f"slide has no µm scale: {slide}. Open it with mpp=..., micrometres per "
            "pixel; for an array of known pitch, pitch in µm / pitch in pixels."
        )
    _check_side(side_um)
    side_px = side_um / slide.mpp
    if side_px < 1:
        raise ValueError(
            f"side_um is {side_um}, which is {side_px:.3g} pixels of {slide.mpp} µm; "
            "expected at least one pixel. Give side_um in µm, not in mm."
        )
    if output_px < 1:
        raise ValueError(f"output_px is {output_px}, expected 1 or more, e.g. 224.")
    n_bytes = len(centres_px) * output_px**2 * 3
    if n_bytes > _MAX_BYTES:
        raise ValueError(
            f"{len(centres_px)} patches of output_px {output_px} take "
            f"{n_bytes / 2**30:.1f} GiB, expected at most {_MAX_BYTES / 2**30:.0f}. "
            "Extract some spots at a time, or make output_px smaller."
        )
    _check_centres(slide, centres_px)
    return side_px


def _check_side(side_um: float) -> None:
    """Refuse sides that are no length.

    Raises
    ------
    ValueError
        If the side is not finite and positive.
    """
    if not (np.isfinite(side_um) and side_um > 0):
        raise ValueError(
            f"side_um is {side_um}, expected micrometres above 0, typically 50 to 1000."
        )


def _check_centres(slide: Slide, centres_px: Float[np.ndarray, "spots 2"]) -> None:
    """Refuse centres that are not on the image.

    Raises
    ------
    ValueError
        If a centre is not finite or outside.
    """
    finite = np.isfinite(centres_px).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"{int((~finite).sum())} of {len(centres_px)} centres are not finite, "
            f"first: row {int(np.argmin(finite))}. Drop these spots."
        )
    inside = ((centres_px >= 0) & (centres_px < (slide.width, slide.height))).all(
        axis=1
    )
    if not inside.all():
        raise ValueError(
            f"{int((~inside).sum())} of {len(centres_px)} centres lie outside the "
            f"image of {slide.width} x {slide.height} px, first: row "
            f"{int(np.argmin(inside))}. Check that centres_px is (x, y), not "
            "(row, col), in full-resolution pixels."
        )


def _check_source(side_um: float, source_px: float) -> None:
    """Refuse patches that would read a large part of a gigapixel image each.

    Raises
    ------
    ValueError
        If the side is above the limit.
    """
    if source_px > _MAX_SOURCE_PX:
        raise ValueError(
            f"side_um is {side_um}, for which {source_px:.0f} pixels a side must be "
            f"read; expected at most {_MAX_SOURCE_PX}. Check the unit; for a view this "
            "wide, use a slide with coarser levels (a pyramid), or a larger mpp."
        )
