"""Benchmarks: every predictor on every fold, scored where it cannot look.

`evaluate` is cross-validation that keeps its promises by construction. Panels are
chosen on training sections; predictors get test sections without counts; what they
fitted says which sections it has seen, and is refused if a test section is among them;
scores are computed outside, always beside the mean profile, the library size and the
noise ceiling. `audit` catches leaks that nobody declared.

Taught in the chapter "Judging a map".
"""

__all__ = ["audit", "evaluate", "predictions"]

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from stlearnkit.benchmark._jobs import (
    Job,
    Load,
    Setting,
    in_turn,
    load_sections,
    make_task,
    on_cluster,
)
from stlearnkit.benchmark._results import Results
from stlearnkit.benchmark._scoring import scramble, withhold
from stlearnkit.folds import Fold, LeakError
from stlearnkit.predictors import Predictor
from stlearnkit.sections import Section

if TYPE_CHECKING:
    from distributed import Client


def evaluate(
    folds: Sequence[Fold],
    predictors: Sequence[Predictor],
    *,
    load: Load,
    folder: Path | str,
    n_genes: int = 250,
    seeds: Sequence[int] = (0,),
    min_transcripts: int = 1,
    client: "Client | None" = None,
) -> pd.DataFrame:
    """Fit every predictor on every fold and score it on the test sections.

    Each result is stored as soon as it is there. A run that was stopped goes on where
    it was, and one with more folds, predictors or seeds computes only those.

    Parameters
    ----------
    folds
        Which sections teach and which test; see `folds`.
    predictors
        The competitors, with different names.
    load
        From the name of a section to the section, e.g. `datasets.her2st`.
    folder
        Where results are kept, with the settings. Whoever changes a predictor or the
        data behind `load` gives another name or another folder.
    n_genes
        Size of the panel: in each fold the genes of the highest mean count in its
        training and observed sections, among those whose *names* all sections share.
    seeds
        Each predictor is fitted once with each.
    min_transcripts
        Spots with fewer are predicted but not scored; near-empty spots flatter whatever
        knows the library size. Training spots are not affected.
    client
        Of a Dask cluster that computes; without one the jobs run here, in turn. `load`
        and predictors then must be picklable, as functions of a module are.

    Returns
    -------
    table
        One row for each fold, test section, predictor, seed and gene. `pcc`, `mse` and
        `skill` are those of `metrics`, `pcc_beyond` is the correlation beyond the
        library size; `mse_mean_profile`, `ceiling` and `pcc_library_size` are what the
        mean profile, a perfect prediction, and the *measured* library size would reach.
        `pcc_per_spot` is the mean over the spots, the same for all genes.

    Raises
    ------
    LeakError
        If a fold leaks, or a predictor has seen a test section.
    ValueError
        If there are no folds, predictors or seeds; names are not unique; a section
        cannot be loaded; sections share too few genes; a prediction has the wrong shape
        or is not finite; or the folder holds results of other settings or data.
    OSError
        If the folder cannot be written.

    Notes
    -----
    An error ends a run in this process at once, and a run on a cluster when the other
    jobs are done; a note names fold, predictor and seed. In a fold without training
    sections the mean profile and the direction in which genes go with the library size
    are those of the observed sections.

    Examples
    --------
    >>> import tempfile
    >>> from stlearnkit import folds, predictors, synthetic
    >>> pair = synthetic.stack(2, n_spots=16, n_genes=20, mpp=2.0).stack.sections
    >>> sections = {section.name: section for section in pair}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = evaluate(
    ...         folds.leave_one_section_out(sections), [predictors.MeanPredictor()],
    ...         load=sections.__getitem__, folder=folder, n_genes=5)
    >>> table.groupby(["section", "predictor"])[["pcc", "skill"]].mean()
                          pcc  skill
    section predictor
    S1      mean profile  0.0    0.0
    S2      mean profile  0.0    0.0
    """
    setting = Setting(load, n_genes, min_transcripts)
    jobs = [Job(f, p, int(seed)) for f in folds for p in predictors for seed in seeds]
    _check_request(folds, predictors, seeds, min_transcripts)
    results = Results(Path(folder))
    results.check_settings(_describe(folds, predictors, setting))
    stored = {job: results.scores(job.key) for job in jobs}
    todo = [job for job in jobs if stored[job] is None]
    run = (
        in_turn(todo, setting) if client is None else on_cluster(client, todo, setting)
    )
    with closing(run):
        for job, (scores, predicted) in run:
            results.write(job.key, scores, predicted)
            stored[job] = scores
    return _join(list(stored.values()))


def predictions(
    folder: Path | str, fold: str, predictor: str, *, seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Return the expression that a predictor gave for the test sections of a fold.

    Parameters
    ----------
    folder
        As given to `evaluate`.
    fold, predictor
        Their names.
    seed
        With which it was fitted.

    Returns
    -------
    For each test section a table of spots × genes, all spots, scored or not.

    Raises
    ------
    FileNotFoundError
        If there is no such result, or it is damaged.
    """
    table = Results(Path(folder)).predictions((fold, predictor, seed))
    if table is None:
        raise FileNotFoundError(
            f"{folder} has no whole predictions of {predictor!r} on fold {fold!r} with "
            f"seed {seed}. Run benchmark.evaluate with them first."
        )
    return {
        str(name): of_section.droplevel("section")
        for name, of_section in table.groupby(level="section", sort=False)
    }


def audit(
    build: Callable[[Load], Predictor],
    fold: Fold,
    *,
    load: Load,
    n_genes: int = 250,
    seed: int = 0,
) -> None:
    """Test whether predictions depend on the counts that they are to predict.

    The predictor is built and fitted twice: once from the sections as they are, once
    from a source in which the test sections have other counts. An honest one cannot
    tell the difference. Whatever it may read, it must read through the `load` that it
    is built with, or from its task: what it gets elsewhere is not audited.

    Parameters
    ----------
    build
        From a source of sections to the predictor; ``lambda load: predictor`` for one
        that loads nothing itself.
    fold
        The split to try it on.
    load
        The true source.
    n_genes
        Size of the panel.
    seed
        For the fit and for the false counts.

    Raises
    ------
    LeakError
        If predictions change with the test's counts.
    ValueError
        If `build` is a predictor, not a function that returns one; or two fits on the
        same data differ, so that nothing can be said.

    Examples
    --------
    >>> from stlearnkit import predictors, synthetic
    >>> pair = synthetic.stack(2, n_spots=16, n_genes=20, mpp=2.0).stack.sections
    >>> load = {section.name: section for section in pair}.__getitem__
    >>> fold = Fold("S2", train=("S1",), test=("S2",))
    >>> audit(lambda load: predictors.MeanPredictor(), fold, load=load, n_genes=5)
    """
    if not callable(build):
        raise ValueError(
            f"build is {build!r}, expected a function from a source of sections to a "
            "predictor: audit(lambda load: predictor, fold, load=load)."
        )

    def predict(source: Load) -> Float[np.ndarray, "spots genes"]:
        """Fit on the fold and return the predictions of all its test sections."""
        sections = load_sections(fold, load)
        task = make_task(fold, sections, n_genes)
        fitted = build(source).fit(task, seed)
        return np.concatenate(
            [fitted.predict(withhold(sections[name])) for name in fold.test]
        )

    true, false = predict(load), predict(_with_false_counts(load, fold, seed))
    if np.allclose(true, false, rtol=1e-5, atol=1e-7, equal_nan=True):
        return
    again = predict(load)
    if not np.allclose(true, again, rtol=1e-5, atol=1e-7, equal_nan=True):
        raise ValueError(
            f"two fits with seed {seed} on the same data differ by up to "
            f"{np.abs(true - again).max():.3g}: leaks cannot be told from chance. Let "
            "all chance in the predictor depend on the seed; on a GPU, give a "
            "NetworkPredictor trainer={'deterministic': True}."
        )
    raise LeakError(
        f"predictions on fold {fold.name!r} change by up to "
        f"{np.abs(true - false).max():.3g} when only the counts of its test sections "
        f"({', '.join(fold.test)}) change. Something in the predictor reads them: a "
        "panel, a scaler, or a checkpoint chosen on the test."
    )


def _with_false_counts(load: Load, fold: Fold, seed: int) -> Load:
    """Return a source whose test sections have other counts than those of `load`."""

    def altered(name: str) -> Section:
        section = load(name)
        return scramble(section, seed=seed) if name in fold.test else section

    return altered


def _check_request(
    folds: Sequence[Fold],
    predictors: Sequence[Predictor],
    seeds: Sequence[int],
    min_transcripts: int,
) -> None:
    """Refuse requests that cannot be meant.

    Raises
    ------
    ValueError
        If there is nothing to do, names are not unique, or no spot could be scored.
    """
    names = {
        "folds": [fold.name for fold in folds],
        "predictors": [predictor.name for predictor in predictors],
        "seeds": [str(seed) for seed in seeds],
    }
    for what, given in names.items():
        if not given:
            raise ValueError(f"{what} is empty: give at least one.")
        # Folders are named after them, and some systems do not tell A from a.
        folded = [name.casefold() for name in given]
        twice = [n for n, f in zip(given, folded, strict=True) if folded.count(f) > 1]
        if twice:
            raise ValueError(
                f"{what} has {twice}: names must differ, in more than their case, as "
                "results are kept under them."
            )
        if "" in given:
            raise ValueError(f"{what} has an empty name. Give each a word.")
    if min_transcripts < 1:
        raise ValueError(
            f"min_transcripts is {min_transcripts}, expected 1 or more: a spot without "
            "transcripts has no expression to compare with."
        )


def _describe(
    folds: Sequence[Fold], predictors: Sequence[Predictor], setting: Setting
) -> dict[str, Any]:
    """Return all that decides the results, as plain data."""

    def words(value: object) -> str:
        """Return a description that is the same in the next process."""
        return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))

    return {
        "stlearnkit": version("stlearnkit"),
        "load": words(setting.load),
        "n_genes": setting.n_genes,
        "min_transcripts": setting.min_transcripts,
        "folds": {fold.name: asdict(fold) for fold in folds},
        "predictors": {each.name: words(each) for each in predictors},
    }


def _join(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Join results, all of one fold and section on one panel.

    Raises
    ------
    ValueError
        If panels differ.
    """
    table = pd.concat(tables, ignore_index=True)
    for (fold, section), rows in table.groupby(["fold", "section"], sort=False):
        panels = {
            tuple(some["gene"]) for _, some in rows.groupby(["predictor", "seed"])
        }
        if len(panels) > 1:
            raise ValueError(
                f"results on section {section!r} of fold {fold!r} have {len(panels)} "
                "different gene panels: the data behind load have changed since some "
                "were stored. Choose another folder."
            )
    return table
