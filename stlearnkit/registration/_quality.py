"""How far a map can be trusted, and what speaks against it."""

__all__ = ["Quality", "objections", "quality", "texture_ncc"]

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from stlearnkit.geometry import Affine2D
from stlearnkit.registration._fine import STRAIN_SD
from stlearnkit.registration._gauss_newton import refine, strain
from stlearnkit.registration._levels import pull
from stlearnkit.registration._sweep import (
    APART_UM,
    FINER,
    Candidates,
    apart_um,
    coarse,
)
from stlearnkit.registration._working import WorkingImage

SCALE = (0.8, 1.25)
MIN_DICE = 0.6
MIN_EVIDENCE = 9.0  # nats; the best of 6,000 poses, 72 turns and 80 shifts, by chance
MIN_MARGIN = 4.6  # nats; a hundred times as likely as any other pose


@dataclass(frozen=True)
class Quality:
    """What can be said about a map without knowing the truth.

    Parameters
    ----------
    dice
        Overlap of the tissues, from 0 to 1, where both slides were looked at.
    overlap
        Share of the smaller tissue that lies on tissue.
    ncc_before, ncc_after
        Correlation of texture over shared tissue, as the slides came and aligned.
    evidence
        For the best rigid pose near the map, in nats: the logarithm of how many times
        likelier what is seen is than by chance. 0 if no such pose was found.
    margin
        Evidence beyond that of the best pose more than 300 µm away, in nats.
    scale
        Growth of lengths: root of the ratio of areas.
    shear
        Ratio of the larger to the smaller stretch, minus 1.
    mirrored
        Whether one section lies upside down.
    inverse_um
        Distance, over the tissue, of the map from the one that is found with fixed and
        moving exchanged.
    cues_um
        Distance of what texture alone would change it to from what the outline alone
        would change it to.
    """

    dice: float
    overlap: float
    ncc_before: float
    ncc_after: float
    evidence: float
    margin: float
    scale: float
    shear: float
    mirrored: bool
    inverse_um: float
    cues_um: float


def quality(
    fixed: WorkingImage,
    moving: WorkingImage,
    transform: Affine2D,
    *,
    candidates: Candidates | None = None,
) -> Quality:
    """Measure what can be known about a map without landmarks.

    Parameters
    ----------
    fixed, moving
        Two sections.
    transform
        From the frame of the moving to that of the fixed section.
    candidates
        What else there is, from ``coarse(fixed, moving)``, which is called if they are
        not given.

    Raises
    ------
    FrameError
        If `transform` does not join the two frames in that direction.
    """
    matrix = moving.matrix_um(transform, fixed)
    if candidates is None:
        candidates = coarse(fixed, moving)
    ours, theirs = fixed.level(FINER), moving.level(FINER)
    near, far = [0.0], [0.0]
    for pose in candidates.poses:
        away_um = apart_um(theirs, moving.matrix_um(pose.transform, fixed), matrix)
        (near if away_um <= APART_UM else far).append(pose.evidence)
    alone = [
        refine(ours, theirs, matrix, cues=(cue,)) for cue in ("texture", "outline")
    ]
    growth, *shears = strain(matrix)
    dice, overlap = _overlaps(fixed, moving, matrix)
    return Quality(
        dice,
        overlap,
        texture_ncc(fixed, moving, np.eye(3)),
        texture_ncc(fixed, moving, matrix),
        max(near),
        max(near) - max(far),
        float(np.exp(growth)),
        float(np.exp(2 * np.hypot(*shears)) - 1),
        bool(np.linalg.det(matrix[:2, :2]) < 0),
        _inverse_um(fixed, moving, matrix),
        apart_um(theirs, *alone),
    )


def objections(measured: Quality, *, scale_is_known: bool) -> list[str]:
    """List what makes an alignment implausible; empty if nothing does."""
    found = []
    if scale_is_known and not SCALE[0] <= measured.scale <= SCALE[1]:
        found.append(
            f"it scales lengths by {measured.scale:.2f}, expected {SCALE[0]} to "
            f"{SCALE[1]} (check the µm per pixel of both slides)"
        )
    if measured.dice < MIN_DICE:
        found.append(
            f"Dice of the tissues is {measured.dice:.2f}, expected {MIN_DICE} or more"
        )
    if measured.evidence < MIN_EVIDENCE:
        found.append(
            f"evidence is {measured.evidence:.1f} nats, expected {MIN_EVIDENCE:.0f} or "
            "more: among all poses one as good is found by chance"
        )
    if measured.margin < MIN_MARGIN:
        found.append(
            f"margin is {measured.margin:.1f} nats, expected {MIN_MARGIN} or more: "
            "another pose fits as well"
        )
    return found


def texture_ncc(
    fixed: WorkingImage, moving: WorkingImage, matrix: Float[np.ndarray, "3 3"]
) -> float:
    """Return the correlation of texture over shared tissue, 0 where there is none."""
    ours, theirs = fixed.level(FINER), moving.level(FINER)
    weight = ours.tissue * pull(theirs.tissue, theirs, ours, matrix)
    if weight.sum() < 1:
        return 0.0
    pair = np.stack([ours.texture, pull(theirs.texture, theirs, ours, matrix)])
    pair = pair.reshape(2, -1)
    weight = weight.ravel() / weight.sum()
    pair -= (pair @ weight)[:, None]
    (xx, xy), (_, yy) = (pair * weight) @ pair.T
    return float(xy / max(np.sqrt(xx * yy), 1e-9))


def _overlaps(
    fixed: WorkingImage, moving: WorkingImage, matrix: Float[np.ndarray, "3 3"]
) -> tuple[float, float]:
    """Return Dice, and the share of the smaller tissue, where both slides reach."""
    ours, theirs = fixed.level(FINER), moving.level(FINER)
    pulled = pull(theirs.tissue, theirs, ours, matrix)
    shared = float(np.minimum(ours.tissue, pulled).sum())
    seen = _on_slide(moving, np.linalg.inv(matrix), ours.places_um)
    ours_area = float(ours.tissue[seen].sum())
    seen = _on_slide(fixed, matrix, theirs.places_um)
    shrunk = (
        abs(np.linalg.det(matrix[:2, :2])) * (theirs.um_per_px / ours.um_per_px) ** 2
    )
    theirs_area = float(theirs.tissue[seen].sum() * shrunk)
    return (
        2 * shared / max(ours_area + theirs_area, 1e-9),
        shared / max(min(ours_area, theirs_area), 1e-9),
    )


def _on_slide(
    image: WorkingImage,
    matrix: Float[np.ndarray, "3 3"],
    places_um: Float[np.ndarray, "2 height width"],
) -> Bool[np.ndarray, "height width"]:
    """Tell which places land on the slide of another picture."""
    x, y = np.einsum("ij,jhw->ihw", matrix[:2, :2], places_um)
    x, y = x + matrix[0, 2], y + matrix[1, 2]
    width, height = image.extent_um
    return (x >= 0) & (y >= 0) & (x <= width) & (y <= height)


def _inverse_um(
    fixed: WorkingImage, moving: WorkingImage, matrix: Float[np.ndarray, "3 3"]
) -> float:
    """Return how far the map back is from the inverse, both refined as affine maps."""
    ours, theirs = fixed.level(FINER), moving.level(FINER)
    forth = refine(ours, theirs, matrix, strain_sd=STRAIN_SD)
    back = refine(theirs, ours, np.linalg.inv(matrix), strain_sd=STRAIN_SD)
    return apart_um(theirs, forth, np.linalg.inv(back))
