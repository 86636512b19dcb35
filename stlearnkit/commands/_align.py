"""The step `align`: where sections lie on each other, and how far to trust it."""

__all__ = ["pieces", "quality_file"]

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stlearnkit.commands._errors import JobError, SettingsError
from stlearnkit.commands._pieces import Piece
from stlearnkit.commands._settings import Study
from stlearnkit.commands._study import at_hand, require, settings, sources
from stlearnkit.conventions import RegistrationError, frame_um
from stlearnkit.geometry import Affine2D
from stlearnkit.geometry._files import written
from stlearnkit.registration import align, align_stack

Pairs = Mapping[tuple[str, str], Path]
"""What was found for each two neighbours."""


def quality_file(study: Study) -> Path:
    """Return where it stands how far alignments can be trusted."""
    return study.home / "align" / "quality.csv"


def pieces(study: Study) -> list[Piece]:
    """Return the neighbours one by one, their quality, and the maps of all sections."""
    names = require(study, "align.sections")
    _check(study, names)
    folder = study.home / "align"
    files = {
        (fixed, moving): folder / "pairs" / f"{fixed} {moving}.json"
        for fixed, moving in pairwise(names)
    }
    neighbours = [
        Piece((file,), {"pair": sources(study, pair)}, partial(_pair, study, *pair))
        for pair, file in files.items()
    ]
    known = {"sections": sources(study, names)}
    of = {"align": settings(study.align), **known}
    maps = tuple(folder / f"{name}.json" for name in names)
    return [
        *neighbours,
        Piece((quality_file(study),), known, partial(_quality, files)),
        Piece(maps, of, partial(_stack, study, files)),
    ]


def _pair(study: Study, fixed: str, moving: str) -> list[bytes]:
    """Align two neighbours, or write down why they were refused."""
    found: dict[str, Any] = {"refused": ""}
    try:
        alignment = align(*at_hand(study, [fixed, moving]))
    except RegistrationError as error:
        found["refused"] = str(error)
    else:
        found["matrix"] = alignment.transform.matrix.tolist()
        found["quality"] = asdict(alignment.quality)
    return [json.dumps(found, indent=1).encode()]


def _quality(files: Pairs) -> list[bytes]:
    """Return a table with a row for each two neighbours."""
    rows = []
    for (fixed, moving), file in files.items():
        found = json.loads(file.read_bytes())
        pair = {"fixed": fixed, "moving": moving, "refused": found["refused"]}
        rows.append(pair | found.get("quality", {}))
    return [pd.DataFrame(rows).to_csv(index=False).encode()]


def _stack(study: Study, files: Pairs) -> list[bytes]:
    """Settle all sections together.

    Raises
    ------
    JobError
        If neighbours were refused.
    """
    found = {pair: json.loads(file.read_bytes()) for pair, file in files.items()}
    refused = [
        f"{moving} on {fixed}: {each['refused']}"
        for (fixed, moving), each in found.items()
        if each["refused"]
    ]
    if refused:
        raise JobError(
            f"{len(refused)} of {len(found)} pairs of neighbours were refused, so that "
            f"there is no stack; {quality_file(study)} has all. {' '.join(refused)}"
        )
    neighbours = [
        Affine2D(np.array(each["matrix"]), frame_um(moving), frame_um(fixed))
        for (fixed, moving), each in found.items()
    ]
    asked = study.align
    aligned = align_stack(
        at_hand(study, asked.sections),
        asked.z_um,
        reference=asked.reference,
        neighbours=neighbours,
    )
    return [written(each) for each in aligned.stack.to_reference]


def _check(study: Study, names: tuple[str, ...]) -> None:
    """Refuse settings of which no stack can be made.

    Raises
    ------
    SettingsError
        If so.
    """
    asked = study.align
    if len(names) < 2:
        raise SettingsError(
            f"{study.file}: align.sections has one section, expected two or more. Name "
            "the sections of a block in their order."
        )
    if len(asked.z_um) != len(names):
        raise SettingsError(
            f"{study.file}: align.z_um has {len(asked.z_um)} heights for {len(names)} "
            "sections, expected one each. Write numbers of cuts times their thickness."
        )
    if asked.reference not in ("middle", *names):
        raise SettingsError(
            f"{study.file}: align.reference is {asked.reference!r}, expected 'middle' "
            f"or one of {', '.join(names)}. Correct the name."
        )
