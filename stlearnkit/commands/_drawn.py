"""Maps for the page: what a step wrote, beside what was measured if it was."""

__all__ = ["coverage", "maps"]

from pathlib import Path

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from stlearnkit.commands import _page
from stlearnkit.expression import log_normalised
from stlearnkit.plots import compare_maps, spot_map
from stlearnkit.sections import Section


def maps(section: Section, file: Path, n_maps: int) -> list[str]:
    """Draw the genes of a predicted section that its prediction varies most in."""
    predicted = anndata.read_h5ad(file).to_df()
    order = predicted.var().sort_values(ascending=False, kind="stable")
    return [
        _map(section, gene, predicted[gene].to_numpy(float))
        for gene in order.index[:n_maps]
    ]


def coverage(section: Section, file: Path) -> float:
    """Return the share of measurements that intervals hold; NaN if there are none."""
    table = anndata.read_h5ad(file)
    genes = list(table.var_names)
    if not _is_measured(section, genes):
        return float("nan")
    measured = log_normalised(section, genes)
    low, high = (np.asarray(table.layers[name]) for name in ("low", "high"))
    return float(np.mean((low <= measured) & (measured <= high)))


def _is_measured(section: Section, genes: list[str]) -> bool:
    """Tell whether all spots have a measurement of all genes."""
    known = pd.Index(genes).isin(section.adata.var_names).all()
    return bool(known) and bool((section.total_counts() > 0).all())


def _map(section: Section, gene: str, predicted: np.ndarray) -> str:
    """Draw one gene of a section."""
    alt = (
        f"Map of {gene} in section {section.name}, predicted from "
        f"{predicted.min():.1f} to {predicted.max():.1f} on the scale of ln(1 + counts "
        "per 10,000)"
    )
    if not _is_measured(section, [gene]):
        figure, ax = plt.subplots(figsize=(4.6, 4), layout="constrained")
        spot_map(section, predicted, ax, label=f"{gene}, ln(1 + counts per 10⁴)")
        return _page.picture(figure, f"{alt}.", f"{gene} in {section.name}, predicted.")
    measured = log_normalised(section, [gene])[:, 0]
    varies = min(np.ptp(measured), np.ptp(predicted)) > 0
    found = f"{np.corrcoef(measured, predicted)[0, 1]:.2f}" if varies else "none"
    figure = compare_maps(section, measured, {"predicted": predicted}, gene=gene)
    return _page.picture(
        figure,
        f"{alt}; left of it as measured. Correlation: {found}.",
        f"{gene} in {section.name}; correlation with the measurement: {found}.",
    )
