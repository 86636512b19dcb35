"""The step `data`: what sections there are."""

__all__ = ["pieces"]

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from stlearnkit.commands._pieces import Piece
from stlearnkit.commands._settings import Study
from stlearnkit.commands._study import at_hand, sources
from stlearnkit.sections import Section


def pieces(study: Study) -> list[Piece]:
    """Return the table of facts, one row a section."""
    return [
        Piece(
            (study.home / "data" / f"{name}.csv",),
            {"section": sources(study, [name])},
            partial(_facts, study, name),
        )
        for name in study.addresses
    ]


def _facts(study: Study, name: str) -> list[bytes]:
    """Fetch and validate a section, and return what it is."""
    (section,) = at_hand(study, [name])
    section.validate()
    row = facts(section, study.addresses[name])
    return [pd.DataFrame([row]).to_csv(index=False).encode()]


def facts(section: Section, address: str) -> dict[str, Any]:
    """Return the numbers that say what a section is."""
    slide = section.slide
    counts = section.total_counts()
    return {
        "section": section.name,
        "patient": section.patient,
        "spots": section.n_spots,
        "genes": section.n_genes,
        "median transcripts": int(np.median(counts)),
        "spots below 100 transcripts": int((counts < 100).sum()),
        "slide, px": "none" if slide is None else f"{slide.width} x {slide.height}",
        "um per px": round(section.mpp, 3),
        "from": address,
    }
