"""What a benchmark shows of a test section, and how it scores a prediction of it."""

__all__ = ["Target", "log_sizes", "scramble", "withhold"]

from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from jaxtyping import Bool, Float
from scipy import sparse

from stlearnkit import metrics
from stlearnkit.conventions import COUNTS, SPATIAL
from stlearnkit.expression import log_normalised, noise_ceiling
from stlearnkit.sections import Section

_PLACES = ("array_row", "array_col", "in_tissue")


def withhold(section: Section) -> Section:
    """Return the section as a predictor may see it: slide and places, nothing else.

    It has no genes, and no column or array that might derive from counts.
    """
    table = section.adata.obs
    bare = AnnData(
        sparse.csr_matrix((section.n_spots, 0)),
        obs=table[[column for column in _PLACES if column in table]].copy(),
    )
    bare.layers[COUNTS] = bare.X.copy()
    bare.obsm[SPATIAL] = section.coords_px
    if SPATIAL in section.adata.uns:
        bare.uns[SPATIAL] = section.adata.uns[SPATIAL]
    return Section(bare, section.slide, section.name, section.patient)


def scramble(section: Section, *, seed: int) -> Section:
    """Return the section with counts that say nothing of the true ones.

    Spots and genes change places, and half of the spots have twice the counts: maps,
    profile and library sizes are all others.
    """
    rng = np.random.default_rng(seed)
    counts = sparse.csr_matrix(section.adata.layers[COUNTS])
    spots, genes = rng.permutation(section.n_spots), rng.permutation(section.n_genes)
    times = rng.permutation(np.arange(section.n_spots) % 2 + 1)
    adata = section.adata.copy()
    adata.layers[COUNTS] = counts[spots][:, genes].multiply(times[:, None]).tocsr()
    adata.X = adata.layers[COUNTS].copy()
    return Section(adata, section.slide, section.name, section.patient)


def log_sizes(section: Section) -> Float[np.ndarray, " spots"]:
    """Return the logarithm of the library size of each spot."""
    return np.log(section.total_counts())


@dataclass(frozen=True, eq=False)
class Target:
    """A test section with what its predictions are compared with.

    Parameters
    ----------
    section
        With counts.
    genes
        The panel.
    scored
        Which spots count.
    training_mean
        Mean profile of the training spots.
    slopes
        For each gene how its expression goes with the logarithm of the library size in
        the training spots; only the sign matters.
    """

    section: Section
    genes: tuple[str, ...]
    scored: Bool[np.ndarray, " spots"]
    training_mean: Float[np.ndarray, " genes"]
    slopes: Float[np.ndarray, " genes"]

    def references(self) -> pd.DataFrame:
        """Return what does not depend on the prediction, one row for each gene."""
        section = self.section.subset(self.scored)
        measured = log_normalised(section, self.genes)
        size = np.outer(log_sizes(section), np.sign(self.slopes))
        constant = np.mean((measured - self.training_mean) ** 2, axis=0)
        return pd.DataFrame(
            {
                "gene": self.genes,
                "n_spots": len(measured),
                "mse_mean_profile": constant,
                "ceiling": noise_ceiling(section, self.genes),
                "pcc_library_size": metrics.pcc_per_gene(size, measured),
            }
        )

    def score(self, predicted: Float[np.ndarray, "spots genes"]) -> pd.DataFrame:
        """Return the scores of a prediction of all spots, one row for each gene."""
        section, predicted = self.section.subset(self.scored), predicted[self.scored]
        measured = log_normalised(section, self.genes)
        of_spots = metrics.summarise(metrics.pcc_per_spot(predicted, measured))
        return pd.DataFrame(
            {
                "pcc": metrics.pcc_per_gene(predicted, measured),
                "pcc_beyond": metrics.pcc_beyond(
                    predicted, measured, section.total_counts()
                ),
                "mse": np.mean((predicted - measured) ** 2, axis=0),
                "skill": metrics.skill_per_gene(
                    predicted, measured, self.training_mean
                ),
                "pcc_per_spot": of_spots.mean,
            }
        )
