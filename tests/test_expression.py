"""Panels, normalisation and the noise ceiling."""

import numpy as np
import pytest
import scanpy as sc
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from stlearnkit import expression, metrics


def test_shared_genes_keep_the_order_of_the_first():
    first, second = toys.section("A"), toys.section("B")
    second.adata.var_names = ["GENE3", "OTHER", "GENE1"]
    assert expression.shared_genes([first, second]) == ("GENE1", "GENE3")


def test_no_shared_gene_is_refused():
    first, second = toys.section("A"), toys.section("B")
    second.adata.var_names = ["ENSG1", "ENSG2", "ENSG3"]
    with pytest.raises(ValueError, match=r"\['A', 'B'\] share no gene"):
        expression.shared_genes([first, second])
    with pytest.raises(ValueError, match="sections is empty"):
        expression.shared_genes([])


def test_top_genes_by_hand():
    # Means 9/4, 10/4 and 14/4.
    panel = expression.top_genes([toys.section("A")], 2)
    assert panel.genes == ("GENE3", "GENE2")
    assert panel.chosen_on == ("A",)
    assert len(panel) == 2


def test_top_genes_weigh_sections_equally():
    """GENE1 leads by spots, GENE2 by sections: sections decide."""
    many = toys.section("A", np.tile([[3, 2, 0]], (4, 1)))
    few = toys.section("B", np.tile([[1, 9, 0]], (4, 1))).subset(
        np.array([True, False, False, False])
    )
    assert expression.top_genes([many, few], 1).genes == ("GENE2",)


def test_top_genes_take_candidates_only():
    panel = expression.top_genes([toys.section()], 1, among=["GENE1", "GENE2"])
    assert panel.genes == ("GENE2",)


@pytest.mark.parametrize("n_genes", [0, 4])
def test_impossible_panel_sizes_are_refused(n_genes):
    with pytest.raises(ValueError, match=f"n_genes is {n_genes}, expected 1 to 3"):
        expression.top_genes([toys.section()], n_genes)


def test_log_normalise_equals_scanpy():
    section = toys.section()
    adata = section.adata.copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    np.testing.assert_allclose(
        expression.log_normalised(section, toys.GENES), adata.X.toarray(), rtol=1e-6
    )


def test_library_size_counts_genes_outside_the_panel():
    section = toys.section()
    one = expression.log_normalised(section, ["GENE1"])
    all_three = expression.log_normalised(section, toys.GENES)
    np.testing.assert_array_equal(one[:, 0], all_three[:, 0])


def test_empty_spots_are_refused():
    counts = np.array([[5, 0, 1], [0, 0, 0], [0, 7, 4], [1, 1, 9]])
    with pytest.raises(
        ValueError, match="1 of 4 spots have no transcripts, first: row 1"
    ):
        expression.log_normalised(toys.section(counts=counts), toys.GENES)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=20)
def test_halves_add_up_dense_and_sparse(seed):
    counts = np.array([[5, 0, 1], [300, 2, 0]])
    half, other = expression.thin(counts, seed=seed)
    np.testing.assert_array_equal(half + other, counts)
    assert (half >= 0).all()
    assert (other >= 0).all()
    half, other = expression.thin(sparse.csr_matrix(counts), seed=seed)
    np.testing.assert_array_equal((half + other).toarray(), counts)


def test_thinned_poisson_halves_are_independent():
    counts = np.random.default_rng(0).poisson(20.0, size=(200_000, 1))
    half, other = expression.thin(counts, seed=1)
    assert half.mean() == pytest.approx(10, abs=0.05)
    assert np.corrcoef(half[:, 0], other[:, 0])[0, 1] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("bad", [np.array([[0.5]]), np.array([[-1.0]])])
def test_thinning_needs_counts(bad):
    with pytest.raises(ValueError, match="negative or not whole numbers"):
        expression.thin(bad, seed=0)


def test_a_half_without_transcripts_has_expression_0():
    counts = np.array([[1, 0, 0], [50, 20, 9], [10, 70, 40], [10, 10, 90]])
    half, other = expression.thinned_halves(
        toys.section(counts=counts), toys.GENES, seed=0
    )
    assert sorted([half[0].sum(), other[0].sum()]) == [
        0.0,
        pytest.approx(9.2104, abs=1e-4),
    ]


def test_ceiling_is_what_a_perfect_prediction_reaches():
    """Known rates, Poisson counts: a little below what the truth reaches.

    Halves lie lower on the bent part of the logarithm, so the estimate is on the
    careful side.
    """
    rng = np.random.default_rng(0)
    n_spots, n_genes = 4000, 3
    rates = rng.gamma(4.0, 3.0, size=(n_spots, n_genes))
    rest = 3000.0
    counts = rng.poisson(rates)
    total = counts.sum(axis=1) + rng.poisson(rest, n_spots)
    truth = np.log1p(1e4 * rates / (rates.sum(axis=1) + rest)[:, None])
    reached = metrics.pcc_per_gene(
        truth, expression.log_normalise(counts * 1.0, total * 1.0)
    )

    section = _section_of(np.column_stack([counts, total - counts.sum(axis=1)]))
    estimated = expression.noise_ceiling(section, ["G0", "G1", "G2"], n_draws=5)
    assert (estimated < reached + 0.005).all()
    assert (estimated > reached - 0.05).all()


def test_pure_noise_has_a_low_ceiling():
    counts = np.random.default_rng(1).poisson(5.0, size=(4000, 3))
    section = _section_of(np.column_stack([counts, np.full(4000, 3000)]))
    assert (expression.noise_ceiling(section, ["G0", "G1", "G2"]) < 0.2).all()


def test_ceiling_of_a_constant_gene_is_nan():
    counts = np.array([[5, 0, 1], [3, 0, 0], [9, 0, 4], [8, 0, 9]])
    ceiling = expression.noise_ceiling(toys.section(counts=counts), toys.GENES)
    assert np.isnan(ceiling[1])
    assert not np.isnan(ceiling[[0, 2]]).any()


def test_ceiling_is_seeded():
    section = toys.section()
    first = expression.noise_ceiling(section, toys.GENES, seed=3)
    np.testing.assert_array_equal(
        first, expression.noise_ceiling(section, toys.GENES, seed=3)
    )


def test_ceiling_needs_a_draw():
    with pytest.raises(ValueError, match="n_draws is 0, expected at least 1"):
        expression.noise_ceiling(toys.section(), toys.GENES, n_draws=0)


@pytest.mark.real_data
def test_ceiling_of_the_real_sections():
    names = ["C2", "C3", "C4", "C5", "C6"]
    from stlearnkit import datasets

    sections = [datasets.her2st(name, image=False) for name in names]
    means = []
    for test in sections:
        training = [section for section in sections if section is not test]
        panel = expression.top_genes(training, among=expression.shared_genes(sections))
        means.append(
            metrics.summarise(expression.noise_ceiling(test, panel.genes)).mean
        )
    assert np.mean(means) == pytest.approx(0.67, abs=0.02)


def _section_of(counts):
    """A section of many spots whose places do not matter."""
    n_spots, n_genes = counts.shape
    return expression.Section.build(
        counts,
        [f"G{gene}" for gene in range(n_genes)],
        [f"{spot}x1" for spot in range(n_spots)],
        np.zeros((n_spots, 2)),
        name="many",
        patient="P",
    )
