"""The step `features`: all sections encoded, and kept by the encoders' cache."""

__all__ = ["pieces"]

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pandas as pd

from stlearnkit.commands._pieces import Piece
from stlearnkit.commands._settings import Study
from stlearnkit.commands._study import at_hand, looked, looks, sources
from stlearnkit.encoders import Encoder, features


def pieces(study: Study) -> list[Piece]:
    """Return one file for each section: which features of it are kept."""

    @cache
    def encoder() -> Encoder:
        """Load the network when the first section needs it."""
        return looks(study).encoder()

    return [
        Piece(
            (study.home / "features" / f"{name}.csv",),
            {
                "features": looked(study),
                "section": sources(study, [name]),
            },
            partial(_encoded, study, name, encoder),
        )
        for name in study.addresses
    ]


def _encoded(study: Study, name: str, encoder: Callable[[], Encoder]) -> list[bytes]:
    """Encode a section at all scales and return what there is."""
    (section,) = at_hand(study, [name])
    network = encoder()
    rows = []
    for scale in looks(study).scales:
        found = features(section, network, scale)
        rows.append(
            {
                "section": name,
                "side_um": scale.side_um,
                "spots": len(found),
                "features": found.shape[1],
                "mean": round(float(np.mean(found)), 4),
                "encoder": study.features.encoder,
                "fingerprint": network.fingerprint,
            }
        )
    return [pd.DataFrame(rows).to_csv(index=False).encode()]
