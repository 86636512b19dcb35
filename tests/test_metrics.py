"""Scores: by hand, against scipy, their laws, and the rules for constant vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stlearnkit import metrics

RNG = np.random.default_rng(0)
MEASURED = RNG.gamma(2.0, 1.5, size=(60, 9))
PREDICTED = 0.5 * MEASURED + RNG.normal(size=MEASURED.shape)


def test_pcc_per_gene_equals_scipy():
    expected = [
        stats.pearsonr(p, m).statistic
        for p, m in zip(PREDICTED.T, MEASURED.T, strict=True)
    ]
    np.testing.assert_allclose(
        metrics.pcc_per_gene(PREDICTED, MEASURED), expected, rtol=0, atol=1e-9
    )


def test_pcc_per_spot_equals_scipy():
    expected = [
        stats.pearsonr(p, m).statistic for p, m in zip(PREDICTED, MEASURED, strict=True)
    ]
    np.testing.assert_allclose(
        metrics.pcc_per_spot(PREDICTED, MEASURED), expected, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_pcc_survives_extreme_sizes(offset, scale):
    """Products of tiny or huge deviations must not under- or overflow."""
    got = metrics.pcc_per_gene(scale * PREDICTED, MEASURED + offset)
    np.testing.assert_allclose(
        got, metrics.pcc_per_gene(PREDICTED, MEASURED), atol=1e-9
    )


@given(shift=st.floats(-100, 100), factor=st.floats(0.01, 100))
def test_pcc_is_unmoved_by_shift_and_scale_and_turned_by_sign(shift, factor):
    base = metrics.pcc_per_gene(PREDICTED, MEASURED)
    moved = metrics.pcc_per_gene(factor * PREDICTED + shift, MEASURED)
    np.testing.assert_allclose(moved, base, atol=1e-9)
    np.testing.assert_allclose(
        metrics.pcc_per_gene(-PREDICTED, MEASURED), -base, atol=1e-12
    )


def test_pcc_does_not_depend_on_the_order_of_spots():
    order = RNG.permutation(len(MEASURED))
    np.testing.assert_allclose(
        metrics.pcc_per_gene(PREDICTED[order], MEASURED[order]),
        metrics.pcc_per_gene(PREDICTED, MEASURED),
        atol=1e-12,
    )


def test_constant_prediction_scores_0_and_counts():
    predicted = PREDICTED.copy()
    predicted[:, 0] = 0.1 + 0.2  # a value whose mean is not exact in binary
    r = metrics.pcc_per_gene(predicted, MEASURED)
    assert r[0] == 0.0
    assert metrics.summarise(r).n_counted == 9


def test_a_constant_of_many_spots_is_still_constant():
    """The mean of thousands of equal numbers is off by more than one rounding."""
    profile = np.random.default_rng(5).gamma(2.0, size=300)
    measured = np.random.default_rng(6).normal(size=(3000, 300))
    tiled = np.tile(profile, (3000, 1))
    assert (metrics.pcc_per_gene(tiled, measured) == 0.0).all()
    assert np.isnan(metrics.pcc_per_gene(measured, tiled)).all()


def test_constant_measurement_is_excluded_and_reported():
    measured = MEASURED.copy()
    measured[:, 2] = 0.3
    r = metrics.pcc_per_gene(PREDICTED, measured)
    assert np.isnan(r[2])
    summary = metrics.summarise(r)
    assert (summary.n_counted, summary.n_excluded) == (8, 1)
    assert summary.mean == pytest.approx(np.delete(r, 2).mean())


def test_constant_on_both_sides_is_excluded():
    flat = np.ones((5, 1))
    assert np.isnan(metrics.pcc_per_gene(flat, flat)[0])


def test_summary_of_nothing_is_nan():
    summary = metrics.summarise(np.array([np.nan, np.nan]))
    assert np.isnan(summary.mean)
    assert summary[1:] == (0, 2)


def test_errors_by_hand():
    measured = np.array([[0.0, 2.0], [4.0, 2.0]])
    predicted = np.array([[1.0, 2.0], [1.0, 0.0]])
    assert metrics.mse(predicted, measured) == pytest.approx((1 + 0 + 9 + 4) / 4)
    assert metrics.mae(predicted, measured) == pytest.approx((1 + 0 + 3 + 2) / 4)


def test_natural_logarithms_multiply_the_mse():
    ratio = metrics.mse(PREDICTED, MEASURED) / metrics.mse(
        PREDICTED / np.log(10), MEASURED / np.log(10)
    )
    assert ratio == pytest.approx(5.3019, abs=1e-4)


def test_skill_by_hand():
    measured = np.array([[0.0, 1.0], [2.0, 1.0]])
    skill = metrics.skill_per_gene(measured / 2, measured, np.array([1.0, 1.0]))
    # First gene: error (0 + 1) / 2 against 1. Second: the mean is exactly right.
    np.testing.assert_allclose(skill, [0.5, np.nan])


def test_training_mean_has_no_skill():
    mean = MEASURED.mean(axis=0) + 0.3
    constant = np.broadcast_to(mean, MEASURED.shape).copy()
    np.testing.assert_allclose(
        metrics.skill_per_gene(constant, MEASURED, mean), 0.0, atol=1e-12
    )


def test_rvd_by_hand():
    measured = np.array([[0.0, 5.0], [2.0, 5.0]])  # variances 1 and 0
    assert metrics.rvd(2 * measured, measured) == (pytest.approx(9.0), 1, 1)
    flat = np.zeros_like(measured)
    assert metrics.rvd(flat, measured).mean == pytest.approx(1.0)


def test_ceiling_by_hand():
    np.testing.assert_allclose(
        metrics.ceiling_from_halves(np.array([1.0, 0.5, 0.0, -0.4, np.nan])),
        [1.0, np.sqrt(2 / 3), 0.0, 0.0, np.nan],
    )


def test_ceiling_is_what_the_truth_reaches():
    """Signal and noise of equal size in each half: rho is 2/3, its root is reached."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(200_000, 1))
    half, other = truth + rng.normal(size=(2, 200_000, 1))
    ceiling = metrics.ceiling_from_halves(metrics.pcc_per_gene(half, other))
    reached = metrics.pcc_per_gene(truth, (half + other) / 2)
    np.testing.assert_allclose(ceiling, reached, atol=0.005)


@pytest.mark.usefixtures("unchecked")
def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"predicted has shape \(60, 8\), measured"):
        metrics.mse(PREDICTED[:, :8], MEASURED)


@pytest.mark.parametrize("name", ["predicted", "measured"])
def test_values_that_are_not_finite_are_refused(name):
    arrays = {"predicted": PREDICTED.copy(), "measured": MEASURED.copy()}
    arrays[name][3, 4] = np.nan
    with pytest.raises(ValueError, match=f"{name} has 1 entries that are not finite"):
        metrics.pcc_per_gene(**arrays)


def test_a_single_value_is_refused():
    with pytest.raises(ValueError, match="at least two values"):
        metrics.mse(np.ones((1, 1)), np.ones((1, 1)))


def test_half_pcc_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"half_pcc has values up to 1\.5"):
        metrics.ceiling_from_halves(np.array([0.2, 1.5]))


# Beyond the library size

SIZE = np.exp(RNG.normal(7, 1, size=len(MEASURED)))


def test_what_is_left_equals_least_squares_and_scipy():
    powers = np.vander(np.log(SIZE), 4)  # not rescaled, solved another way
    solve = np.linalg.inv(powers.T @ powers) @ powers.T
    left = [values - powers @ (solve @ values) for values in (PREDICTED, MEASURED)]
    expected = [
        stats.pearsonr(p, m).statistic
        for p, m in zip(left[0].T, left[1].T, strict=True)
    ]
    got = metrics.pcc_beyond(PREDICTED, MEASURED, SIZE)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


@given(amount=st.floats(-100, 100), power=st.sampled_from([1, 2, 3]))
def test_any_cubic_of_the_depth_added_to_either_changes_nothing(amount, power):
    curve = amount * np.log(SIZE)[:, None] ** power / 100
    base = metrics.pcc_beyond(PREDICTED, MEASURED, SIZE)
    for pair in ((PREDICTED + curve, MEASURED), (PREDICTED, MEASURED + curve)):
        np.testing.assert_allclose(metrics.pcc_beyond(*pair, SIZE), base, atol=1e-7)


def test_the_unit_of_the_library_size_does_not_matter():
    np.testing.assert_allclose(
        metrics.pcc_beyond(PREDICTED, MEASURED, 1e6 * SIZE),
        metrics.pcc_beyond(PREDICTED, MEASURED, SIZE),
        atol=1e-9,
    )


def test_equal_library_sizes_take_nothing_away():
    equal = np.full(len(MEASURED), 1000.1)
    np.testing.assert_allclose(
        metrics.pcc_beyond(PREDICTED, MEASURED, equal),
        metrics.pcc_per_gene(PREDICTED, MEASURED),
        atol=1e-12,
    )


def test_nothing_left_counts_as_constant():
    curve = 1e3 + np.log(SIZE)[:, None] ** 3
    assert metrics.pcc_beyond(curve, MEASURED[:, :1], SIZE)[0] == 0.0
    assert np.isnan(metrics.pcc_beyond(PREDICTED[:, :1], curve, SIZE)[0])
    flat = np.full_like(curve, 0.1 + 0.2)
    assert metrics.pcc_beyond(flat, MEASURED[:, :1], SIZE)[0] == 0.0


def test_library_sizes_that_have_no_logarithm_are_refused():
    for bad in (0.0, np.nan):
        size = SIZE.copy()
        size[3] = bad
        with pytest.raises(ValueError, match="expected numbers above 0"):
            metrics.pcc_beyond(PREDICTED, MEASURED, size)


def test_too_few_spots_for_a_cubic_are_refused():
    with pytest.raises(ValueError, match="5 spots, expected at least 6"):
        metrics.pcc_beyond(PREDICTED[:5], MEASURED[:5], SIZE[:5])


@pytest.mark.usefixtures("unchecked")
def test_library_sizes_of_other_spots_are_refused():
    with pytest.raises(ValueError, match=r"library_size has shape \(59,\)"):
        metrics.pcc_beyond(PREDICTED, MEASURED, SIZE[1:])
