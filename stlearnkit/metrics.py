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
    "ceiling_from_halves",
    "mae",
    "mse",
    "pcc_per_gene",
    "pcc_per_spot",
    "rvd",
    "skill_per_gene",
    "summarise",
]

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# Below this spread relative to its mean a float64 vector is rounding, not signal.
_CONSTANT = 1e-13


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
    _check(predicted, measured)
    return _pearson_columns(predicted, measured)


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
    _check(predicted, measured)
    return _pearson_columns(predicted.T, measured.T)


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
    _check(predicted, measured)
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
    _check(predicted, measured)
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
    _check(predicted, measured)
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
    _check(predicted, measured)
    variance = measured.var(axis=0)
    variance[_is_constant(measured)] = 0.0
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


def _check(
    predicted: Float[np.ndarray, "spots genes"],
    measured: Float[np.ndarray, "spots genes"],
) -> None:
    """Refuse what would make a score NaN or meaningless without saying so.

    Raises
    ------
    ValueError
        If shapes differ, there are fewer than two values, or one is not finite.
    """
    if predicted.shape != measured.shape:
        raise ValueError(
            f"predicted has shape {predicted.shape}, measured {measured.shape}: both "
            "must be spots x genes of one section, with genes in the same order."
        )
    if min(predicted.shape) < 1 or predicted.size < 2:
        raise ValueError(
            f"predicted and measured have shape {predicted.shape}; at least two values "
            "are needed to judge a map."
        )
    for name, values in (("predicted", predicted), ("measured", measured)):
        n_bad = int((~np.isfinite(values)).sum())
        if n_bad:
            raise ValueError(
                f"{name} has {n_bad} entries that are not finite. A model that gives "
                "NaN has failed; find out why rather than dropping these spots."
            )


def _is_constant(values: Float[np.ndarray, "values columns"]) -> np.ndarray:
    """Tell for each column whether its spread is only rounding."""
    mean = values.mean(axis=0)
    return np.linalg.norm(values - mean, axis=0) <= _CONSTANT * np.abs(mean)


def _pearson_columns(
    predicted: Float[np.ndarray, "values columns"],
    measured: Float[np.ndarray, "values columns"],
) -> Float[np.ndarray, " columns"]:
    """Correlate matching columns under the rule for constant vectors."""
    # Divide by the norms before multiplying, so that tiny columns do not underflow.
    unit = [_unit_columns(values) for values in (predicted, measured)]
    r = np.clip((unit[0] * unit[1]).sum(axis=0), -1.0, 1.0)
    r[_is_constant(predicted)] = 0.0
    r[_is_constant(measured)] = np.nan
    return r


def _unit_columns(
    values: Float[np.ndarray, "values columns"],
) -> Float[np.ndarray, "values columns"]:
    """Centre each column and scale it to length 1; constant columns become 0."""
    centred = np.asarray(values, float) - values.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    return centred / np.where(norm > 0, norm, 1.0)


def _divide(
    numerator: Float[np.ndarray, " genes"], denominator: Float[np.ndarray, " genes"]
) -> Float[np.ndarray, " genes"]:
    """Divide, with NaN where the denominator is 0."""
    out = np.full_like(numerator, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)
