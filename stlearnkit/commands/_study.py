"""What several steps ask a study for."""

__all__ = [
    "at_hand",
    "digest",
    "looked",
    "looks",
    "parquet",
    "require",
    "require_name",
    "settings",
    "sources",
]

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from hashlib import blake2b
from typing import Any

import pandas as pd

from stlearnkit._weights import default_name
from stlearnkit.commands._errors import SettingsError
from stlearnkit.commands._settings import Study
from stlearnkit.commands._sources import identity, load, stamp
from stlearnkit.encoders import Encoder, default_encoder
from stlearnkit.patches import Scale
from stlearnkit.predictors._blocks import SCALES, ImagePredictor
from stlearnkit.sections import Section

_DEFAULT, _FOLDER = "default", "local-dir:"


def at_hand(study: Study, names: Sequence[str]) -> tuple[Section, ...]:
    """Return the sections of some names."""
    folder = study.file.parent
    return tuple(load(study.addresses[name], folder) for name in names)


def sources(study: Study, names: Sequence[str]) -> dict[str, str]:
    """Return words for some sections that change when they do."""
    folder = study.file.parent
    return {name: identity(study.addresses[name], folder) for name in names}


def settings(table: Any) -> dict[str, Any]:
    """Return a table of the file as a ledger has it."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(table).items()
    }


def looks(study: Study) -> ImagePredictor:
    """Return how the study looks at sections."""
    chosen = study.features
    encoder: Callable[[], Encoder] = default_encoder
    if chosen.encoder.startswith(_FOLDER):
        folder = study.file.parent / chosen.encoder.removeprefix(_FOLDER)
        encoder = partial(Encoder.load, f"{_FOLDER}{folder}")
    elif chosen.encoder != _DEFAULT:
        encoder = partial(Encoder.load, chosen.encoder)
    names = {scale.side_um: scale.name for scale in SCALES}
    scales = tuple(
        Scale(names.get(side, f"{side:g} um"), side) for side in chosen.scales_um
    )
    return ImagePredictor(encoder, scales, chosen.radii_um)


def looked(study: Study) -> dict[str, Any]:
    """Return what decides the features of sections, as a ledger has it."""
    chosen = study.features.encoder
    name = default_name() if chosen == _DEFAULT else chosen
    folder = study.file.parent / name.removeprefix(_FOLDER)
    weights = stamp(folder) if name.startswith(_FOLDER) else name
    return settings(study.features) | {"weights": weights}


def digest(known: Mapping[str, Any]) -> str:
    """Return a word for some settings, to name a folder by."""
    content = json.dumps(known, sort_keys=True).encode()
    return blake2b(content, digest_size=8).hexdigest()


def require(study: Study, place: str) -> tuple[Any, ...]:
    """Return a list of the file that a step cannot do without.

    Raises
    ------
    SettingsError
        If it is empty.
    """
    table, key = place.split(".")
    value = tuple(getattr(getattr(study, table), key))
    if not value:
        raise SettingsError(
            f"{study.file}: {place} is missing, expected one or more of "
            f"{', '.join(study.addresses)}. Write [{table}] and {key} = [...]."
        )
    return value


def require_name(study: Study, place: str, name: str, known: Sequence[str]) -> str:
    """Return the name of a predictor, if there is one.

    Raises
    ------
    SettingsError
        If there is none.
    """
    if name not in known:
        raise SettingsError(
            f"{study.file}: {place} is {name!r}, expected one of {'; '.join(known)}. "
            "Correct the name."
        )
    return name


def parquet(table: pd.DataFrame) -> bytes:
    """Return a table as a Parquet file."""
    buffer = io.BytesIO()
    table.to_parquet(buffer)
    return buffer.getvalue()
