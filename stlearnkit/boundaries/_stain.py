"""What all parts of a section share: its dyes, and how much haematoxylin is much."""

__all__ = ["Overview", "haematoxylin"]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu

from stlearnkit.stains import RUIFROK, StainProfile, estimate, separate

OVERVIEW_UM = 2.0  # per pixel; nuclei can still be seen, as `stains.estimate` needs
_NEIGHBOURHOOD_UM = 12.0  # about two nuclei across: what is dark *here*
_TRACE = 0.05  # haematoxylin, in optical density; below it lies nothing but noise
_COARSEST_UM = 2.2  # per pixel: nuclei of lymphocytes are 6 µm wide


@dataclass(frozen=True, eq=False)
class Overview:
    """A section at 2 µm per pixel: what its finer parts are judged by.

    Parameters
    ----------
    profile
        Its dyes.
    source
        Where the dyes come from, in words.
    typical
        Haematoxylin that divides nuclei from the rest, over the whole section.
    background
        Mean haematoxylin around each pixel of the overview.
    """

    profile: StainProfile
    source: str
    typical: float
    background: Float[np.ndarray, "height width"]

    @classmethod
    def of(
        cls,
        image: UInt8[np.ndarray, "height width 3"],
        mpp: float,
        mask: Bool[np.ndarray, "height width"] | None = None,
        vectors: Float[np.ndarray, "2 3"] | None = None,
    ) -> "Overview":
        """Look at an image of `mpp` µm per pixel, about 2, within a mask of tissue."""
        if vectors is None:
            profile, source = _dyes(image, mask)
        else:
            profile, source = StainProfile(vectors, np.ones(2)), "dyes were given"
        amount = haematoxylin(image, profile)
        stained = amount > _TRACE if mask is None else (amount > _TRACE) & mask
        return cls(
            profile,
            source,
            _otsu(amount[stained]),
            gaussian_filter(amount, _NEIGHBOURHOOD_UM / mpp, mode="nearest"),
        )

    def background_at(
        self, top: int, left: int, shape: tuple[int, int], whole: tuple[int, int]
    ) -> Float[np.ndarray, "height width"]:
        """Return the background of a part of an image of size `whole`.

        Places are computed from the pixel's number in the whole, so that they do not
        depend on the part, in any bit.
        """
        rows = _between(top, shape[0], whole[0], self.background.shape[0])
        columns = _between(left, shape[1], whole[1], self.background.shape[1])
        (above, below, down), (before, after, right) = rows, columns
        down, right = down[:, None], right[None, :]
        part = self.background[above] * (1 - down) + self.background[below] * down
        return part[:, before] * (1 - right) + part[:, after] * right


def haematoxylin(
    image: UInt8[np.ndarray, "height width 3"], profile: StainProfile
) -> Float[np.ndarray, "height width"]:
    """Return the amount of haematoxylin in each pixel."""
    return np.ascontiguousarray(separate(image, profile.vectors)[..., 0])


def check_mpp(mpp: float, name: str = "mpp") -> None:
    """Refuse pixels in which nuclei cannot be seen.

    Raises
    ------
    ValueError
        If `mpp` is not above 0, or too coarse.
    """
    if not 0 < mpp <= _COARSEST_UM:
        raise ValueError(
            f"{name} is {mpp:.4g}, expected µm per pixel above 0 and at most "
            f"{_COARSEST_UM}: in larger pixels nuclei cannot be told apart. Use a "
            "finer image."
        )


def shrink(
    image: UInt8[np.ndarray, "height width 3"], mpp: float
) -> tuple[UInt8[np.ndarray, "_ _ 3"], float]:
    """Average whole pixels until they are about 2 µm wide; return their size too."""
    factor = max(1, round(OVERVIEW_UM / mpp))
    return np.asarray(Image.fromarray(image).reduce(factor)), mpp * factor


def _dyes(
    image: UInt8[np.ndarray, "height width 3"],
    mask: Bool[np.ndarray, "height width"] | None,
) -> tuple[StainProfile, str]:
    """Estimate the dyes; where they cannot be, take Ruifrok's and say why."""
    try:
        return estimate(image, mask), "dyes estimated from the image"
    except ValueError as error:
        reason = str(error).split(" (")[0].split(":")[0]
        return StainProfile(RUIFROK, np.ones(2)), f"dyes of Ruifrok, as {reason}"


def _otsu(amounts: Float[np.ndarray, " values"]) -> float:
    """Split amounts into little and much; some pixels of dirt do not count."""
    if len(amounts) == 0:
        return np.inf  # nothing is stained, so nothing is a nucleus
    return float(threshold_otsu(np.minimum(amounts, np.percentile(amounts, 99))))


def _between(
    start: int, length: int, whole: int, coarse: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each pixel the coarse pixels around its centre, and how far on."""
    place = (np.arange(start, start + length) + 0.5) * (coarse / whole) - 0.5
    place = np.clip(place, 0, coarse - 1)
    first = place.astype(int)
    return first, np.minimum(first + 1, coarse - 1), (place - first).astype(np.float32)
