"""Reports: averages in their order by hand, intervals against scipy, every error."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stlearnkit import reports


def long_table(values, *, claim="section", score="pcc"):
    """One row for each (predictor, patient, section, gene, seed): value."""
    keys = ["predictor", "patient", "section", "gene", "seed"]
    rows = [(*key, value) for key, value in values.items()]
    return pd.DataFrame(rows, columns=[*keys, score]).assign(fold="f", claim=claim)


UNEVEN = {
    # Seeds of one gene are averaged before the genes are.
    ("ridge", "C", "C2", "X", 0): 0.0,
    ("ridge", "C", "C2", "X", 1): 0.2,
    ("ridge", "C", "C2", "Y", 0): 0.3,
    ("ridge", "C", "C3", "X", 0): 0.6,
    ("ridge", "C", "C3", "Y", 0): np.nan,  # left out
    ("ridge", "B", "B4", "X", 0): 1.0,
    ("ridge", "B", "B4", "Y", 0): 0.8,
}


def test_seeds_then_genes_then_sections_by_hand():
    units = reports.per_unit(long_table(UNEVEN))
    assert list(units["name"]) == ["C2", "C3", "B4"]
    assert list(units["unit"]) == ["section"] * 3
    np.testing.assert_allclose(units["value"], [0.2, 0.6, 0.9])


def test_patients_are_the_units_of_a_claim_about_patients():
    units = reports.per_unit(long_table(UNEVEN, claim="patient"))
    assert list(units["name"]) == ["C", "B"]
    np.testing.assert_allclose(units["value"], [0.4, 0.9])


def test_overview_by_hand():
    table = pd.concat([long_table(UNEVEN), long_table(UNEVEN, claim="patient")])
    result = reports.overview(table)
    assert result["mean"].tolist() == pytest.approx([1.7 / 3, 0.65])
    assert list(result["n"]) == [3, 2]
    assert list(result["unit"]) == ["section", "patient"]
    assert list(result["interval"]) == ["95 % bootstrap", "range"]
    assert result.loc[("patient", "ridge"), ["low", "high"]].tolist() == [0.4, 0.9]
    assert result["n_excluded"].tolist() == pytest.approx([1 / 3, 1 / 3])


# Intervals


def test_bootstrap_equals_scipy():
    values = np.random.default_rng(0).gamma(2.0, size=12)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, method="percentile", random_state=1
    ).confidence_interval
    ours = reports.bootstrap_interval(values, n_resamples=40_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_bootstrap_of_three_by_counting():
    """Of the 27 draws from 0, 0 and 1, the mean is 1 in one (3.7 %), 0 in eight."""
    interval = reports.bootstrap_interval(np.array([0.0, 0.0, 1.0]))
    assert interval == (0.0, 1.0, "95 % bootstrap")
    narrower = reports.bootstrap_interval(np.array([0.0, 0.0, 1.0]), level=0.9)
    assert narrower.high == pytest.approx(2 / 3)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(300):
        low, high, _ = reports.bootstrap_interval(rng.normal(size=30), n_resamples=1000)
        inside += low <= 0 <= high
    assert 0.90 <= inside / 300 <= 0.98


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).normal(size=9)
    first, again = (reports.bootstrap_interval(values, seed=1) for _ in range(2))
    assert first == again != reports.bootstrap_interval(values, seed=2)


def test_equal_values_have_no_width():
    assert reports.bootstrap_interval(np.full(5, 0.1))[:2] == (0.1, 0.1)


def test_two_units_have_a_range_and_no_interval():
    assert reports.bootstrap_interval(np.array([0.5, 0.2])) == (0.2, 0.5, "range")


@pytest.mark.parametrize("values", [[], [0.1, np.nan, 0.2]])
def test_units_without_a_score_are_refused(values):
    with pytest.raises(ValueError, match="expected one finite number or more"):
        reports.bootstrap_interval(np.array(values))


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_levels_that_are_no_share_are_refused(level):
    with pytest.raises(ValueError, match="expected between 0 and 1"):
        reports.bootstrap_interval(np.arange(3.0), level=level)


# Comparisons


def contest(**scores):
    """One gene in as many sections as there are scores, of one patient."""
    return long_table(
        {
            (name, "C", f"C{number}", "X", 0): value
            for name, values in scores.items()
            for number, value in enumerate(values)
        }
    )


THREE = contest(
    ridge=[0.3, 0.5, 0.4], mean=[0.0, 0.0, 0.0], size=[0.2, 0.6, 0.1], net=[0.0] * 3
)


def test_paired_difference_by_hand():
    result = reports.paired_difference(THREE, "ridge", "size").loc["section"]
    assert result["mean"] == pytest.approx((0.1 - 0.1 + 0.3) / 3)
    assert (result["n"], result["n_above"]) == (3, 2)


def test_pairing_cancels_what_is_hard_for_both():
    hard = np.random.default_rng(0).normal(size=8)
    table = contest(a=[*(hard + 0.1)], b=[*hard])
    result = reports.paired_difference(table, "a", "b").loc["section"]
    assert (result["low"], result["high"]) == pytest.approx((0.1, 0.1))
    alone = reports.overview(table).loc[("section", "a")]
    assert alone["high"] - alone["low"] > 0.5


def test_exchanging_the_two_turns_the_sign():
    there = reports.paired_difference(THREE, "ridge", "size").loc["section"]
    back = reports.paired_difference(THREE, "size", "ridge").loc["section"]
    assert there["mean"] == pytest.approx(-back["mean"])


def test_the_best_trivial_is_the_one_of_the_highest_mean():
    result = reports.against_best_trivial(THREE, ["mean", "size"])
    assert list(result.index) == [("section", "net"), ("section", "ridge")]
    assert set(result["best_trivial"]) == {"size"}
    assert result.loc[("section", "ridge"), "mean"] == pytest.approx(0.1)
    assert result.loc[("section", "net"), "mean"] == pytest.approx(-0.3)


def test_the_best_trivial_may_differ_between_claims():
    other = contest(ridge=[0.1], mean=[0.0], size=[-0.2], net=[0.0])
    table = pd.concat([THREE, other.assign(claim="patient")])
    result = reports.against_best_trivial(table, ["mean", "size"])
    assert result.loc[("section", "ridge"), "best_trivial"] == "size"
    assert result.loc[("patient", "ridge"), "best_trivial"] == "mean"


def test_among_equally_good_trivial_predictors_the_first_named_is_taken():
    table = contest(
        ridge=[0.3, 0.1], mean=[0.0, 0.0], size=[1e-17, 0.0], net=[0.1, 0.1]
    )
    for trivial in (["mean", "size"], ["size", "mean"]):
        result = reports.against_best_trivial(table, trivial)
        assert set(result["best_trivial"]) == {trivial[0]}


def test_per_gene_by_hand():
    table = long_table(UNEVEN).assign(
        pcc_beyond=0.1, pcc_library_size=0.2, ceiling=[0.5, 0.5, 0.0, 0.7, 0.0, 0.6, 0]
    )
    result = reports.per_gene(table).loc[("section", "ridge")]
    assert list(result.index) == ["X", "Y"]
    assert result["pcc"].tolist() == pytest.approx([1.7 / 3, 0.55])
    assert result.loc["X", "share"] == pytest.approx(1.7 / 1.8)
    assert np.isnan(result.loc["Y", "share"])  # the ceiling is 0
    assert list(result["n_sections"]) == [3, 3]


# Print


def test_printed_says_all_that_a_number_needs():
    text = reports.printed(reports.paired_difference(THREE, "ridge", "size"), digits=3)
    assert "0.100" in text
    assert "-0.100 and 0.300 (95 % bootstrap)" in text
    assert "3 sections" in text
    assert "2 of 3" in text


def test_printed_names_the_rival_and_a_single_unit():
    table = contest(ridge=[0.31], size=[0.2])
    text = reports.printed(reports.against_best_trivial(table, ["size"]))
    words = text.splitlines()[-1].split()
    assert " ".join(words[:4]) == "section ridge size 0.11"
    assert " ".join(words[4:]) == "0.11 and 0.11 (range) 1 section 1 of 1"


def test_printed_has_no_negative_zero():
    assert "-0.00" not in reports.printed(reports.overview(contest(ridge=[-1e-9] * 3)))


# Errors


def test_other_tables_are_refused():
    with pytest.raises(ValueError, match=r"lacks the columns \['gene'\]"):
        reports.overview(THREE.drop(columns="gene"))
    with pytest.raises(ValueError, match=r"has 0 rows"):
        reports.overview(THREE[:0])
    with pytest.raises(ValueError, match=r"lacks the columns \['skill'\]"):
        reports.per_unit(THREE, score="skill")


@pytest.mark.parametrize("column", ["section", "gene"])
def test_predictors_scored_on_different_things_are_not_compared(column):
    table = THREE.copy()
    table.loc[0, column] = "other"
    with pytest.raises(ValueError, match=r"'ridge' and '\w+' were scored on different"):
        reports.paired_difference(table, "ridge", "mean")


def test_a_score_that_only_one_predictor_lacks_is_not_passed_over():
    table = THREE.copy()
    table.loc[0, "pcc"] = np.nan
    with pytest.raises(ValueError, match="scored on different sections"):
        reports.overview(table)


def test_unknown_predictors_are_refused():
    with pytest.raises(ValueError, match=r"no predictors \['ridgy'\], only \['ridge'"):
        reports.paired_difference(THREE, "ridgy", "mean")
    with pytest.raises(ValueError, match=r"no predictors \['medium'\]"):
        reports.against_best_trivial(THREE, ["medium"])


@pytest.mark.parametrize("trivial", [[], ["ridge", "mean", "size", "net"]])
def test_somebody_must_be_trivial_and_somebody_not(trivial):
    with pytest.raises(ValueError, match="expected at least one of the predictors"):
        reports.against_best_trivial(THREE, trivial)
