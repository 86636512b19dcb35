"""Scores: how good predictions are, and how training went."""

__all__ = ["ceiling_scatter", "fold_scores", "learning_curves"]

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

_COLOURS = sns.color_palette("colorblind")


def ceiling_scatter(
    scores: Float[np.ndarray, " genes"],
    ceilings: Float[np.ndarray, " genes"],
    ax: Axes,
    *,
    genes: Sequence[str] = (),
    n_named: int = 6,
) -> Axes:
    """Draw each gene's correlation against the best that its noise allows.

    Parameters
    ----------
    scores
        Per-gene correlation of a prediction.
    ceilings
        Per-gene noise ceiling.
    ax
        Where to draw.
    genes
        Names of the genes; the `n_named` best predicted are listed at the right.
    n_named
        How many to name.
    """
    ax.scatter(ceilings, scores, s=14, alpha=0.7, lw=0)
    ax.plot([0, 1], [0, 1], color="0.4", lw=1, ls="--", label="noise ceiling")
    ax.axhline(0, color="tab:orange", lw=1, label="constant profile")
    ax.set(
        xlim=(0, 1),
        ylim=(min(-0.3, float(np.nanmin(scores))), 1),
        xlabel="noise ceiling of the gene",
        ylabel="PCC of the prediction",
    )
    ax.set_aspect("equal")
    ax.legend(frameon=False, loc="upper left")
    if len(genes):
        best = np.argsort(-np.nan_to_num(scores, nan=-1.0))[:n_named]
        _name_beside(ax, ceilings[best], scores[best], [genes[i] for i in best])
    return ax


def _name_beside(
    ax: Axes,
    x: Float[np.ndarray, " points"],
    y: Float[np.ndarray, " points"],
    names: Sequence[str],
) -> None:
    """List names right of the axes, in falling order of y, each led to its point."""
    low, high = ax.get_ylim()
    step = 0.055 * (high - low)
    top = min(high, float(np.mean(y)) + step * (len(names) - 1) / 2)
    for rank, name in enumerate(names):
        ax.annotate(
            name,
            (x[rank], y[rank]),
            xytext=(1.04, top - step * rank),
            textcoords=ax.get_yaxis_transform(),
            fontsize=8,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": "0.6", "shrinkB": 3},
        )


def learning_curves(history: pd.DataFrame, ax: Axes) -> Axes:
    """Draw the error on training and validation sections over the epochs.

    Where the two part, the model learns by heart. The epoch that was kept is marked;
    the dashed line is the error before training, that of the mean profile.

    Parameters
    ----------
    history
        From `training.Fitted`: `epoch`, `train_loss`, `val_mse`.
    ax
        Where to draw.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    missing = {"epoch", "train_loss", "val_mse"} - set(history.columns)
    if missing:
        raise ValueError(
            f"history lacks the columns {sorted(missing)}. Give fitted.history."
        )
    best = history.loc[history["val_mse"].idxmin()]
    ax.plot(history["epoch"], history["train_loss"], marker=".", label="training")
    ax.plot(history["epoch"], history["val_mse"], marker=".", label="validation")
    ax.axhline(history["val_mse"].iloc[0], color="0.5", ls="--", lw=1)
    ax.plot(best["epoch"], best["val_mse"], "o", ms=10, mfc="none", color="k")
    ax.annotate(
        "kept",
        (best["epoch"], best["val_mse"]),
        xytext=(0, -8),
        textcoords="offset points",
        ha="center",
        va="top",
    )
    ax.set(xlabel="epoch", ylabel="mean squared error")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.margins(x=0.1)
    ax.legend(frameon=False)
    return ax


def fold_scores(
    units: pd.DataFrame, summary: pd.DataFrame, ax: Axes, *, label: str = "PCC"
) -> Axes:
    """Draw a table of results: a row for each predictor, a dot for each unit.

    Large dots are means, lines their intervals. Dots of one unit have one colour, so
    that one sees whether a predictor is better everywhere or by one lucky section.

    Parameters
    ----------
    units
        From `reports.per_unit`, of one claim.
    summary
        From `reports.overview` of the same table.
    ax
        Where to draw.
    label
        Of the score.

    Raises
    ------
    ValueError
        If there is more than one claim.
    """
    claims = list(units["claim"].unique())
    if len(claims) != 1:
        raise ValueError(
            f"units has the claims {claims}, expected one: scores of sections and of "
            "patients do not go on one axis. Choose rows: units[units.claim == ...]."
        )
    of_claim = summary.loc[claims[0]]
    rows = {name: row for row, name in enumerate(of_claim.index)}
    of_units = units.groupby("name", sort=False)
    colours = _colours(of_units.ngroups)
    for colour, (unit, some) in zip(colours, of_units, strict=True):
        heights = [rows[name] + 0.18 for name in some["predictor"]]
        ax.scatter(some["value"], heights, s=18, color=colour, label=str(unit))
    height = list(rows.values())
    ax.hlines(height, of_claim["low"], of_claim["high"], color="k", lw=1.5)
    ax.scatter(of_claim["mean"], height, s=36, color="k", zorder=3)
    ax.axvline(0, color="0.7", lw=1, zorder=0)
    ax.set(yticks=height, yticklabels=list(rows), xlabel=label)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    kind = str(units["unit"].iloc[0])
    ax.legend(title=kind, frameon=False, bbox_to_anchor=(1.02, 1), loc="upper left")
    return ax


def _colours(number: int) -> Sequence[tuple[float, float, float]]:
    """Return so many colours, easily told apart if they are few."""
    if number <= len(_COLOURS):
        return _COLOURS[:number]
    return sns.color_palette("husl", number)
