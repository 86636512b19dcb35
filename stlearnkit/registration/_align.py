"""All steps in one call, with a refusal where the result cannot be right."""

__all__ = ["Alignment", "align", "settled"]

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm, logm
from scipy.special import expit

from stlearnkit.conventions import RegistrationError
from stlearnkit.geometry import Affine2D
from stlearnkit.registration._fine import affine, rigid
from stlearnkit.registration._quality import (
    Quality,
    objections,
    quality,
    texture_ncc,
)
from stlearnkit.registration._sweep import FINER, HIGHEST, coarse, statements
from stlearnkit.registration._working import WorkingImage
from stlearnkit.sections import Section

_PRICE = 3.0  # nats for growth and two shears


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where one section lies on another, and how far that can be trusted.

    Parameters
    ----------
    transform
        From the frame of the moving to that of the fixed section.
    quality
        What was measured about it.
    """

    transform: Affine2D
    quality: Quality


def align(fixed: Section | WorkingImage, moving: Section | WorkingImage) -> Alignment:
    """Find the affine map from one section to another by their images.

    The sweep of `coarse`, then `rigid`, then `affine`, each from either side, and the
    mean of both. The affine map has to earn its freedom: where texture does not agree
    clearly better than by the rigid map, as where a torn piece makes the outline
    larger, the map stays close to that.

    Parameters
    ----------
    fixed, moving
        Two sections of one block.

    Raises
    ------
    RegistrationError
        If the result is implausible, with its reasons, or there is no tissue.
    SectionError
        If a section has no slide, or no scale.
    """
    ours, theirs = _pictured(fixed), _pictured(moving)
    candidates = coarse(ours, theirs)
    transform = settled(ours, theirs, candidates.best.transform)
    measured = quality(ours, theirs, transform, candidates=candidates)
    known = ours.scale_is_known and theirs.scale_is_known
    found = objections(measured, scale_is_known=known)
    if found:
        raise RegistrationError(
            f"{theirs.frame!r} cannot be aligned to {ours.frame!r}: "
            f"{'; '.join(found)}. Are they sections of one block? Look at both; "
            "quality(fixed, moving, coarse(fixed, moving).best.transform) tells more."
        )
    return Alignment(transform, measured)


def _pictured(section: Section | WorkingImage) -> WorkingImage:
    """Take the picture of a section, unless it is one."""
    if isinstance(section, WorkingImage):
        return section
    return WorkingImage.of_section(section)


def settled(fixed: WorkingImage, moving: WorkingImage, start: Affine2D) -> Affine2D:
    """Return a map as far from the rigid to the affine one as texture pays for.

    The affine map has three numbers more, so it must gain three nats (Akaike, 1974).
    At that price one is as likely as the other, and the map half way between them the
    best guess; the further from it, the more it is the one or the other (Buckland,
    Burnham and Augustin, Biometrics 53, 1997). The outline has no say: what is torn or
    cut off changes it, and asks for stretch. The rigid map stays at pixels of 32 µm:
    where stretch does not pay, cells and vessels of the two sections differ.
    """
    stiff = _from_both_sides(rigid, fixed, moving, start, (FINER,))
    free = _from_both_sides(affine, fixed, moving, stiff, (FINER, 1))
    n_patches, _ = statements(fixed.level(FINER), moving.level(FINER))
    correlation = [
        texture_ncc(fixed, moving, moving.matrix_um(transform, fixed))
        for transform in (stiff, free)
    ]
    sure = np.clip(correlation, 0.0, HIGHEST)
    without, with_stretch = -0.5 * n_patches * np.log1p(-np.square(sure))
    return _between(stiff, free, float(expit(with_stretch - without - _PRICE)))


def _from_both_sides(
    step: Callable[..., Affine2D],
    fixed: WorkingImage,
    moving: WorkingImage,
    start: Affine2D,
    factors: tuple[int, ...],
) -> Affine2D:
    """Return the map half way between what two sides find, whoever is fixed."""
    forth = step(fixed, moving, start, factors=factors)
    back = step(moving, fixed, start.inverse(), factors=factors)
    return _between(forth, back.inverse(), 0.5)


def _between(one: Affine2D, other: Affine2D, share: float) -> Affine2D:
    """Return the map that lies a share of the way from one to another close to it."""
    way = np.real(logm((one.inverse() @ other).matrix))
    matrix = one.matrix @ expm(share * way)
    matrix[2] = (0.0, 0.0, 1.0)  # rounding must not make it projective
    return Affine2D(matrix, one.source, one.target)
