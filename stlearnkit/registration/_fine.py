"""The fine steps: from a coarse pose to a rigid and to an affine map."""

__all__ = ["affine", "rigid"]

from stlearnkit.geometry import Affine2D
from stlearnkit.registration._gauss_newton import refine
from stlearnkit.registration._working import WorkingImage

FACTORS = (4, 2, 1)  # pixels of 64, 32 and 16 µm
STRAIN_SD = 0.01  # how much sections of one block usually stretch


def rigid(
    fixed: WorkingImage,
    moving: WorkingImage,
    start: Affine2D,
    *,
    factors: tuple[int, ...] = FACTORS,
) -> Affine2D:
    """Improve turn and shift of a map, from coarse to fine pixels.

    Parameters
    ----------
    fixed, moving
        Two sections.
    start
        From the frame of the moving to that of the fixed section, within some 100 µm
        and 10°, e.g. ``coarse(fixed, moving).best.transform``. A mirroring stays, and
        so does a stretch.
    factors
        Levels: how many times larger their pixels are than those of 16 µm.

    Raises
    ------
    FrameError
        If `start` does not join the two frames in that direction.
    """
    matrix = moving.matrix_um(start, fixed)
    for factor in factors:
        matrix = refine(fixed.level(factor), moving.level(factor), matrix)
    return moving.transform(matrix, fixed)


def affine(
    fixed: WorkingImage,
    moving: WorkingImage,
    start: Affine2D,
    *,
    factors: tuple[int, ...] = FACTORS,
    strain_sd: float = STRAIN_SD,
) -> Affine2D:
    """Improve turn, shift and stretch of a map, from coarse to fine pixels.

    Parameters
    ----------
    fixed, moving
        Two sections.
    start
        From the frame of the moving to that of the fixed section, e.g. from `rigid`.
    factors
        Levels: how many times larger their pixels are than those of 16 µm.
    strain_sd
        Standard deviation of growth and shear to expect; the smaller, the closer to
        rigid. What the images say weighs against it.

    Raises
    ------
    FrameError
        If `start` does not join the two frames in that direction.
    ValueError
        If `strain_sd` is not above 0.
    """
    if not strain_sd > 0:
        raise ValueError(
            f"strain_sd is {strain_sd}, expected a number above 0, such as "
            f"{STRAIN_SD}. For a map without stretch call rigid()."
        )
    matrix = moving.matrix_um(start, fixed)
    for factor in factors:
        matrix = refine(
            fixed.level(factor), moving.level(factor), matrix, strain_sd=strain_sd
        )
    return moving.transform(matrix, fixed)
