"""The last step: bending, as tissue is bent by the knife and in the water bath."""

__all__ = ["deformable"]

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates
from scipy.sparse.linalg import spsolve

from stlearnkit.conventions import RegistrationError
from stlearnkit.geometry import Affine2D, Displacement, InverseDisplacement
from stlearnkit.registration._bending import Grid, statement
from stlearnkit.registration._fine import FACTORS
from stlearnkit.registration._levels import REACH_UM, TEXTURE_PX, Level
from stlearnkit.registration._working import SMOOTH_UM, WorkingImage

GRID_UM = 500.0  # between nodes; the knife bends a section over more than a gland
STRAIN_SD = 0.1  # of one cell of the grid; a whole section strains less
AREA_RANGE = (0.5, 2.0)  # of the growth of areas; what bends more was torn
_MOST_STEPS = 12
_LONGEST_PX = 2.0  # step; images are linear over no more
_SHORTEST_PX = 0.05  # step after which a level ends
_ALONG_UM = SMOOTH_UM  # of outline are one statement: it is seen through that window
_CUT = 2.5  # standard deviations beyond which a pixel belongs to something else
_WIDEST_UM = 100.0  # error of the outline beyond which it belongs to something else


class _Cue(NamedTuple):
    """What one cue says at each pixel."""

    effect: Float[np.ndarray, "2 height width"]
    """By how much the error falls per µm along x and y."""
    error: Float[np.ndarray, "height width"]
    """Fixed minus moving."""
    certainty: Float[np.ndarray, "height width"]
    """Inverse variance of the error, as of independent pixels."""


def deformable(
    fixed: WorkingImage,
    moving: WorkingImage,
    start: Affine2D,
    *,
    grid_um: float = GRID_UM,
    strain_sd: float = STRAIN_SD,
) -> InverseDisplacement:
    r"""Bend an affine map smoothly where the pictures ask for it.

    The place :math:`q` of the fixed section is looked for at :math:`q + v(q)`, where
    :math:`v` is a sum of cubic B-splines. Its nodes follow texture and outline, each
    with the variance :math:`\sigma^2` that its errors show, and the expectation that
    tissue strains little:

    .. math:: \min_v \sum_\text{pixels} \frac{(f(q) - m(q + v(q)))^2}{\sigma^2}
              + \sum_\text{cells} \frac{\|\nabla v\|^2}{s^2}

    Without the second term any two pictures can be made alike, and are made wrong.

    Parameters
    ----------
    fixed, moving
        Two sections.
    start
        From the frame of the moving to that of the fixed section, from `affine`.
    grid_um
        Distance between nodes.
    strain_sd
        :math:`s`: how much strain to expect in a cell of the grid.

    Returns
    -------
    From the frame of the moving to that of the fixed section. Its `inverse` is exact
    and quick, so that images are pulled as fast as by any other map.

    Raises
    ------
    RegistrationError
        If areas would grow or shrink by more than tissue does.
    FrameError
        If `start` does not join the two frames in that direction.
    ValueError
        If `grid_um` or `strain_sd` is not above 0.

    References
    ----------
    Rueckert et al., "Nonrigid registration using free-form deformations", IEEE Trans.
    Med. Imaging 18 (1999), for the splines.
    """
    for name, value in (("grid_um", grid_um), ("strain_sd", strain_sd)):
        if not value > 0:
            raise ValueError(
                f"{name} is {value}, expected a number above 0. For a map that does "
                "not bend call affine()."
            )
    matrix = moving.matrix_um(start, fixed)
    grid = Grid.over(fixed.level(1), grid_um)
    nodes = np.zeros((2, *grid.shape))
    for factor in FACTORS:
        ours, theirs = fixed.level(factor), moving.level(factor)
        nodes = _refined(ours, theirs, matrix, grid, nodes, strain_sd=strain_sd)
    back = _joined(nodes, grid, fixed, start)
    low, high = back.area_range
    if not AREA_RANGE[0] <= low <= high <= AREA_RANGE[1]:
        raise RegistrationError(
            f"{moving.frame!r} cannot be bent onto {fixed.frame!r}: areas would be "
            f"{low:.2f} to {high:.2f} times as large, expected {AREA_RANGE[0]} to "
            f"{AREA_RANGE[1]}. Look at both: is a piece torn or missing? Keep the "
            "affine map, or lower strain_sd."
        )
    return back.inverse()


def _refined(
    ours: Level,
    theirs: Level,
    matrix: Float[np.ndarray, "3 3"],
    grid: Grid,
    nodes: Float[np.ndarray, "2 _ _"],
    *,
    strain_sd: float,
) -> Float[np.ndarray, "2 _ _"]:
    """Move the nodes by Gauss and Newton's steps until they come to rest."""
    weights, stiffness = grid.weights(ours), grid.stiffness(strain_sd)
    to_theirs = np.linalg.inv(matrix @ theirs.to_um)
    for _ in range(_MOST_STEPS):
        places = ours.places_um + weights.field(nodes)
        cues = (_texture, _outline)
        found = [
            statement(weights, *cue(ours, theirs, to_theirs, places)) for cue in cues
        ]
        information = stiffness + sum(one for one, _ in found)
        wanted = sum(one for _, one in found) - stiffness @ nodes.ravel()
        hair = 1e-9 * information.trace() / len(wanted)
        information.setdiag(information.diagonal() + hair)
        step = spsolve(information.tocsc(), wanted).reshape(nodes.shape)
        length_px = float(np.abs(weights.field(step)).max()) / ours.um_per_px
        nodes = nodes + step * min(1.0, _LONGEST_PX / max(length_px, 1e-9))
        if length_px < _SHORTEST_PX:
            break
    return nodes


def _texture(
    ours: Level,
    theirs: Level,
    to_theirs: Float[np.ndarray, "3 3"],
    places: Float[np.ndarray, "2 height width"],
) -> _Cue:
    """Compare texture where both have tissue, up to gain and bias."""
    pulled = _read(theirs.texture, to_theirs, places, 0.0)
    shared = ours.tissue * _read(theirs.tissue, to_theirs, places, 0.0)
    weight = np.where(shared > 0.5, shared, 0.0)
    if (weight > 0).sum() < 10:
        return _Cue(np.zeros_like(places), np.zeros_like(pulled), np.zeros_like(pulled))
    weight /= weight.sum()
    theirs_centred = pulled - (weight * pulled).sum()
    ours_centred = ours.texture - (weight * ours.texture).sum()
    gain = (weight * theirs_centred * ours_centred).sum()
    gain = max(gain / max((weight * theirs_centred**2).sum(), 1e-6), 0.1)
    error = ours_centred - gain * theirs_centred
    spread = 1.4826 * float(np.median(np.abs(error[weight > 0]))) + 1e-6
    weight = np.where(shared > 0.5, shared, 0.0)
    weight /= (1 + (error / (_CUT * spread)) ** 2) ** 2
    noise = float((weight * error**2).sum() / weight.sum()) + 1e-6
    down, right = np.gradient(gain * pulled, ours.um_per_px)
    alike_px = 4 * np.pi * TEXTURE_PX**2
    return _Cue(np.stack([right, down]), error, weight / (noise * alike_px))


def _outline(
    ours: Level,
    theirs: Level,
    to_theirs: Float[np.ndarray, "3 3"],
    places: Float[np.ndarray, "2 height width"],
) -> _Cue:
    """Compare distances to the outline, near either outline."""
    pulled = _read(theirs.inside_um, to_theirs, places, np.nan)
    seen = np.isfinite(pulled)
    pulled = np.where(seen, pulled, ours.inside_um)
    near = (np.abs(ours.inside_um) < REACH_UM) | (np.abs(pulled) < REACH_UM)
    at = seen & near
    error = ours.inside_um - pulled
    spread = 1.4826 * float(np.median(np.abs(error[at]))) if at.any() else 0.0
    spread = min(max(spread, ours.um_per_px), _WIDEST_UM)
    weight = at / (1 + (error / spread) ** 2) ** 2
    down, right = np.gradient(pulled, ours.um_per_px)
    alike_px = 2 * REACH_UM * _ALONG_UM / ours.um_per_px**2
    return _Cue(np.stack([right, down]), error, weight / (spread**2 * alike_px))


def _read(
    image: Float[np.ndarray, "_ _"],
    to_pixels: Float[np.ndarray, "3 3"],
    places: Float[np.ndarray, "2 height width"],
    beyond: float,
) -> Float[np.ndarray, "height width"]:
    """Return the values of an image at places in µm of the fixed section."""
    column, row = np.einsum("ij,jhw->ihw", to_pixels[:2, :2], places)
    at = [row + to_pixels[1, 2], column + to_pixels[0, 2]]
    return map_coordinates(image.astype(float), at, order=1, cval=beyond)


def _joined(
    nodes: Float[np.ndarray, "2 _ _"], grid: Grid, fixed: WorkingImage, start: Affine2D
) -> Displacement:
    """Return the map from the fixed to the moving section: the field, then `start`."""
    um = f"{fixed.frame} in um"
    to_um = Affine2D.scaling(fixed.um_per_unit, source=fixed.frame, target=um)
    places = Affine2D(grid.nodes, "nodes", um)
    bent = Displacement(to_um, places, np.moveaxis(nodes, 0, 2))
    return start.inverse() @ to_um.inverse() @ bent
