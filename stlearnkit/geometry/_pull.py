"""Images on other grids."""

__all__ = ["pull"]

import numpy as np
from jaxtyping import Shaped
from scipy.ndimage import map_coordinates

from stlearnkit.geometry._affine import Transform

_BAND_PX = 2**18  # pixels handled at a time, so that coordinates stay small


def pull(
    image: Shaped[np.ndarray, "height width ..."],
    transform: Transform,
    shape: tuple[int, int],
    *,
    step: float = 1.0,
    new_step: float | None = None,
    fill: float = 0.0,
    nearest: bool = False,
) -> Shaped[np.ndarray, "_ _ ..."]:
    """Draw an image of one frame on a grid of another.

    For each pixel of the new grid, the place of its centre is taken back through
    ``transform.inverse()``, and the image is read there. So an image goes where the
    same transform takes its points, and no pixel is left without a value.

    In both frames the upper left corner of the image is at (0, 0) and a pixel is `step`
    wide, so that the centre of the first is at half a step.

    Parameters
    ----------
    image
        In the frame `transform.source`: grey, RGB, or a mask.
    transform
        From the frame of the image to that of the new grid, as for points.
    shape
        Height and width of the new image in pixels.
    step
        Side of a pixel of `image` in units of its frame: 1 where these are its pixels,
        µm per px where they are µm.
    new_step
        Side of a pixel of the new image in units of `transform.target`; without it,
        `step`.
    fill
        Value outside the image; 255 for the glass around H&E.
    nearest
        Whether to take the nearest pixel, for numbers of regions, which must not be
        mixed. Otherwise pixels are interpolated linearly; a mask is then cut at a half.

    Returns
    -------
    An image of the dtype of `image`.

    Raises
    ------
    ValueError
        If a step is not above 0, or the shape is empty.

    Notes
    -----
    Nothing is averaged: a grid much coarser than the image passes over pixels. Shrink
    the image first, with `Slide.thumbnail`.

    Examples
    --------
    >>> from stlearnkit.geometry import Affine2D
    >>> right = Affine2D.rigid(0, (1.0, 0.0), source="a/px", target="b/px")
    >>> pull(np.array([[1.0, 2.0, 3.0]]), right, (1, 3))
    array([[0., 1., 2.]])
    """
    new_step = step if new_step is None else new_step
    for name, value in (("step", step), ("new_step", new_step)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(
                f"{name} is {value}, expected the side of a pixel, above 0, in units "
                "of its frame."
            )
    if min(shape) < 1:
        raise ValueError(f"shape is {shape}, expected height and width from 1 pixel.")
    back = transform.inverse()
    height, width = shape
    rows_at_once = max(1, _BAND_PX // width)
    columns = np.arange(width)
    bands = []
    for top in range(0, height, rows_at_once):
        rows = np.arange(top, min(top + rows_at_once, height))
        x, y = np.meshgrid((columns + 0.5) * new_step, (rows + 0.5) * new_step)
        places = back(np.column_stack([x.ravel(), y.ravel()])) / step
        band = _read(image, places, fill, nearest)
        bands.append(band.reshape(len(rows), width, *image.shape[2:]))
    return np.concatenate(bands)


def _read(
    image: Shaped[np.ndarray, "height width ..."],
    places: Shaped[np.ndarray, "points 2"],
    fill: float,
    nearest: bool,
) -> Shaped[np.ndarray, "points ..."]:
    """Return the values of an image at places in its pixels."""
    height, width = image.shape[:2]
    x, y = places.T
    outside = (x < 0) | (y < 0) | (x > width) | (y > height)
    centres = np.stack([y, x]) - 0.5
    kind = image.dtype if nearest else np.result_type(image.dtype, np.float32)
    layers = [
        map_coordinates(
            layer.astype(kind), centres, order=0 if nearest else 1, mode="nearest"
        )
        for layer in np.moveaxis(image.reshape(height, width, -1), 2, 0)
    ]
    values = np.stack(layers, axis=1).reshape(len(places), *image.shape[2:])
    values[outside] = fill
    if image.dtype == bool:
        return values >= 0.5
    if np.issubdtype(image.dtype, np.integer):
        return np.rint(values).astype(image.dtype)
    return values.astype(image.dtype)
