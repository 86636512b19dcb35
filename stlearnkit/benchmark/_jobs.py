"""The jobs of a benchmark: one fold, one predictor, one seed each."""

__all__ = [
    "Job",
    "Load",
    "Setting",
    "in_turn",
    "load_sections",
    "make_task",
    "on_cluster",
]

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float
from tqdm import tqdm

from stlearnkit.benchmark._scoring import Target, log_sizes, withhold
from stlearnkit.expression import log_normalised, shared_genes, top_genes
from stlearnkit.folds import Fold, guard, inner_folds
from stlearnkit.predictors import Predictor, Task
from stlearnkit.sections import Section

if TYPE_CHECKING:
    from distributed import Client, Future

Load = Callable[[str], Section]
"""From the name of a section to the section, e.g. `datasets.her2st`."""

Result = tuple[pd.DataFrame, pd.DataFrame]
"""Scores, and predicted expression."""

Done = Generator[tuple["Job", Result], None, None]
"""Jobs with their results, as they come."""

_COLUMNS = [
    *("fold", "claim", "section", "patient", "predictor", "seed", "gene", "n_spots"),
    *("pcc", "pcc_beyond", "mse", "mse_mean_profile", "skill"),
    *("ceiling", "pcc_library_size", "pcc_per_spot"),
]


@dataclass(frozen=True, eq=False)
class Setting:
    """What holds for all jobs."""

    load: Load
    n_genes: int
    min_transcripts: int


@dataclass(frozen=True, eq=False)
class Job:
    """One fit."""

    fold: Fold
    predictor: Predictor
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        """What its results are stored under."""
        return self.fold.name, self.predictor.name, self.seed

    def __str__(self) -> str:
        """Name the job for people."""
        return "fold {!r}, predictor {!r}, seed {}".format(*self.key)


@dataclass(frozen=True, eq=False)
class Material:
    """A fold with its sections loaded and its panel chosen, shared by its jobs."""

    sections: Mapping[str, Section]
    task: Task
    targets: Mapping[str, Target]
    references: Mapping[str, pd.DataFrame]

    @property
    def patients(self) -> dict[str, str]:
        """The patient of each section."""
        return {name: section.patient for name, section in self.sections.items()}


def in_turn(jobs: Sequence[Job], setting: Setting) -> Done:
    """Do the jobs one after the other; an error ends it."""
    fold: Fold | None = None
    material: Material | None = None
    for job in tqdm(jobs, desc="benchmark", unit="fit", disable=None):
        try:
            if material is None or job.fold is not fold:
                known = material.sections if material is not None else {}
                fold, material = job.fold, prepare(job.fold, setting, known)
            result = compete(job, material)
        except Exception as error:
            error.add_note(f"This was {job}. Results before it are kept.")
            raise
        yield job, result


def on_cluster(client: "Client", jobs: Sequence[Job], setting: Setting) -> Done:
    """Do the jobs on a cluster, in any order; the first error is raised at the end.

    Whoever stops asking for results, as when they cannot be stored, cancels the rest.
    """
    from distributed import as_completed

    waiting = {client.submit(run, job, setting, pure=False): job for job in jobs}
    failed: list[tuple[Job, BaseException]] = []
    done = as_completed(list(waiting))
    try:
        for future in tqdm(done, "benchmark", len(jobs), unit="fit", disable=None):
            job = waiting.pop(future)
            result = future.result() if future.status == "finished" else None
            if result is None:
                failed.append((job, _error_of(future)))
            future.release()
            if result is not None:
                yield job, result
    finally:
        client.cancel(list(waiting))
    if failed:
        job, error = failed[0]
        error.add_note(
            f"This was {job}; {len(failed)} of {len(jobs)} jobs failed. The results of "
            "the others are kept."
        )
        raise error


def _error_of(future: "Future") -> BaseException:
    """Return why a future has no result; a cluster that lost it gives no exception."""
    return future.exception() or RuntimeError(
        f"the cluster gave no result: the job is {future.status}. Ask again, and only "
        "what is missing is computed."
    )


def run(job: Job, setting: Setting) -> Result:
    """Do one job from nothing, as on another machine."""
    return compete(job, prepare(job.fold, setting, {}))


def prepare(fold: Fold, setting: Setting, known: Mapping[str, Section]) -> Material:
    """Load a fold, choose its panel, and set up what its tests are compared with."""
    sections = load_sections(fold, setting.load, known)
    task = make_task(fold, sections, setting.n_genes)
    sources = task.train or task.observed
    expression = np.concatenate([log_normalised(s, task.panel.genes) for s in sources])
    sizes = np.concatenate([log_sizes(section) for section in sources])
    slopes = (sizes - sizes.mean()) @ expression
    targets = {
        name: Target(
            sections[name],
            task.panel.genes,
            _scored(sections[name], setting.min_transcripts),
            expression.mean(axis=0),
            slopes,
        )
        for name in fold.test
    }
    references = {name: target.references() for name, target in targets.items()}
    return Material(sections, task, targets, references)


def load_sections(
    fold: Fold, load: Load, known: Mapping[str, Section] | None = None
) -> dict[str, Section]:
    """Load the sections of a fold that are not known yet.

    Raises
    ------
    ValueError
        If one cannot be loaded, or is another than asked for.
    """
    sections = {}
    for name in (*fold.train, *fold.observed, *fold.test):
        section = (known or {}).get(name)
        if section is None:
            try:
                section = load(name)
            except (KeyError, ValueError) as error:
                raise ValueError(
                    f"fold {fold.name!r} names section {name!r}, which load does not "
                    f"give: {error}"
                ) from error
        if section.name != name:
            raise ValueError(
                f"load({name!r}) gave section {section.name!r}. Folds and sections "
                "must use the same names."
            )
        sections[name] = section
    return sections


def make_task(fold: Fold, sections: Mapping[str, Section], n_genes: int) -> Task:
    """Choose the panel of a fold and hand out what may be learnt from.

    Raises
    ------
    ValueError
        If the sections share fewer genes than wanted.
    """
    train, observed, test = (
        tuple(sections[name] for name in names)
        for names in (fold.train, fold.observed, fold.test)
    )
    shared = shared_genes([*train, *observed, *test])
    if len(shared) < n_genes:
        raise ValueError(
            f"the sections of fold {fold.name!r} share {len(shared)} genes, but "
            f"n_genes is {n_genes}. Ask for fewer, or leave out the section with few."
        )
    panel = top_genes([*train, *observed], n_genes, among=shared)
    patients = {name: section.patient for name, section in sections.items()}
    guard(fold, patients, panel)
    return Task(train, observed, panel, inner_folds(fold, patients))


def compete(job: Job, material: Material) -> Result:
    """Fit the predictor of a job, ask it for the test sections, and score them."""
    fitted = job.predictor.fit(material.task, job.seed)
    guard(job.fold, material.patients, fitted)
    scores, maps = [], []
    for name, target in material.targets.items():
        predicted = fitted.predict(withhold(target.section))
        _check_prediction(predicted, target)
        table = target.score(predicted).join(material.references[name])
        scores.append(table.assign(section=name, patient=target.section.patient))
        spots = pd.MultiIndex.from_product(
            [[name], target.section.adata.obs_names], names=["section", "spot"]
        )
        maps.append(pd.DataFrame(predicted, index=spots, columns=list(target.genes)))
    fold, predictor, seed = job.key
    table = pd.concat(scores, ignore_index=True).assign(
        fold=fold, claim=job.fold.claim, predictor=predictor, seed=seed
    )
    return table[_COLUMNS], pd.concat(maps).astype(np.float32)


def _scored(section: Section, min_transcripts: int) -> np.ndarray:
    """Return which spots count.

    Raises
    ------
    ValueError
        If they are too few to correlate.
    """
    scored = section.total_counts() >= min_transcripts
    if scored.sum() < 6:
        raise ValueError(
            f"section {section.name!r} has {int(scored.sum())} spots of "
            f"{min_transcripts} or more transcripts, expected at least 6 to score. "
            "Lower min_transcripts, or leave the section out."
        )
    return scored


def _check_prediction(predicted: Float[np.ndarray, "..."], target: Target) -> None:
    """Refuse predictions that are no map of all spots and genes.

    Raises
    ------
    ValueError
        If the shape is wrong or an entry is not finite.
    """
    expected = (target.section.n_spots, len(target.genes))
    if np.shape(predicted) != expected:
        raise ValueError(
            f"the prediction of section {target.section.name!r} has shape "
            f"{np.shape(predicted)}, expected {expected}: spots x genes of the panel."
        )
    n_bad = int((~np.isfinite(predicted)).sum())
    if n_bad:
        raise ValueError(
            f"the prediction of section {target.section.name!r} has {n_bad} entries "
            "that are not finite. A model that gives NaN has failed; find out why."
        )
