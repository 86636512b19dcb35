"""How well a predicted map matches the measured one.

Arrays are spots × genes of *one* section. Pooling spots of several sections before
correlating rewards a model for knowing section means, so no function here does it:
score each section, then average with `summarise`.

Constant vectors have no correlation. The rule, everywhere: a constant *prediction*
scores 0 and counts, because it explains nothing; a constant *measurement* scores NaN
and is left out and counted, because nothing was there to explain.

Taught in the chapter "Features and the linear baseline".
"""

__all__ = [
    "mae",
    "mse",
    "pcc_beyond",
    "pcc_per_gene",
    "pcc_per_spot",
    "rvd",
    "skill_per_gene",
    "summarise",
]

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stlearnkit._correlation import (
    check,
    correlate_columns,
    is_constant,
    residuals,
)


class Summary(NamedTuple):
    """A mean that says how many values it left out."""

    mean: float
    """Mean of the values that are not NaN; NaN if there are none."""
    n_counted: int
    """How many values the mean is of."""
    n_excluded: int
    """How many were NaN: measured vectors that are constant."""


def summarise(values: Float[np.ndarray, " values"]) -> Summary:
    """Average scores, leaving out NaN and saying how many.

    Examples
    --------
    >>> summarise(np.array([0.2, 0.4, np.nan]))
    Summary(mean=0.3..., n_counted=2, n_excluded=1)
    """
    counted = values[~np.isnan(values)]
    mean = float(counted.mean()) if len(counted) else float("nan")
    return Summary(mean, len(counted), len(values) - len(counted))


def pcc_per_gene(
    predicted: Float[np.ndarray, "spots genes"],
    measured: Float[np.ndarray, "spots genes"],
) -> Float[np.ndarray, " genes"]:
    r"""Correlate predicted with measured expression over the spots, gene by gene.

    This asks whether the model knows *where* a gene is high. Pearson's correlation

    .. math:: r_g = \frac{\sum_i (\hat y_{ig} - \bar{\hat y}_g)(y_{ig} - \bar y_g)}
              {\|\hat y_g - \bar{\hat y}_g\| \, \|y_g - \bar y_g\|}

    does not change when a prediction is shifted or scaled by a positive factor.

    Parameters
    ----------
    predicted, measured
        Expression of one section.

    Returns
    -------
    One value per gene in [-1, 1]; 0 where the prediction is constant, NaN where the
    measurement is.

    Raises
    ------
    ValueError
        If an entry is not finite, or there are fewer than two spots.

    Examples
    --------
    >>> measured = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    >>> pcc_per_gene(np.array([[1.0, 1.0], [3.0, 2.0], [5.0, 3.0]]), measured)
    array([ 1., nan])
    """
    check(predicted, measured)
    return correlate_columns(predicted, measured)


def pcc_beyond(
    predicted: Float[np.ndarray, "spots genes"],
    measured: Float[np.ndarray, "spots genes"],
    library_size: Float[np.ndarray, " spots"],
) -> Float[np.ndarray, " genes"]:
    """Correlate what the library size does not explain, gene by gene.

    How many transcripts a spot has moves all genes at once, so a map of it alone can
    score well. From predicted and from measured values, the curve in the logarithm of
    the library size that fits best is taken away first; what is left is correlated: a
    partial correlation. The curve is a cubic, as the effect on log1p is bent.

    It is a severe judge. Dense tissue does hold more transcripts, so some biology goes
    with the library size: read it beside `pcc_per_gene`, not instead.

    Parameters
    ----------
    predicted, measured
        Expression of one section.
    library_size
        Transcripts of each spot over all genes, above 0: `Section.total_counts`.

    Returns
    -------
    One value per gene in [-1, 1]; 0 where the curve explains the whole prediction, NaN
    where it explains the whole measurement.

    Raises
    ------
    ValueError
        If an entry is not finite, a library size is not above 0, or there are fewer
        than six spots.

    Examples
    --------
    A prediction that is nothing but library size has nothing left:

    >>> size = np.array([10.0, 20.0, 40.0, 80.0, 160.0, 320.0])
    >>> map_of_size = np.log(size)[:, None]
    >>> measured = map_of_size + np.array([[1.0], [-1.0], [0.0], [2.0], [0.0], [-1.0]])
    >>> pcc_per_gene(map_of_size, measured).round(2)
    array([0.67])
    >>> pcc_beyond(map_of_size, measured, size)
    array([0.])
    """
    check(predicted, measured)
    if len(measured) < 6:
        raise ValueError(
            f"predicted and measured have {len(measured)} spots, expected at least 6: "
            "a cubic through fewer leaves too little to correlate."
        )
    if library_size.shape != (len(measured),):
        raise ValueError(
            f"library_size has shape {library_size.shape}, expected one value for each "
            f"of the {len(measured)} spots: section.total_counts()."
        )
    if not (np.isfinite(library_size) & (library_size > 0)).all():
        raise ValueError(
            f"library_size has values down to {library_size.min():.3g}, expected "
            "numbers above 0. Score only spots with transcripts: "
            "section.total_counts() > 0."
        )
    depth = np.log(library_size)
    left = (residuals(values, depth, degree=3) for values in (predicted, measured))
    return correlate_columns(*left)


def pcc_per_spot(
    predicted: Float[np.ndarray, "spots genes"],
    measured: Float[np.ndarray, "spots genes"],
) -> Float[np.ndarray, " spots"]:
    """Correlate predicted with measured expression over the genes, spot by spot.

    Genes differ far more in their level than spots do in one gene, so a profile that
    is the same everywhere already scores high. Read it beside `pcc_per_gene`.

    Parameters
    ----------
    predicted, measured
        Expression of one section.

    Raises
    ------
    ValueError
        If an entry is not finite, or there are fewer than two genes.

    Examples
    --------
    The same profile for every spot has perfect correlation with each of these:

    >>> measured = np.array([[1.0, 2.0, 9.0], [2.0, 3.0, 10.0]])
    >>> pcc_per_spot(np.array([[1.0, 2.0, 9.0]] * 2), measured)
    array([1., 1.])
    """
    check(predicted, measured)
    return correlate_columns(predicted.T, measured.T)


def mse(
    predicted: Float[np.ndarray, "spots genes"],
    measured: Float[np.ndarray, "spots genes"],
) -> float:
    """Return the mean squared error over spots and genes.

    Its size depends on the base of the logarithm, the total used in the library-size
    step and any smoothing: natural instead of decimal logarithms multiply it by
    (ln 10)² = 5.30. Quote it only with all three.

    Raises
    ------
    ValueError
        If an entry is not finite, or there are fewer than two spots.
    """
    check(predicted, measured)
    return float(np.mean((predicted - measured) ** 2))


def mae(
    predicted: Float[np.ndarray, "spots genes"],
    measured: Float[np.ndarray, "spots genes"],
) -> float:
    """Return the mean absolute error over spots and genes.

    Raises
    ------
    ValueError
        If an entry is not finite, or there are fewer than two spots.
    """
    check(predicted, measured)
    return float(np.mean(np.abs(predicted - measured)))


def skill_per_gene(
    predicted: Float[np.ndarray, "spots genes"],
    measured: Float[np.ndarray, "spots genes"],
    training_mean: Float[np.ndarray, " genes"],
) -> Float[np.ndarray, " genes"]:
    r"""Return the share of the constant profile's squared error that is removed.

    .. math:: s_g = 1 - \mathrm{MSE}_g(\hat Y) / \mathrm{MSE}_g(\bar y^{train})

    1 is perfect, 0 no better than the training mean, negative worse. Unlike the MSE
    it is free of units, so it can be compared between targets.

    Parameters
    ----------
    predicted, measured
        Expression of one section.
    training_mean
        Mean of each gene over the *training* spots.

    Returns
    -------
    One value per gene; NaN where the training mean is exactly right at every spot.

    Raises
    ------
    ValueError
        If an entry is not finite, or there are fewer than two spots.
    """
    check(predicted, measured)
    error = np.mean((predicted - measured) ** 2, axis=0)
    reference = np.mean((training_mean - measured) ** 2, axis=0)
    return _divide(reference - error, reference)


def rvd(
    predicted: Float[np.ndarray, "spots genes"],
    measured: Float[np.ndarray, "spots genes"],
) -> Summary:
    r"""Return the relative variance distance, 0 for maps as contrasted as the truth.

    .. math:: \frac 1 G \sum_g
        \frac{(\mathrm{Var}\,\hat Y_g - \mathrm{Var}\,Y_g)^2}{(\mathrm{Var}\,Y_g)^2}

    1 is what a constant prediction scores. Genes that are constant in
    the measurement are left out and counted.

    Raises
    ------
    ValueError
        If an entry is not finite, or there are fewer than two spots.

    References
    ----------
    Used for spatial expression by Zhu et al., "Diffusion generative modeling for
    spatially resolved gene expression inference from histology images", ICLR 2025.
    """
    check(predicted, measured)
    variance = measured.var(axis=0)
    variance[is_constant(measured)] = 0.0
    return summarise(_divide((predicted.var(axis=0) - variance) ** 2, variance**2))


def ceiling_from_halves(
    half_pcc: Float[np.ndarray, " genes"],
) -> Float[np.ndarray, " genes"]:
    r"""Return the highest per-gene correlation that noise in the measurement allows.

    Two halves of the counts measure the same spots independently. Their correlation
    :math:`r` is the reliability of *half* a measurement; that of the whole is
    :math:`\rho = 2 r / (1 + r)` (Spearman and Brown), and a prediction that knew the
    truth would correlate with the noisy measurement at :math:`\sqrt\rho`.

    Parameters
    ----------
    half_pcc
        Correlation over spots of one half with the other, gene by gene.

    Returns
    -------
    One value per gene in [0, 1]; 0 where the halves do not agree at all, NaN where
    `half_pcc` is.

    Raises
    ------
    ValueError
        If a value lies outside [-1, 1].

    References
    ----------
    Spearman, Br. J. Psychol. 3 (1910); Brown, Br. J. Psychol. 3 (1910).

    Examples
    --------
    Halves that correlate at 0.5 make a whole of reliability 2/3:

    >>> ceiling_from_halves(np.array([0.5, -0.1])).round(4)
    array([0.8165, 0.    ])
    """
    if (np.abs(half_pcc) > 1).any():
        raise ValueError(
            f"half_pcc has values up to {np.nanmax(np.abs(half_pcc)):.3g}, expected "
            "correlations in [-1, 1]: metrics.pcc_per_gene(half, other_half)."
        )
    r = np.maximum(half_pcc, 0.0)
    return np.sqrt(2 * r / (1 + r))


def _divide(
    numerator: Float[np.ndarray, " genes"], denominator: Float[np.ndarray, " genes"]
) -> Float[np.ndarray, " genes"]:
    """Divide, with NaN where the denominator is 0."""
    out = np.full_like(numerator, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)
