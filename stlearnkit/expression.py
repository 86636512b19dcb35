"""From counts to expression: panels, normalisation, and how noisy the counts are.

Whatever is chosen from data, a gene panel above all, is chosen on training sections;
`Panel` remembers which, so that a later step can refuse a panel that saw the test.

Taught in the chapter "From counts to expression".
"""

__all__ = [
    "Panel",
    "log_normalise",
    "log_normalised",
    "noise_ceiling",
    "shared_genes",
    "thin",
    "thinned_halves",
    "top_genes",
]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import sparse

from stlearnkit.metrics import ceiling_from_halves, pcc_per_gene
from stlearnkit.sections import Section


@dataclass(frozen=True)
class Panel:
    """Genes to predict, and the sections they were chosen on."""

    genes: tuple[str, ...]
    """Gene names, in the order of the columns of every target and prediction."""
    chosen_on: tuple[str, ...]
    """Names of the sections whose counts decided; never a test section."""

    def __len__(self) -> int:
        """Return the number of genes."""
        return len(self.genes)


def shared_genes(sections: Sequence[Section]) -> tuple[str, ...]:
    """Return the genes measured in all sections, in the order of the first.

    Raises
    ------
    ValueError
        If no section is given, or no gene is shared.
    """
    if not sections:
        raise ValueError("sections is empty: give at least one section.")
    shared = set(sections[0].adata.var_names)
    for section in sections[1:]:
        shared &= set(section.adata.var_names)
    if not shared:
        raise ValueError(
            f"the sections {[section.name for section in sections]} share no gene. "
            "Check that all name genes alike: symbols or Ensembl identifiers, with or "
            "without version."
        )
    return tuple(gene for gene in sections[0].adata.var_names if gene in shared)


def top_genes(
    training: Sequence[Section],
    n_genes: int = 250,
    *,
    among: Sequence[str] | None = None,
) -> Panel:
    """Choose the genes with the highest mean raw count over the training sections.

    The mean is taken within each section first, so that a section with more spots
    does not count more.

    Parameters
    ----------
    training
        The sections to choose on. A section to be tested must not be among them.
    n_genes
        Size of the panel.
    among
        Candidates; without it, all genes that the training sections share. Give the
        *names* shared with a test section here if its array lacks some genes.

    Raises
    ------
    ValueError
        If there are fewer than `n_genes` candidates, or `n_genes` is below 1.
    """
    candidates = shared_genes(training) if among is None else tuple(among)
    if not 1 <= n_genes <= len(candidates):
        raise ValueError(
            f"n_genes is {n_genes}, expected 1 to {len(candidates)}, the number of "
            "genes that the sections share."
        )
    mean = np.mean([s.counts(candidates).mean(axis=0) for s in training], axis=0)
    # A stable sort keeps the order of the table among equal means.
    best = np.argsort(-mean, kind="stable")[:n_genes]
    return Panel(
        genes=tuple(candidates[index] for index in best),
        chosen_on=tuple(section.name for section in training),
    )


def log_normalise(
    counts: Float[np.ndarray, "spots genes"],
    total: Float[np.ndarray, " spots"],
    *,
    target_sum: float = 1e4,
) -> Float[np.ndarray, "spots genes"]:
    r"""Divide out the library size and take the natural logarithm.

    .. math:: y_{ig} = \ln\left(1 + 10^4 \, c_{ig} / n_i\right)

    Parameters
    ----------
    counts
        Raw counts of the genes wanted.
    total
        Transcripts :math:`n_i` of each spot, over *all* genes, not only those wanted:
        a panel total makes the values depend on which genes were chosen.
    target_sum
        The library size that all spots are brought to.

    Raises
    ------
    ValueError
        If a spot has no transcripts.

    Examples
    --------
    >>> log_normalise(np.array([[1.0, 0.0]]), np.array([10.0]), target_sum=10.0)
    array([[0.69314718, 0.        ]])
    """
    empty = np.flatnonzero(total <= 0)
    if len(empty):
        raise ValueError(
            f"{len(empty)} of {len(total)} spots have no transcripts, first: row "
            f"{empty[0]}. Drop them: section.subset(section.total_counts() > 0)."
        )
    return np.log1p(target_sum * counts / total[:, None])


def log_normalised(
    section: Section, genes: Sequence[str], *, target_sum: float = 1e4
) -> Float[np.ndarray, "spots genes"]:
    """Return the target of every model here: `log_normalise` of a section's counts.

    Raises
    ------
    ValueError
        If a spot has no transcripts.
    """
    return log_normalise(
        section.counts(genes), section.total_counts(), target_sum=target_sum
    )


def thin(counts: Any, *, seed: int) -> tuple[Any, Any]:
    """Split counts into two halves, each transcript falling into either by a coin.

    If counts are Poisson around a rate, the halves are *independent* measurements of
    half that rate: what they share is signal, what they do not is noise.

    Parameters
    ----------
    counts
        Whole numbers, as an array or a scipy sparse matrix.
    seed
        Of the coin.

    Returns
    -------
    The two halves; they add up to `counts`.

    Raises
    ------
    ValueError
        If an entry is negative or not whole.

    References
    ----------
    Neufeld et al., "Data thinning for convolution-closed distributions", J. Mach.
    Learn. Res. 25 (2024).

    Examples
    --------
    >>> half, other = thin(np.array([[8, 0], [3, 100]]), seed=0)
    >>> (half + other).tolist()
    [[8, 0], [3, 100]]
    """
    whole: Any = sparse.csr_matrix(counts) if sparse.issparse(counts) else counts
    values = np.asarray(whole.data if sparse.issparse(counts) else whole)
    if (values < 0).any() or (values != np.round(values)).any():
        raise ValueError(
            "counts has entries that are negative or not whole numbers. Thinning needs "
            "raw counts: use section.adata.layers['counts']."
        )
    drawn = np.random.default_rng(seed).binomial(values.astype(np.int64), 0.5)
    drawn = drawn.astype(values.dtype)
    if not sparse.issparse(counts):
        return drawn, values - drawn
    half = sparse.csr_matrix((drawn, whole.indices, whole.indptr), whole.shape)
    return half, whole - half


def thinned_halves(
    section: Section, genes: Sequence[str], *, seed: int
) -> tuple[Float[np.ndarray, "spots genes"], Float[np.ndarray, "spots genes"]]:
    """Return normalised expression from either half of a section's counts.

    Each half is normalised by its own library size, as a measurement of its own
    would be. A spot that a half leaves without any transcript, which happens to
    spots of a few, has expression 0 in it.

    Raises
    ------
    KeyError
        If a gene was not measured here.
    """
    panel = section.counts(genes)
    rest = section.total_counts() - panel.sum(axis=1)
    # Transcripts outside the panel matter through their number alone, and a sum of
    # coins is a coin of the sum: no need to thin 15,000 genes for a panel of 250.
    halves = thin(np.column_stack([panel, rest]), seed=seed)
    half, other = (
        log_normalise(counts[:, :-1], np.maximum(counts.sum(axis=1), 1.0))
        for counts in halves
    )
    return half, other


def noise_ceiling(
    section: Section, genes: Sequence[str], *, n_draws: int = 10, seed: int = 0
) -> Float[np.ndarray, " genes"]:
    """Estimate the best per-gene correlation anyone could reach on this section.

    Counts are thinned `n_draws` times, the correlations of the halves averaged and
    turned into a ceiling by `metrics.ceiling_from_halves`. It bounds *sampling* noise
    only: an image need not show all that the counts do, so the true limit of
    image-based prediction is lower still.

    Halved counts lie lower on the bent part of the logarithm, which makes the
    estimate a few hundredths too low where counts are small.

    Spots of a few transcripts raise it: their profile, almost all zeros, is the same
    in both halves and far from every other spot's. Drop them first to see how much of
    a ceiling is that.

    Uneven library sizes raise it too: what the logarithm does to a gene depends on
    the depth of its spot, which both halves share, so even flat tissue has a ceiling
    above 0. And it is biased upwards near 0, as chance agreement is kept, chance
    disagreement cut off at 0, and the root makes small values large. The chapter "From
    counts to expression" measures both: compare with flat tissue of the same depths.

    Parameters
    ----------
    section
        The section whose measurement is judged.
    genes
        The panel.
    n_draws
        Number of random splits to average over.
    seed
        Of the first split; the others follow.

    Returns
    -------
    One value per gene in [0, 1]; NaN where a half was constant in some split.

    Raises
    ------
    ValueError
        If `n_draws` is below 1.
    """
    if n_draws < 1:
        raise ValueError(f"n_draws is {n_draws}, expected at least 1.")
    half_pcc = np.zeros(len(genes))
    for draw in range(n_draws):
        half, other = thinned_halves(section, genes, seed=seed + draw)
        # Both orders, so that a constant half gives NaN whichever it is.
        half_pcc += (pcc_per_gene(half, other) + pcc_per_gene(other, half)) / 2
    return ceiling_from_halves(half_pcc / n_draws)
