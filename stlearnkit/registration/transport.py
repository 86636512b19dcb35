"""Alignment by what spots express: optimal transport between two sections.

Images say where tissue lies; expression says what it is. `by_expression` asks the
second, for sections without a picture or to see whether it has anything to add. On
breast tumours it has not: see the benchmarks.

Taught in the chapter "Aligning sections".
"""

__all__ = ["by_expression"]

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from stlearnkit.conventions import FrameError, RegistrationError, SectionError, frame_um
from stlearnkit.expression import log_normalised, shared_genes, top_genes
from stlearnkit.geometry import Affine2D
from stlearnkit.sections import Section

_N_GENES = 250
_DEAR = 10.0  # times the highest cost: the price of a pair out of reach
_LEAST_SHARE = 0.5  # of a section that must find partners in reach


def by_expression(
    fixed: Section,
    moving: Section,
    start: Affine2D | None = None,
    *,
    alpha: float = 0.9,
    genes: Sequence[str] | None = None,
    n_components: int = 20,
    within_um: float = 400.0,
) -> Affine2D:
    r"""Find the rigid map from one section to another by the expression of their spots.

    A plan says which share of each spot goes to which spot of the other section, such
    that alike goes to alike (expression), and what is far apart stays far apart
    (structure). The rigid map that follows the plan best, in the sense of least
    squares, is returned.

    Parameters
    ----------
    fixed, moving
        Two sections of one block, both in µm. Pictures are not looked at.
    start
        A map to improve on, e.g. of `align`: the search starts from it, and spots that
        it leaves farther apart than `within_um` are no pair. Without it nothing is
        known, except that the section does not lie upside down: of `start` only, the
        map takes the handedness.
    alpha
        How much structure counts, from 0 to below 1: 0 is expression alone. Of 0.1, 0.5
        and 0.9 the last was best where nothing else is known, on real and on made-up
        sections.
    genes
        Which to compare; without them the 250 with the highest mean count in both. To
        judge the map by expression, keep other genes for that.
    n_components
        How many principal components of these genes are compared.
    within_um
        See `start`.

    Raises
    ------
    ValueError
        If `alpha`, `n_components` or `within_um` is out of range, or the sections
        share no gene.
    KeyError
        If one of `genes` was not measured.
    FrameError
        If `start` does not lead from `moving` to `fixed`.
    SectionError
        If a section has fewer than three spots, all in one place, or no scale.
    RegistrationError
        If no gene differs between spots, less than half of a section finds partners in
        reach, or the plan says nothing about the turn.

    Notes
    -----
    Fused Gromov–Wasserstein (Vayer et al.), as for sections by Zeira et al.: the plan
    :math:`P \geq 0`, with the same weight :math:`1/n` for each spot of a section,
    minimises

    .. math:: (1 - \alpha) \sum_{ij} M_{ij} P_{ij} + \alpha \sum_{ijkl}
              (D^F_{ik} - D^M_{jl})^2 \, P_{ij} P_{kl} .

    :math:`M` is the squared distance of log-normalised expression, over its mean: each
    gene centred within its section, as levels differ between them, scaled to unit
    spread, and reduced to principal components of both. :math:`D` are distances in µm
    over the greatest of both sections. All of each section must find a place in the
    other, so a missing piece pulls the map aside.

    References
    ----------
    Vayer et al., "Optimal transport for structured data with application on graphs",
    ICML (2019).

    Zeira et al., "Alignment and integration of spatial transcriptomics data", Nature
    Methods 19 (2022).
    """
    _check_numbers(alpha, n_components, within_um)
    ours, theirs = _places(fixed), _places(moving)
    _check_frames(fixed, moving, start)
    cost = _cost(fixed, moving, genes, n_components)
    reach = None
    if start is not None:
        reach = cdist(ours, start(theirs))
        cost = cost + _DEAR * cost.max() * (reach > within_um)
    plan = _plan(cost, ours, theirs, alpha, reach)
    if reach is not None:
        plan = plan * (reach <= within_um)
        if plan.sum() < _LEAST_SHARE:
            raise RegistrationError(
                f"{plan.sum():.0%} of section {moving.name!r} finds partners within "
                f"{within_um:g} µm of where start puts it, expected "
                f"{_LEAST_SHARE:.0%} or more. Check start, or raise within_um."
            )
    mirrored = start is not None and start.area_scale < 0
    matrix = _rigid(plan, theirs, ours, mirrored)
    return Affine2D(matrix, frame_um(moving.name), frame_um(fixed.name))


def _check_numbers(alpha: float, n_components: int, within_um: float) -> None:
    """Refuse settings out of range.

    Raises
    ------
    ValueError
        If one is.
    """
    if not 0 <= alpha < 1:
        raise ValueError(
            f"alpha is {alpha}, expected 0 or more and below 1: at 1, expression would "
            "count for nothing."
        )
    if n_components < 1:
        raise ValueError(f"n_components is {n_components}, expected 1 or more.")
    if not within_um > 0:
        raise ValueError(
            f"within_um is {within_um}, expected a distance above 0, some spots wide."
        )


def _places(section: Section) -> Float[np.ndarray, "spots 2"]:
    """Return the places of spots in µm.

    Raises
    ------
    SectionError
        If they do not span a section.
    """
    places = section.coords_um
    if len(places) < 3 or np.ptp(places, axis=0).max() == 0:
        raise SectionError(
            f"section {section.name!r} has {len(places)} spot(s) at "
            f"{len(np.unique(places, axis=0))} place(s), expected 3 or more that are "
            "apart. Check subset() and obsm['spatial']."
        )
    return places


def _check_frames(fixed: Section, moving: Section, start: Affine2D | None) -> None:
    """Refuse a start that joins other frames.

    Raises
    ------
    FrameError
        If so.
    """
    ends = frame_um(moving.name), frame_um(fixed.name)
    if start is not None and (start.source, start.target) != ends:
        raise FrameError(
            f"start leads from {start.source!r} to {start.target!r}, expected from "
            f"{ends[0]!r} to {ends[1]!r}. Take its inverse(), or swap the sections."
        )


def _cost(
    fixed: Section, moving: Section, genes: Sequence[str] | None, n_components: int
) -> Float[np.ndarray, "spots _"]:
    """Return how differently each pair of spots expresses; 1 on average.

    Raises
    ------
    RegistrationError
        If no gene differs between spots.
    """
    if genes is None:
        shared = shared_genes([fixed, moving])
        genes = top_genes([fixed, moving], min(_N_GENES, len(shared))).genes
    values = np.vstack(
        [
            values - values.mean(axis=0)
            for values in (log_normalised(one, genes) for one in (fixed, moving))
        ]
    )
    spread = values.std(axis=0)
    varied = spread > 1e-9
    if not varied.any():
        raise RegistrationError(
            f"none of {len(genes)} genes differs between spots of {fixed.name!r} and "
            f"{moving.name!r}: expression says nothing. Check layers['counts']."
        )
    left, sizes, _ = np.linalg.svd(
        values[:, varied] / spread[varied], full_matrices=False
    )
    parts = left[:, :n_components] * sizes[:n_components]
    cost = cdist(parts[: fixed.n_spots], parts[fixed.n_spots :], "sqeuclidean")
    return cost / cost.mean()


def _plan(
    cost: Float[np.ndarray, "spots _"],
    ours: Float[np.ndarray, "spots 2"],
    theirs: Float[np.ndarray, "_ 2"],
    alpha: float,
    apart: Float[np.ndarray, "spots _"] | None,
) -> Float[np.ndarray, "spots _"]:
    """Return which share of all goes from each spot to each; it sums to 1."""
    import ot  # slow to import

    weights = [np.full(len(places), 1 / len(places)) for places in (ours, theirs)]
    lengths = [cdist(places, places) for places in (ours, theirs)]
    longest = max(length.max() for length in lengths)
    return ot.gromov.fused_gromov_wasserstein(
        cost,
        *(length / longest for length in lengths),
        *weights,
        alpha=alpha,
        symmetric=True,
        G0=None if apart is None else ot.emd(*weights, apart**2),
    )


def _rigid(
    plan: Float[np.ndarray, "spots _"],
    points: Float[np.ndarray, "_ 2"],
    images: Float[np.ndarray, "spots 2"],
    mirrored: bool,
) -> Float[np.ndarray, "3 3"]:
    """Return the turn and shift of least squares, each pair weighted by the plan.

    Raises
    ------
    RegistrationError
        If all turns are as good.
    """
    plan = plan / plan.sum()
    middle, to = plan.sum(axis=0) @ points, plan.sum(axis=1) @ images
    product = (images - to).T @ plan @ (points - middle)
    left, sizes, right = np.linalg.svd(product)
    if sizes[0] <= 1e-9 * np.ptp(points) * np.ptp(images):
        raise RegistrationError(
            "the plan between the spots says nothing about the turn: each spot goes "
            "everywhere. Check that the counts of both sections are of one tissue."
        )
    sign = np.linalg.det(left @ right) * (-1 if mirrored else 1)
    matrix = np.eye(3)
    matrix[:2, :2] = left @ np.diag([1.0, np.sign(sign)]) @ right
    matrix[:2, 2] = to - matrix[:2, :2] @ middle
    return matrix
