"""The step `evaluate --suite`: a benchmark of the book, as it stands in the library."""

__all__ = ["pieces", "suite_files"]

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from stlearnkit import suites
from stlearnkit._weights import default_name
from stlearnkit.commands._errors import SettingsError
from stlearnkit.commands._evaluate import summed_up
from stlearnkit.commands._pieces import Piece
from stlearnkit.commands._settings import Study
from stlearnkit.commands._study import parquet
from stlearnkit.reports import overview

_SUITES: dict[str, Callable[[], suites.Suite]] = {"her2st": suites.her2st}


def suite_files(study: Study, name: str) -> tuple[Path, Path, Path]:
    """Return where the scores of a suite are kept."""
    folder = study.home / "suites" / name
    return (*summed_up(folder / "scores.parquet"), folder / "units.csv")


def pieces(
    study: Study, name: str, only: Sequence[str], seeds: Sequence[int]
) -> list[Piece]:
    """Return the tables of a suite; `units.csv` is as the benchmarks keep it.

    Raises
    ------
    SettingsError
        If there is no such suite, or no such competitor in it.
    """
    if name not in _SUITES:
        raise SettingsError(
            f"--suite is {name!r}, expected one of {', '.join(_SUITES)}. Correct it."
        )
    suite = _SUITES[name]()
    unknown = [each for each in only if each not in suite.competitors]
    if unknown:
        raise SettingsError(
            f"--only has {unknown}, expected some of {'; '.join(suite.competitors)}. "
            "Correct the name."
        )
    files = suite_files(study, name)
    asked = {"only": list(only), "seeds": list(seeds)}
    of = {"suite": name, "weights": default_name(), **asked}
    make = partial(_judged, suite, files[0].parent / "results", only, seeds)
    return [Piece(files, of, make)]


def _judged(
    suite: suites.Suite, results: Path, only: Sequence[str], seeds: Sequence[int]
) -> list[bytes]:
    """Judge, going on where a run was stopped, and sum up with all spots."""
    scores = suite.evaluate(results, seeds=seeds, only=only)
    of_all = scores[scores["least"] == min(suite.least)].drop(columns="least")
    tables = overview(of_all).reset_index(), suites.units(scores)
    return [parquet(scores), *(each.to_csv(index=False).encode() for each in tables)]
