"""Baselines: by hand, against scikit-learn, without leakage, and every error."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from stlearnkit.models.baselines import (
    MeanProfile,
    RidgeRegression,
    neighbourhood_features,
    ridge_weights,
)


def linear_sections(seed=0, n_spots=(30, 40, 50), widths=(6, 9), noise=0.5):
    """Sections in which five genes follow two blocks linearly, with noise."""
    rng = np.random.default_rng(seed)
    truth = [rng.normal(size=(width, 5)) for width in widths]
    features, targets = [], []
    for n in n_spots:
        blocks = [rng.normal(3, 2, size=(n, width)) for width in widths]
        signal = sum(block @ w for block, w in zip(blocks, truth, strict=True))
        features.append(blocks)
        targets.append(7 + signal + noise * rng.normal(size=signal.shape))
    return features, targets


# The ridge itself


def test_ridge_with_one_feature_by_hand():
    inputs, targets = np.array([[-1.0], [0.0], [1.0]]), np.array([[-2.0], [0.0], [2.0]])
    # (x'x + n α) w = x'y, that is (2 + 3 α) w = 4
    weights = ridge_weights(inputs, targets, [1e-12, 1.0, 2.0])
    assert np.allclose([float(w[0, 0]) for w in weights], [2.0, 4 / 5, 4 / 8])


@pytest.mark.parametrize("shape", [(60, 8), (20, 50)], ids=["tall", "wide"])
def test_ridge_equals_scikit_learn(shape):
    rng = np.random.default_rng(1)
    inputs, targets = rng.normal(size=shape), rng.normal(size=(shape[0], 4))
    alphas = (1e-3, 0.1, 10.0)
    for alpha, ours in zip(alphas, ridge_weights(inputs, targets, alphas), strict=True):
        theirs = Ridge(alpha=alpha * shape[0], fit_intercept=False).fit(inputs, targets)
        assert np.allclose(ours, theirs.coef_.T, rtol=0, atol=1e-6)


def test_ridge_solves_the_normal_equations():
    rng = np.random.default_rng(2)
    inputs, targets = rng.normal(size=(40, 10)), rng.normal(size=(40, 3))
    (weights,) = ridge_weights(inputs, targets, [0.3])
    left = inputs.T @ inputs + 40 * 0.3 * np.eye(10)
    assert np.allclose(left @ weights, inputs.T @ targets, atol=1e-9)


def test_the_same_penalty_means_the_same_for_twice_the_spots():
    rng = np.random.default_rng(3)
    inputs, targets = rng.normal(size=(40, 10)), rng.normal(size=(40, 3))
    (once,) = ridge_weights(inputs, targets, [0.3])
    (twice,) = ridge_weights(np.tile(inputs, (2, 1)), np.tile(targets, (2, 1)), [0.3])
    assert np.allclose(once, twice, atol=1e-9)


def test_a_repeated_feature_shares_its_weight():
    x = np.array([[-1.0], [1.0]])
    (weights,) = ridge_weights(np.hstack([x, x]), x, [1e-9])
    assert np.allclose(weights, 0.5)


# The whole baseline


@pytest.mark.parametrize("widths", [(6, 9), (200, 150)], ids=["tall", "wide"])
def test_the_pipeline_equals_scikit_learn_step_by_step(widths):
    features, targets = linear_sections(widths=widths)
    fitted = RidgeRegression(alphas=(0.2,)).fit(features, targets)
    joined = np.hstack(
        [
            StandardScaler().fit_transform(np.concatenate(blocks))
            for blocks in zip(*features, strict=True)
        ]
    )
    joined /= np.sqrt(joined.var(axis=0).sum())
    n_spots = len(joined)
    theirs = Ridge(alpha=0.2 * n_spots).fit(joined, np.concatenate(targets))
    ours = np.concatenate([fitted.predict(blocks) for blocks in features])
    assert np.allclose(ours, theirs.predict(joined), rtol=0, atol=1e-6)


def test_without_noise_and_penalty_the_truth_is_found():
    features, targets = linear_sections(noise=0.0)
    fitted = RidgeRegression(alphas=(1e-12,)).fit(features[:2], targets[:2])
    assert np.allclose(fitted.predict(features[2]), targets[2], atol=1e-6)


def test_noise_is_met_with_a_larger_penalty():
    alphas = tuple(10.0**power for power in range(-8, 3))
    quiet = RidgeRegression(alphas=alphas).fit(*linear_sections(noise=0.01))
    loud = RidgeRegression(alphas=alphas).fit(*linear_sections(noise=300.0))
    assert quiet.alpha < loud.alpha


def test_the_penalty_is_the_one_with_the_least_held_out_error():
    features, targets = linear_sections(noise=4.0)
    ridge = RidgeRegression(alphas=(1e-3, 0.1, 10.0))
    fitted = ridge.fit(features, targets)
    by_hand = np.zeros((3, 3))
    for out in range(3):
        rest = [section for section in range(3) if section != out]
        for column, alpha in enumerate(ridge.alphas):
            alone = RidgeRegression(alphas=(alpha,)).fit(
                [features[section] for section in rest],
                [targets[section] for section in rest],
            )
            error = alone.predict(features[out]) - targets[out]
            by_hand[out, column] = np.mean(error**2)
    assert np.allclose(fitted.held_out_mse, by_hand, rtol=1e-9)
    assert fitted.alpha == ridge.alphas[by_hand.mean(axis=0).argmin()]


def test_permuting_the_spots_permutes_the_predictions():
    features, targets = linear_sections()
    fitted = RidgeRegression().fit(features, targets)
    order = np.random.default_rng(0).permutation(len(targets[0]))
    shuffled = fitted.predict([block[order] for block in features[0]])
    assert np.allclose(shuffled, fitted.predict(features[0])[order], atol=1e-10)


def test_the_scale_of_features_does_not_matter():
    features, targets = linear_sections()
    scaled = [[5 * block - 3 for block in blocks] for blocks in features]
    one = RidgeRegression().fit(features, targets).predict(features[1])
    other = RidgeRegression().fit(scaled, targets).predict(scaled[1])
    assert np.allclose(one, other, atol=1e-8)


def test_the_same_data_give_the_same_numbers():
    features, targets = linear_sections()
    runs = [RidgeRegression().fit(features, targets) for _ in range(2)]
    assert np.array_equal(runs[0].weights, runs[1].weights)


def test_a_feature_that_never_changes_is_ignored():
    features, targets = linear_sections()
    fitted = RidgeRegression().fit(features, targets)
    for blocks in features:
        blocks[0] = np.column_stack([blocks[0], np.full(len(blocks[0]), 4.0)])
    padded = RidgeRegression().fit(features, targets)
    one, other = padded.predict(features[0]), fitted.predict(linear_sections()[0][0])
    assert np.allclose(one, other, atol=1e-8)


def test_shuffled_expression_cannot_be_predicted():
    features, targets = linear_sections(n_spots=(80, 80, 80), noise=0.1)
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(target) for target in targets]
    fitted = RidgeRegression(alphas=(0.1, 10.0, 1e3)).fit(features[:2], shuffled[:2])
    measured, predicted = shuffled[2], fitted.predict(features[2])
    error = np.mean((predicted - measured) ** 2)
    assert error > 0.9 * measured.var(axis=0).mean()


def test_float32_features_are_enough():
    features, targets = linear_sections()
    single = [[block.astype(np.float32) for block in blocks] for blocks in features]
    one = RidgeRegression().fit(features, targets).predict(features[0])
    other = RidgeRegression().fit(single, targets).predict(single[0])
    assert np.allclose(one, other, atol=1e-4)


def test_the_mean_profile_by_hand():
    targets = [np.array([[1.0, 4.0], [3.0, 4.0]]), np.array([[8.0, 1.0]])]
    features = [[np.zeros((2, 1))], [np.zeros((1, 1))]]
    fitted = MeanProfile().fit(features, targets)
    # The mean over spots, not over sections.
    assert fitted.predict([np.zeros((2, 1))]).tolist() == [[4.0, 3.0], [4.0, 3.0]]


# Features of the neighbourhood


def test_neighbourhood_features_of_a_line_of_spots():
    coords_um = np.array([[0.0, 0.0], [200.0, 0.0], [400.0, 0.0], [900.0, 0.0]])
    values = np.array([[0.0], [3.0], [6.0], [9.0]])
    spot, near, far = neighbourhood_features([values], coords_um)
    assert spot is values
    assert near.ravel().tolist() == [1.5, 3.0, 4.5, 9.0]
    assert far.ravel().tolist() == [3.0, 3.0, 3.0, 9.0]


def test_each_scale_is_followed_by_its_means():
    coords_um = np.zeros((3, 2))
    scales = [np.arange(3.0)[:, None], np.arange(6.0).reshape(3, 2)]
    blocks = neighbourhood_features(scales, coords_um, radii_um=[100.0])
    assert [block.shape for block in blocks] == [(3, 1), (3, 1), (3, 2), (3, 2)]
    assert np.array_equal(blocks[3], np.tile([2.0, 3.0], (3, 1)))


def test_neighbourhood_features_refuse_scales_of_other_spots():
    with pytest.raises(ValueError, match="features has 3 rows, but the graph has 2"):
        neighbourhood_features([np.zeros((3, 1))], np.zeros((2, 2)))


# Errors


def test_one_section_is_not_enough_to_choose_a_penalty():
    features, targets = linear_sections()
    with pytest.raises(ValueError, match="targets has 1 section, expected at least 2"):
        RidgeRegression().fit(features[:1], targets[:1])


@pytest.mark.parametrize("model", [MeanProfile(), RidgeRegression()])
class TestRefusedTraining:
    def test_sections_that_differ_in_number(self, model):
        features, targets = linear_sections()
        with pytest.raises(ValueError, match="features has 3 sections, targets has 2"):
            model.fit(features, targets[:2])

    def test_no_sections(self, model):
        with pytest.raises(ValueError, match="features has 0 sections, targets has 0"):
            model.fit([], [])

    def test_spots_that_differ_in_number(self, model):
        features, targets = linear_sections()
        targets[1] = targets[1][:-1]
        with pytest.raises(
            ValueError, match="section 1 has 40 spots in its features and 39 in"
        ):
            model.fit(features, targets)

    def test_panels_that_differ(self, model):
        features, targets = linear_sections()
        targets[2] = targets[2][:, :4]
        with pytest.raises(
            ValueError, match="section 2 has 4 genes, that of section 0 has 5"
        ):
            model.fit(features, targets)

    def test_features_that_are_not_finite(self, model):
        features, targets = linear_sections()
        features[1][0][3, 2] = np.nan
        with pytest.raises(
            ValueError, match="block 0 of training section 1 has 1 spots with features"
        ):
            model.fit(features, targets)

    def test_targets_that_are_not_finite(self, model):
        features, targets = linear_sections()
        targets[0][0, 0] = np.inf
        with pytest.raises(
            ValueError, match="target of training section 0 has entries"
        ):
            model.fit(features, targets)

    def test_blocks_that_differ_between_sections(self, model):
        features, targets = linear_sections()
        features[1] = features[1][::-1]
        with pytest.raises(
            ValueError, match=r"section 1 have \[9, 6\] features, .* \[6, 9\]"
        ):
            model.fit(features, targets)

    def test_blocks_of_different_spots(self, model):
        features, targets = linear_sections()
        features[0][1] = features[0][1][:10]
        with pytest.raises(ValueError, match=r"has blocks of \[30, 10\] spots"):
            model.fit(features, targets)

    def test_no_blocks(self, model):
        _, targets = linear_sections()
        with pytest.raises(ValueError, match=r"has blocks of \[\] spots"):
            model.fit([[], [], []], targets)


def test_prediction_needs_the_blocks_of_training():
    features, targets = linear_sections()
    fitted = RidgeRegression().fit(features, targets)
    with pytest.raises(ValueError, match=r"\[6\] features, expected \[6, 9\]"):
        fitted.predict(features[0][:1])
    with pytest.raises(ValueError, match=r"the section to predict has 30 spots with"):
        fitted.predict([features[0][0], np.full((30, 9), np.nan)])


def test_a_block_in_which_nothing_varies_is_refused():
    features, targets = linear_sections()
    for blocks in features:
        blocks[1] = np.ones_like(blocks[1])
    with pytest.raises(ValueError, match="block 1 is the same at every training spot"):
        RidgeRegression().fit(features, targets)


def test_settings_that_cannot_be_meant_are_refused():
    for alphas in ((), (1.0, 0.0), (-1.0,), (float("nan"),), (float("inf"),)):
        with pytest.raises(ValueError, match="expected one or more penalties above 0"):
            RidgeRegression(alphas=alphas)
