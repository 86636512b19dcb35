"""The text format of ITK's transforms.

A file is a list of blocks, each with the kind, the parameters and the fixed parameters
of one transform. A composite comes first and applies those after it from last to first.
"""

__all__ = ["Block", "compose", "describe", "parse"]

import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stlearnkit.geometry._affine import Affine2D
from stlearnkit.geometry._displacement import Displacement

_HEAD = "#Insight Transform File V1.0"
_COMPOSITE = "CompositeTransform"
_SPLINE = "BSplineTransform"
_AFFINE = "AffineTransform"


class Block(NamedTuple):
    """One transform of a file."""

    kind: str
    """Name of ITK's class, without number type and dimensions."""
    parameters: Float[np.ndarray, " values"]
    """What a registration changes."""
    fixed: Float[np.ndarray, " values"]
    """What it does not: centre of rotation, grid of a spline."""


def parse(text: str) -> list[Block]:
    """Read the blocks of a file.

    Raises
    ------
    ValueError
        If it has no such blocks, or they are not of the plane.
    """
    if not text.startswith(_HEAD):
        raise ValueError(f"its first line is not {_HEAD!r}")
    blocks = []
    for piece in re.split(r"^#Transform \d+\s*$", text, flags=re.MULTILINE)[1:]:
        entries = dict(
            line.split(":", 1) for line in piece.splitlines() if line.strip()
        )
        kind = re.fullmatch(
            r"(\w+?)_(?:double|float)_2_2", entries["Transform"].strip()
        )
        if kind is None:
            raise ValueError(f"{entries['Transform'].strip()!r} is not of the plane")
        numbers = (
            np.array(entries.get(key, "").split(), dtype=float)
            for key in ("Parameters", "FixedParameters")
        )
        blocks.append(Block(kind[1], *numbers))
    if not blocks:
        raise ValueError("it holds no transform")
    return blocks


def compose(
    blocks: list[Block], *, source: str, target: str
) -> Affine2D | Displacement:
    """Make one map of the blocks, in ITK's direction.

    Raises
    ------
    ValueError
        If one is of an unknown kind, or there are two splines.
    """
    whole: Affine2D | Displacement = Affine2D.identity(source, source)
    for block in reversed([block for block in blocks if block.kind != _COMPOSITE]):
        if block.kind == _SPLINE:
            if isinstance(whole, Displacement):
                raise ValueError("it holds two B-splines")
            nodes, coefficients = _spline(block)
            whole = Displacement(whole, Affine2D(nodes, "nodes", source), coefficients)
        else:
            whole = whole.then(Affine2D(_matrix(block), source, source))
    return whole.then(Affine2D.identity(source, target))


def describe(transform: Affine2D | Displacement) -> str:
    """Return the text of a file that applies `transform` to points."""
    if isinstance(transform, Affine2D):
        return f"{_HEAD}\n{_affine_text(0, transform)}"
    # ITK's grids are mostly upright in the frame that points start from: before the
    # affine map, not after.
    before = transform.then(transform.affine.inverse())
    steps = np.linalg.norm(before.nodes.matrix[:2, :2], axis=0)
    rows, columns = before.coefficients.shape[:2]
    parameters = np.moveaxis(before.coefficients, 2, 0).ravel()
    fixed = np.concatenate(
        [
            [columns, rows],
            before.nodes.matrix[:2, 2],
            steps,
            (before.nodes.matrix[:2, :2] / steps).ravel(),
        ]
    )
    return (
        f"{_HEAD}\n#Transform 0\nTransform: {_COMPOSITE}_double_2_2\n"
        f"{_affine_text(1, transform.affine)}{_text(2, _SPLINE, parameters, fixed)}"
    )


def _affine_text(number: int, affine: Affine2D) -> str:
    """Return the block of an affine map."""
    linear, shift = affine.matrix[:2, :2], affine.matrix[:2, 2]
    parameters = np.concatenate([linear.ravel(), shift])
    return _text(number, _AFFINE, parameters, np.zeros(2))


def _text(
    number: int,
    kind: str,
    parameters: Float[np.ndarray, " values"],
    fixed: Float[np.ndarray, " columns"],
) -> str:
    """Return one block; numbers are written in full."""
    lines = (" ".join(map(repr, values.tolist())) for values in (parameters, fixed))
    return (
        f"#Transform {number}\nTransform: {kind}_double_2_2\n"
        f"Parameters: {next(lines)}\nFixedParameters: {next(lines)}\n"
    )


def _matrix(block: Block) -> Float[np.ndarray, "3 3"]:
    """Return the matrix of a block without a spline.

    Raises
    ------
    ValueError
        If the block is of another kind.
    """
    kind, parameters = block.kind, block.parameters
    matrix = np.eye(3)
    if kind in (_AFFINE, "MatrixOffsetTransformBase"):
        matrix[:2, :2] = parameters[:4].reshape(2, 2)
    elif kind in ("Euler2DTransform", "Rigid2DTransform", "Similarity2DTransform"):
        scale = parameters[0] if kind == "Similarity2DTransform" else 1.0
        angle = parameters[-3]
        matrix[:2, :2] = scale * np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        )
    elif kind not in ("TranslationTransform", "IdentityTransform"):
        raise ValueError(f"it holds a {kind}")
    centre = block.fixed if len(block.fixed) else np.zeros(2)
    shift = parameters[-2:] if len(parameters) else np.zeros(2)
    matrix[:2, 2] = shift + centre - matrix[:2, :2] @ centre
    return matrix


def _spline(
    block: Block,
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "height width 2"]]:
    """Return the matrix of the grid and the coefficients of a B-spline."""
    columns, rows = block.fixed[:2].astype(int)
    nodes = np.eye(3)
    nodes[:2, :2] = block.fixed[6:10].reshape(2, 2) * block.fixed[4:6]
    nodes[:2, 2] = block.fixed[2:4]
    return nodes, np.moveaxis(block.parameters.reshape(2, rows, columns), 0, 2)
