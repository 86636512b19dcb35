"""Predicted sections as files that other tools read."""

__all__ = ["h5ad", "points"]

import io

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import write_elem

from stlearnkit.conventions import SPATIAL
from stlearnkit.sections import Section


def h5ad(
    section: Section, expression: pd.DataFrame, layers: dict[str, pd.DataFrame]
) -> bytes:
    """Return predictions as AnnData: scanpy and squidpy draw them as they are.

    Spots, their places and the picture are those of the section; `X` is what is
    predicted.
    """
    own = section.adata
    table = AnnData(
        expression.to_numpy(np.float32),
        obs=own.obs.copy(),
        var=pd.DataFrame(index=pd.Index(expression.columns, dtype=str)),
        obsm={SPATIAL: section.coords_px},
        uns={SPATIAL: own.uns.get(SPATIAL, {}), "patient": section.patient},
        layers={name: layer.to_numpy(np.float32) for name, layer in layers.items()},
    )
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        write_elem(file, "/", table)
    return buffer.getvalue()


def points(section: Section, expression: pd.DataFrame) -> pd.DataFrame:
    """Return one row a spot: where it lies, in µm of its section, and its genes."""
    places = pd.DataFrame(
        section.coords_um, index=expression.index, columns=["x_um", "y_um"]
    )
    return places.join(expression)
