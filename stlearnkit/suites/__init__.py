"""Suites: the library's competitors by name, and the benchmark they are judged by.

What a table of the book calls ridge or TRIPLEX is defined here, once, with all its
settings; benchmarks and the command line ask for it by that name. `her2st` is the
benchmark whose scores the book quotes: five serial sections of one tumour, left out in
turn, and a section of another patient.

Taught in the chapter "Judging a map".
"""

__all__ = [
    "COMPETITORS",
    "IMPUTERS",
    "SCORES",
    "Suite",
    "competitor",
    "her2st",
    "imputer",
    "units",
]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from stlearnkit import benchmark, datasets
from stlearnkit.folds import Fold, leave_one_section_out
from stlearnkit.reports import per_unit
from stlearnkit.sections import Section
from stlearnkit.suites._competitors import COMPETITORS, competitor
from stlearnkit.suites._imputers import IMPUTERS, imputer

if TYPE_CHECKING:
    from distributed import Client

SCORES = ("pcc", "pcc_beyond", "pcc_library_size", "ceiling", "skill", "mse")
"""What `units` keeps of a table."""

_PATIENT_C = ("C2", "C3", "C4", "C5", "C6")


@dataclass(frozen=True)
class Suite:
    """A benchmark that is the same wherever it runs."""

    folds: tuple[Fold, ...]
    load: Callable[[str], Section]
    competitors: tuple[str, ...] = COMPETITORS
    """Names of the predictors."""
    repeated: tuple[str, ...] = ()
    """Those that are fitted with every seed, and not with the first alone."""
    n_genes: int = 250
    least: tuple[int, ...] = (1, 100)
    """Numbers of transcripts: all is scored once for each, with the spots that have as
    many. Near-empty spots flatter whatever knows the library size."""

    def evaluate(
        self,
        folder: Path,
        *,
        seeds: Sequence[int] = (0, 1, 2),
        only: Sequence[str] = (),
        client: "Client | None" = None,
    ) -> pd.DataFrame:
        """Score all competitors on all folds, going on where a run was stopped.

        Parameters
        ----------
        folder
            Where results are kept, and networks in a folder `runs` of it.
        seeds
            What is `repeated` is fitted with each.
        only
            Names of competitors, where not all are wanted.
        client
            As for `benchmark.evaluate`.

        Returns
        -------
        The table of `benchmark.evaluate`, with a column `least`.

        Raises
        ------
        ValueError
            If `only` has a name that no competitor has, or as for `benchmark.evaluate`.
        """
        unknown = [name for name in only if name not in self.competitors]
        if unknown:
            raise ValueError(
                f"only has {unknown}, expected some of {'; '.join(self.competitors)}."
            )
        tables = [
            benchmark.evaluate(
                self.folds,
                [competitor(name, folder / "runs")],
                load=self.load,
                folder=folder / f"least_{least}",
                n_genes=self.n_genes,
                seeds=seeds if name in self.repeated else seeds[:1],
                min_transcripts=least,
                client=client,
            ).assign(least=least)
            for least in self.least
            for name in only or self.competitors
        ]
        return pd.concat(tables, ignore_index=True)


def her2st() -> Suite:
    """Return the benchmark that the book quotes.

    Each of five sections of patient C is tested after training on the other four, and
    B4, of another patient, after training on all five. What takes longest is not
    repeated.

    Examples
    --------
    >>> [fold.name for fold in her2st().folds]
    ['C2', 'C3', 'C4', 'C5', 'C6', 'B4']
    """
    other = Fold("B4", train=_PATIENT_C, test=("B4",), claim="patient")
    return Suite(
        (*leave_one_section_out(_PATIENT_C), other),
        datasets.her2st,
        repeated=(
            *("ST-Net, short", "TRIPLEX", "BG-TRIPLEX", "ASIGN"),
            "TRIPLEX and ASIGN",
        ),
    )


def units(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each section, predictor, seed and score: means over genes.

    Parameters
    ----------
    table
        From `Suite.evaluate`.
    """
    parts = [
        per_unit(rows, score=score).assign(score=score, seed=seed, least=least)
        for (least, seed), rows in table.groupby(["least", "seed"])
        for score in SCORES
    ]
    kept = ["least", "claim", "name", "predictor", "seed", "score", "value"]
    rows = pd.concat(parts, ignore_index=True)[kept]
    return rows.sort_values(kept[:-1]).round({"value": 5})
