"""Baselines: the mean profile, and ridge regression on frozen features.

Whoever proposes a deeper model has to beat these first. All that is learnt here,
scaling, penalty and weights, is learnt from training sections alone.

Taught in the chapter "Features and the linear baseline".
"""

__all__ = [
    "FittedMeanProfile",
    "FittedRidge",
    "MeanProfile",
    "RidgeRegression",
    "neighbourhood_features",
    "ridge_weights",
]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from stlearnkit.graphs import radius
from stlearnkit.models._checks import Blocks, Target, check_blocks, check_training
from stlearnkit.models._inputs import Inputs


def neighbourhood_features(
    features: Blocks,
    coords_um: Float[np.ndarray, "spots 2"],
    *,
    radii_um: Sequence[float] = (250.0, 480.0),
) -> list[Float[np.ndarray, "spots _"]]:
    """Put beside the features of a spot their means over discs around it.

    A mean over patches is less noisy than one patch. No expression is used.

    Parameters
    ----------
    features
        One array per scale.
    coords_um
        Spot centres (x, y) in micrometres.
    radii_um
        Radius of each disc; the default takes in 4 and 20 neighbours at pitch 200 µm.

    Returns
    -------
    Blocks for `RidgeRegression`: for each scale the features themselves, then their
    mean over each disc, the spot in its centre included.

    Raises
    ------
    ValueError
        If a radius is not positive, a centre is not finite, or numbers of rows differ.

    Examples
    --------
    >>> coords_um = np.array([[0.0, 0.0], [200.0, 0.0]])
    >>> blocks = neighbourhood_features([np.array([[1.0], [3.0]])], coords_um)
    >>> [block.ravel().tolist() for block in blocks]
    [[1.0, 3.0], [2.0, 2.0], [2.0, 2.0]]
    """
    discs = [radius(coords_um, r, self_loops=True) for r in radii_um]
    return [
        block
        for of_scale in features
        for block in (of_scale, *(disc.mean(of_scale) for disc in discs))
    ]


def ridge_weights(
    inputs: Float[np.ndarray, "spots features"],
    targets: Float[np.ndarray, "spots genes"],
    alphas: Sequence[float],
) -> list[Float[np.ndarray, "features genes"]]:
    r"""Solve ridge regression for several penalties with one decomposition.

    Parameters
    ----------
    inputs, targets
        Both centred, so that no intercept is needed.
    alphas
        Penalties per spot, above 0: the same value means the same shrinkage whatever
        the number of spots.

    Returns
    -------
    The weights for each penalty.

    Notes
    -----
    The minimum of :math:`\frac 1 n \|Y - X W\|^2 + \alpha \|W\|^2` solves the normal
    equations :math:`(X^T X + n \alpha I)\, W = X^T Y`. There are usually more
    features than spots, and the same :math:`W` then comes from the smaller matrix,
    spots × spots:

    .. math:: W = X^T (X X^T + n \alpha I)^{-1}\, Y

    With its eigenvectors :math:`U` and eigenvalues :math:`e` the inverse is
    :math:`U (e + n \alpha)^{-1} U^T`, so that another :math:`\alpha` only costs
    another product. Directions in which the inputs vary little (small :math:`e`) are
    shrunk most.

    References
    ----------
    Hoerl and Kennard, Technometrics 12 (1970), 55-67.

    Examples
    --------
    >>> x = np.array([[-1.0], [1.0]])
    >>> [float(w[0, 0].round(6)) for w in ridge_weights(x, x, [1e-9, 1.0])]
    [1.0, 0.5]
    """
    basis, coefficients = _solve(inputs, targets, alphas)
    return [basis @ of_alpha for of_alpha in coefficients]


def _solve(
    inputs: Float[np.ndarray, "spots features"],
    targets: Float[np.ndarray, "spots genes"],
    alphas: Sequence[float],
) -> tuple[Float[np.ndarray, "features _"], list[Float[np.ndarray, "_ genes"]]]:
    """Return a basis and, for each penalty, coefficients; weights are their product.

    Projecting new spots on the basis once makes trying many penalties cheap.
    """
    n_spots, n_features = inputs.shape
    penalties = [n_spots * alpha for alpha in alphas]
    if n_spots < n_features:
        spectrum, vectors = eigh(inputs @ inputs.T)
        projected = vectors.T @ targets
        shrunk = [projected / (spectrum + p)[:, None] for p in penalties]
        return inputs.T, [vectors @ of_alpha for of_alpha in shrunk]
    spectrum, vectors = eigh(inputs.T @ inputs)
    projected = vectors.T @ (inputs.T @ targets)
    return vectors, [projected / (spectrum + p)[:, None] for p in penalties]


@dataclass(frozen=True)
class MeanProfile:
    """Predict for every spot the mean expression of the training spots.

    It knows nothing about where a gene is high: its per-gene correlation is 0, and its
    error is what others are measured against.

    Examples
    --------
    >>> spots, expression = np.zeros((2, 1)), np.array([[1.0, 4.0], [3.0, 4.0]])
    >>> MeanProfile().fit([[spots]], [expression]).predict([spots])
    array([[2., 4.],
           [2., 4.]])
    """

    def fit(
        self, features: Sequence[Blocks], targets: Sequence[Target]
    ) -> "FittedMeanProfile":
        """Average the expression of all training spots.

        Parameters
        ----------
        features, targets
            As for `RidgeRegression.fit`; features are only checked.

        Raises
        ------
        ValueError
            As for `RidgeRegression.fit`, but one section is enough.
        """
        check_training(features, targets)
        return FittedMeanProfile(np.concatenate(targets).mean(axis=0))


@dataclass(frozen=True, eq=False)
class FittedMeanProfile:
    """The profile that `MeanProfile` learnt."""

    profile: Float[np.ndarray, " genes"]

    def predict(self, features: Blocks) -> Float[np.ndarray, "spots genes"]:
        """Return the profile once for each spot of the blocks of one section."""
        return np.tile(self.profile, (len(features[0]), 1))


@dataclass(frozen=True)
class RidgeRegression:
    """Linear regression from blocks of features, shrunk as much as serves.

    A block is an array spots × features that belongs together, such as one scale.
    Blocks are standardised, joined and divided by one number, so that the variances of
    all features add up to 1. A direction that holds the share s of the variance is
    then shrunk by the factor s / (s + alpha).

    The penalty is chosen by leaving out one training section at a time: everything is
    fitted on the rest, and the penalty with the least mean squared error, averaged over
    the sections left out, is taken. A test section is never seen.

    Parameters
    ----------
    alphas
        Penalties to choose from, per spot; see `ridge_weights`. If the one chosen is
        the first or last, widen the range.

    Raises
    ------
    ValueError
        If there is no penalty above 0.

    Examples
    --------
    Two sections in which a gene follows the only feature:

    >>> sections = [np.linspace(-1, 1, n)[:, None] for n in (20, 30)]
    >>> ridge = RidgeRegression(alphas=(1e-6, 1.0))
    >>> fitted = ridge.fit([[x] for x in sections], [3 * x for x in sections])
    >>> fitted.alpha
    1e-06
    >>> fitted.predict([np.array([[0.5]])]).round(3)
    array([[1.5]])
    """

    alphas: tuple[float, ...] = tuple(0.001 * 2.0 ** (step / 2) for step in range(15))

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant.

        Raises
        ------
        ValueError
            See the class.
        """
        if not self.alphas or not all(0 < alpha < np.inf for alpha in self.alphas):
            raise ValueError(
                f"alphas is {self.alphas}, expected one or more penalties above 0. For "
                "almost none use 1e-9."
            )

    def fit(
        self, features: Sequence[Blocks], targets: Sequence[Target]
    ) -> "FittedRidge":
        """Choose the penalty among training sections and fit on all of them.

        Parameters
        ----------
        features
            For each section its blocks, such as `neighbourhood_features` gives.
        targets
            For each section its expression, spots × genes.

        Raises
        ------
        ValueError
            If there are fewer than two sections; if sections, blocks, spots, features
            or genes do not match in number; if an entry is not finite; or if a block
            is the same everywhere.
        """
        check_training(features, targets)
        if len(targets) < 2:
            raise ValueError(
                f"targets has {len(targets)} section, expected at least 2: the penalty "
                "is chosen by leaving one out. Split the section in two by place, or "
                "add one."
            )
        errors = np.array(
            [self._held_out_mse(features, targets, out) for out in range(len(targets))]
        )
        best = int(errors.mean(axis=0).argmin())
        alpha = self.alphas[best]
        inputs, mean, basis, coefficients = _fit(features, targets, [alpha])
        return FittedRidge(inputs, mean, basis @ coefficients[0], alpha, errors)

    def _held_out_mse(
        self, features: Sequence[Blocks], targets: Sequence[Target], held_out: int
    ) -> list[float]:
        """Return the error on one section, for each penalty, fitted on the others."""
        rest = [index for index in range(len(targets)) if index != held_out]
        inputs, mean, basis, coefficients = _fit(
            [features[i] for i in rest], [targets[i] for i in rest], self.alphas
        )
        unseen = inputs(features[held_out]) @ basis
        residuals = (mean + unseen @ c - targets[held_out] for c in coefficients)
        return [float(np.mean(residual**2)) for residual in residuals]


@dataclass(frozen=True, eq=False)
class FittedRidge:
    """What `RidgeRegression` learnt."""

    inputs: Inputs
    """Turns blocks of features into the numbers that are weighted."""
    mean: Float[np.ndarray, " genes"]
    """Mean expression of the training spots, which a section of mean features gets."""
    weights: Float[np.ndarray, "features genes"]
    """One row per standardised feature, blocks in their order."""
    alpha: float
    """The penalty chosen."""
    held_out_mse: Float[np.ndarray, "sections _"]
    """Error on each training section left out, for each penalty."""

    def predict(self, features: Blocks) -> Float[np.ndarray, "spots genes"]:
        """Predict the expression of one section, blocks in the order of training.

        Raises
        ------
        ValueError
            If blocks or features differ in number from training, or an entry is not
            finite.
        """
        check_blocks(features, "the section to predict")
        found = [block.shape[1] for block in features]
        if found != self.inputs.widths:
            raise ValueError(
                f"blocks have {found} features, expected {self.inputs.widths} as in "
                "training. Use the same encoder, scales and radii, in that order."
            )
        return self.mean + self.inputs(features) @ self.weights


def _fit(
    features: Sequence[Blocks], targets: Sequence[Target], alphas: Sequence[float]
) -> tuple[
    Inputs,
    Float[np.ndarray, " genes"],
    Float[np.ndarray, "features _"],
    list[Float[np.ndarray, "_ genes"]],
]:
    """Return standardisation, mean, and the ridge of `_solve` for each penalty."""
    inputs = Inputs.fit(features)
    expression = np.concatenate(targets)
    mean = expression.mean(axis=0)
    rows = np.concatenate([inputs(blocks) for blocks in features])
    return inputs, mean, *_solve(rows, expression - mean, alphas)
