"""A whole stack: neighbours aligned, composed, and then settled together."""

__all__ = ["AlignedStack", "align_stack"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import expm, logm

from stlearnkit.conventions import frame_um
from stlearnkit.geometry import Affine2D
from stlearnkit.registration._align import align, settled
from stlearnkit.registration._sweep import FACTOR, apart_um
from stlearnkit.registration._working import WorkingImage
from stlearnkit.sections import Section
from stlearnkit.stacks import Stack

_ROUNDS = 5  # of settling; the third changes less than a nanometre


@dataclass(frozen=True, eq=False)
class AlignedStack:
    """A stack, and how well the maps that it was made of agree.

    Parameters
    ----------
    stack
        The sections with their maps to the reference.
    pairs
        What was found for neighbours and second neighbours, by the positions of the
        fixed and the moving section.
    loop_um
        For each three sections in a row, the distance over the tissue of the way
        through the middle one from the direct way.
    """

    stack: Stack
    pairs: dict[tuple[int, int], Affine2D]
    loop_um: tuple[float, ...]


def align_stack(
    sections: Sequence[Section],
    z_um: Sequence[float],
    *,
    reference: str = "middle",
    neighbours: Sequence[Affine2D] | None = None,
) -> AlignedStack:
    r"""Find where the sections of a stack lie in the frame of one of them.

    Neighbours are aligned, and composed towards the reference. Second neighbours are
    aligned from there, so that the errors of many steps do not add up, and all maps to
    the reference are changed by as little as it takes for the pairs to agree best.

    Parameters
    ----------
    sections
        In the order of the block; two or more.
    z_um
        Height of each: number of the section times the thickness of the cuts.
    reference
        Name of the section whose µm frame is the frame of the stack, or ``"middle"``.
    neighbours
        What `align` found already for each section but the first: the map from its
        frame to that of the one before it. Without it, they are aligned here.

    Raises
    ------
    ValueError
        If there are fewer than two sections, a name stands twice, there is no section
        `reference`, or `z_um` or `neighbours` do not fit the sections.
    RegistrationError
        If neighbours cannot be aligned.
    SectionError
        If a section has no slide, or no scale.

    Notes
    -----
    With maps :math:`X_i` to the reference and :math:`T_{ij}` from section j to i, the
    disagreements are :math:`\log(X_i T_{ij} X_j^{-1})`, and motions :math:`\xi_i`
    change them by :math:`\xi_i - \xi_j`: linear least squares, weighted with one over
    the distance in sections.
    """
    middle = _position(sections, reference)
    if len(z_um) != len(sections):
        raise ValueError(
            f"z_um has {len(z_um)} heights for {len(sections)} sections: give one each."
        )
    if neighbours is not None:
        _check_neighbours(sections, neighbours)
    pictures = [WorkingImage.of_section(section) for section in sections]
    last = len(sections) - 1
    pairs = {
        (i, i + 1): align(pictures[i], pictures[i + 1]).transform
        if neighbours is None
        else neighbours[i]
        for i in range(last)
    }
    loops = []
    for i in range(last - 1):
        around = pairs[i, i + 1] @ pairs[i + 1, i + 2]
        direct = settled(pictures[i], pictures[i + 2], around)
        pairs[i, i + 2] = direct
        theirs = pictures[i + 2].level(FACTOR)
        loops.append(apart_um(theirs, around.matrix, direct.matrix))
    maps = _settled(_composed(pairs, middle, len(sections)), pairs, middle)
    frame = frame_um(sections[middle].name)
    transforms = tuple(
        Affine2D(matrix, frame_um(section.name), frame)
        for matrix, section in zip(maps, sections, strict=True)
    )
    stack = Stack(tuple(sections), tuple(map(float, z_um)), transforms)
    return AlignedStack(stack, pairs, tuple(loops))


def _position(sections: Sequence[Section], reference: str) -> int:
    """Return the position of the reference.

    Raises
    ------
    ValueError
        If the sections or the reference do not make a stack.
    """
    names = [section.name for section in sections]
    if len(names) < 2:
        raise ValueError(
            f"{len(names)} section(s) in sections, expected two or more. The stack of "
            "one section is Stack((section,), (0.0,), (identity,)) with "
            "identity = Affine2D.identity(frame_um(name), frame_um(name))."
        )
    if len(set(names)) < len(names):
        raise ValueError(
            f"names of sections are {names}, expected each once: frames are told apart "
            "by them."
        )
    if reference == "middle":
        return len(names) // 2
    if reference not in names:
        raise ValueError(
            f"reference is {reference!r}, expected 'middle' or one of {names}."
        )
    return names.index(reference)


def _check_neighbours(
    sections: Sequence[Section], neighbours: Sequence[Affine2D]
) -> None:
    """Refuse maps that do not join neighbours.

    Raises
    ------
    ValueError
        If so.
    """
    frames = [frame_um(section.name) for section in sections]
    expected = list(zip(frames[1:], frames[:-1], strict=True))
    found = [(each.source, each.target) for each in neighbours]
    if found != expected:
        raise ValueError(
            f"neighbours has maps between {found}, expected {expected}: for each "
            "section but the first align(section before, section).transform."
        )


def _composed(
    pairs: dict[tuple[int, int], Affine2D], middle: int, n_sections: int
) -> list[Float[np.ndarray, "3 3"]]:
    """Compose the maps of neighbours to the reference."""
    maps = [np.eye(3)] * n_sections
    for i in range(middle + 1, n_sections):
        maps[i] = maps[i - 1] @ pairs[i - 1, i].matrix
    for i in range(middle - 1, -1, -1):
        maps[i] = maps[i + 1] @ pairs[i, i + 1].inverse().matrix
    return maps


def _settled(
    maps: list[Float[np.ndarray, "3 3"]],
    pairs: dict[tuple[int, int], Affine2D],
    middle: int,
) -> list[Float[np.ndarray, "3 3"]]:
    """Change the maps so that all pairs agree best, in the sense of least squares."""
    ends = np.array(list(pairs))
    weight = 1 / np.sqrt(ends[:, 1] - ends[:, 0])
    design = np.zeros((len(ends), len(maps)))
    design[np.arange(len(ends)), ends[:, 0]] = weight
    design[np.arange(len(ends)), ends[:, 1]] = -weight
    design = np.delete(design, middle, axis=1)  # the reference stays
    for _ in range(_ROUNDS):
        rest = [
            logm(maps[i] @ pair.matrix @ np.linalg.inv(maps[j])).real
            for (i, j), pair in pairs.items()
        ]
        wanted = -weight[:, None] * np.reshape(rest, (len(rest), 9))
        motions = np.linalg.lstsq(design, wanted, rcond=None)[0].reshape(-1, 3, 3)
        motions = np.insert(motions, middle, np.zeros((3, 3)), axis=0)
        maps = [expm(xi) @ one for xi, one in zip(motions, maps, strict=True)]
    for one in maps:
        one[2] = (0.0, 0.0, 1.0)  # rounding must not make it projective
    return maps
