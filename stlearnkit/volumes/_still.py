"""A volume on paper."""

__all__ = ["draw_still"]

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from stlearnkit.volumes._volume import KINDS, Volume, colour_ends

_TITLES = {"difference": "predicted − measured"}


def draw_still(volume: Volume, gene: str, *, z_times: float = 60.0) -> Figure:
    """Draw one gene of a volume, measured, predicted and their difference.

    The same spots and colours as `draw` shows, seen from one side, without H&E. Spots
    of observed sections are squares.

    Parameters
    ----------
    volume
        What to draw.
    gene
        One of its genes.
    z_times
        How much heights are stretched. Ticks stay true.

    Raises
    ------
    ValueError
        If the gene is not in the volume, or `z_times` is not above 0.
    """
    if not 0 < z_times < np.inf:
        raise ValueError(f"z_times is {z_times}, expected above 0: 1 for true heights.")
    points = {kind: volume.points(gene, kind) for kind in KINDS}
    drawn = [kind for kind in KINDS if len(points[kind])]
    places = np.concatenate(volume.stack.coords_3d_um())
    low, high = places.min(axis=0) - 1.0, places.max(axis=0) + 1.0
    figure = plt.figure(figsize=(3.7 * len(drawn), 4.0), layout="constrained")
    for number, kind in enumerate(drawn, start=1):
        ax = figure.add_subplot(1, len(drawn), number, projection="3d")
        signed = kind == "difference"
        norm = Normalize(*colour_ends(volume, gene, kind))
        for observed, rows in points[kind].groupby("observed"):
            dots = ax.scatter(
                *rows[["x_um", "y_um", "z_um"]].to_numpy(float).T,
                c=rows["value"].astype(float),
                cmap="RdBu_r" if signed else "viridis",
                norm=norm,
                marker="s" if observed else "o",
                s=12,
                depthshade=False,
            )
        ax.set(xlabel="x (µm)", ylabel="y (µm)", zlabel="z (µm)")
        ax.set_title(_TITLES.get(kind, kind))
        ax.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), zlim=(low[2], high[2]))
        ax.locator_params(nbins=4)
        ax.set_zticks(volume.stack.z_um)
        ax.set_box_aspect((high - low) * [1.0, 1.0, z_times], zoom=0.9)
        ax.view_init(elev=18, azim=-75)
        figure.colorbar(
            dots,
            ax=ax,
            label=f"{gene}, ln(1 + counts per 10⁴)",
            location="bottom",
            shrink=0.7,
        )
    return figure
