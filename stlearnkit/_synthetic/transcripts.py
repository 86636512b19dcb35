r"""The counts of a simulated section: gene programmes, their activity, and chance.

Programme :math:`k` is on in spot :math:`s` with :math:`a_{sk} = v_{sk} \exp(\sigma_k
h_{sk})`, where :math:`v` can be seen in the image and :math:`h` cannot.
"""

__all__ = [
    "DISPERSION",
    "PROGRAMMES",
    "activity",
    "draw",
    "mean_counts",
    "nuclei_inside",
    "programmes",
    "region_shares",
]

import numpy as np
import pandas as pd
from jaxtyping import Float, Int64, UInt8
from scipy.spatial import cKDTree

from stlearnkit._synthetic.tissue import REGIONS

DISPERSION = 0.15
"""Variance of a count of mean μ is μ + DISPERSION μ²: negative binomial."""

# Per programme: name of its genes, share of the genes, share of the transcripts where
# it is fully on, and how strongly what the image does not show turns it up and down.
_TABLE = {
    "tumour": ("TUMOUR", 0.22, 1.0, 0.8),
    "stroma": ("STROMA", 0.20, 1.0, 0.8),
    "fat": ("FAT", 0.08, 0.6, 0.6),
    "immune": ("IMMUNE", 0.14, 1.2, 0.8),
    "housekeeping": ("HOUSE", 0.26, 0.8, 0.0),
    "gradient": ("GRADIENT", 0.10, 0.2, 0.9),
}
PROGRAMMES = tuple(_TABLE)
"""Groups of genes that are turned on together."""

_TRANSCRIPTS = 10_000.0  # median of a spot with _NUCLEI_USUAL nuclei
_NUCLEI_USUAL = 40.0
_PLACES_PER_DEAD = 100  # one place in so many of an array has caught next to nothing
_TRANSCRIPTS_DEAD = 2.0  # there
_LYMPHOCYTES_FULL = 120.0  # in a spot that lies in an immune focus
_LEAK = 0.12  # every gene is also a little on everywhere


def programmes(n_genes: int) -> pd.DataFrame:
    """Return what each programme adds to each gene, genes × programmes.

    The same for every tissue: a model trained on one can be tested on another.
    """
    rng = np.random.default_rng(0)
    ends = np.cumsum([share for _, share, _, _ in _TABLE.values()])
    spare = n_genes - len(_TABLE)  # after one gene for each
    sizes = 1 + np.diff(np.round(ends * spare).astype(int), prepend=0)
    names: list[str] = []
    abundance = np.zeros((n_genes, len(_TABLE)))
    for column, (prefix, _, transcripts, _) in enumerate(_TABLE.values()):
        start, size = len(names), int(sizes[column])
        names += [f"{prefix}{number:02d}" for number in range(1, size + 1)]
        drawn = rng.lognormal(0.0, 1.0, size)
        abundance[start : start + size, column] = transcripts * drawn / drawn.sum()
    house = PROGRAMMES.index("housekeeping")
    own = abundance.sum(axis=1)
    leaking = abundance[:, house] == 0
    abundance[leaking, house] = _LEAK * own[leaking]
    return pd.DataFrame(abundance, index=names, columns=list(PROGRAMMES))


def activity(
    shares: pd.DataFrame,
    lymphocytes: Int64[np.ndarray, " spots"],
    hidden: dict[str, Float[np.ndarray, " spots"]],
) -> pd.DataFrame:
    """Return how strongly each programme is on in each spot.

    Parameters
    ----------
    shares
        Share of each spot's area in each region.
    lymphocytes
        Number of immune nuclei in each spot.
    hidden
        For each programme but housekeeping, a field that the image does not show.
    """
    seen = shares[["tumour", "stroma", "fat"]].assign(
        immune=lymphocytes / _LYMPHOCYTES_FULL, housekeeping=1.0, gradient=1.0
    )
    for name, field in hidden.items():
        seen[name] *= np.exp(_TABLE[name][3] * field)
    return seen


def mean_counts(
    active: pd.DataFrame,
    loadings: pd.DataFrame,
    n_nuclei: Int64[np.ndarray, " spots"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "spots genes"]:
    """Return the mean of each count: transcripts of the spot times the gene's share.

    Spots with more nuclei have more transcripts, by a square root because crowded
    cells are smaller; how well a spot caught them varies by chance. One place in a
    hundred, as on real arrays, is dead: it caught a transcript or two.
    """
    relative = active.to_numpy() @ loadings.to_numpy().T
    relative /= relative.sum(axis=1, keepdims=True)
    crowding = np.sqrt((n_nuclei + 10.0) / (_NUCLEI_USUAL + 10.0))
    caught = rng.lognormal(0.0, 0.3, len(active))
    total = _TRANSCRIPTS * crowding * caught
    n_dead = len(active) // _PLACES_PER_DEAD
    total[rng.choice(len(active), n_dead, replace=False)] = _TRANSCRIPTS_DEAD
    return total[:, None] * relative


def draw(
    means: Float[np.ndarray, "spots genes"], rng: np.random.Generator
) -> Int64[np.ndarray, "spots genes"]:
    """Draw counts: Poisson around a gamma-distributed rate is negative binomial.

    Spots left without any transcript, which no published table has, are drawn again.
    """
    counts = np.zeros(means.shape, np.int64)
    while len(empty := np.flatnonzero(counts.sum(axis=1) == 0)):
        counts[empty] = rng.poisson(
            rng.gamma(1 / DISPERSION, DISPERSION * means[empty])
        )
    return counts


def region_shares(
    regions: UInt8[np.ndarray, "height width"],
    centres_px: Float[np.ndarray, "spots 2"],
    radius_px: float,
    names: pd.Index,
) -> pd.DataFrame:
    """Return the share of each region among the pixels of each spot."""
    steps = np.arange(-np.ceil(radius_px), np.ceil(radius_px) + 1).astype(int)
    down, right = (step.ravel() for step in np.meshgrid(steps, steps, indexing="ij"))
    disc = np.hypot(down, right) <= radius_px
    columns, rows = np.floor(centres_px).astype(int).T
    seen = regions[rows[:, None] + down[disc], columns[:, None] + right[disc]]
    shares = [(seen == number).mean(axis=1) for number in range(len(REGIONS))]
    return pd.DataFrame(np.transpose(shares), index=names, columns=list(REGIONS))


def nuclei_inside(
    nuclei: pd.DataFrame, centres_px: Float[np.ndarray, "spots 2"], radius_px: float
) -> pd.DataFrame:
    """Count the nuclei of each kind in each spot."""
    nearest = cKDTree(centres_px).query(
        nuclei[["x_px", "y_px"]], distance_upper_bound=radius_px
    )[1]
    counts = {
        kind: np.bincount(
            nearest[nuclei["kind"] == kind], minlength=len(centres_px) + 1
        )
        for kind in ("tumour", "stroma", "immune")
    }
    return pd.DataFrame(counts).iloc[: len(centres_px)]  # the last row lies in no spot
