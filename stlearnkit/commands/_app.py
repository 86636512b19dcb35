"""The command line itself: what is asked, in which words it is answered."""

__all__ = ["app"]

import logging
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from stlearnkit.commands import _file
from stlearnkit.commands._errors import SettingsError
from stlearnkit.commands._pieces import make, plan
from stlearnkit.commands._settings import Study

_log = logging.getLogger("stlearnkit")
_STOPPED = 130


class _OneLine(TyperGroup):
    """Commands whose errors are one line: exit code 1 for jobs, 2 for wrong use."""

    def main(self, *arguments: Any, **keywords: Any) -> Any:
        """Run a command and turn whatever goes wrong into a line."""
        keywords["standalone_mode"] = False
        try:
            code, words = super().main(*arguments, **keywords) or 0, ""
        except typer.Abort:
            code = _STOPPED
        except Exception as error:  # noqa: BLE001 - whatever it is, in one line
            _log.debug("The job failed.", exc_info=error)
            code, words = _code(error), _words(error)
        if code == _STOPPED:  # typer's own code, where a key was pressed to stop it
            code, words = 1, "stopped. Run the same again to go on."
        if words:
            typer.echo(f"Error: {' '.join(words.split())}", err=True)
        sys.exit(code)


def _code(error: Exception) -> int:
    """Return 2 for wrong use, as typer's own errors do, else 1."""
    return 2 if isinstance(error, SettingsError) else getattr(error, "exit_code", 1)


def _words(error: Exception) -> str:
    """Return what an error says; some of typer's say it only when they are asked."""
    say = getattr(error, "format_message", error.__str__)
    return say() or type(error).__name__


app = typer.Typer(
    cls=_OneLine,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help=(
        "Gene expression from tissue images, without a notebook.\n\n"
        "A study is one file of settings; every step reads it, makes what is not there "
        "yet, and can be stopped at any time.\n\n"
        "\b\n"
        "  stlearnkit data --example > study.toml\n"
        "  stlearnkit data study.toml\n"
        "  stlearnkit train study.toml\n"
        "  stlearnkit predict study.toml\n"
        "  stlearnkit report study.toml\n\n"
        "Exit codes: 0 all is there, 1 a job failed, 2 wrong use or settings."
    ),
)

_File = Annotated[Path, typer.Argument(metavar="STUDY", help="The file of settings.")]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be made; make nothing.")
]


def _examples(*lines: str) -> str:
    """Return what stands below the options of a command."""
    # The first line tells click to keep the others as they are.
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


@app.callback()
def _main(
    *,
    verbose: Annotated[bool, typer.Option(help="Say more while working.")] = False,
) -> None:
    """Choose how much is said."""
    level = logging.DEBUG if verbose else logging.WARNING
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    _log.setLevel(level)


@app.command(
    help="Fetch and verify the sections, and print what they are.",
    epilog=_examples(
        "stlearnkit data --example > study.toml", "stlearnkit data study.toml"
    ),
)
def data(
    file: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="The file of settings.")
    ] = None,
    *,
    dry_run: _DryRun = False,
    example: Annotated[
        bool, typer.Option("--example", help="Print a file of settings to begin with.")
    ] = False,
) -> None:
    """Fetch and verify the sections, and print what they are.

    Raises
    ------
    SettingsError
        If no file is given, nor an example asked for.
    """
    if example:
        typer.echo(_file.example(), nl=False)
        return
    if file is None:
        raise SettingsError(
            "no file of settings is given. Write one with 'stlearnkit data --example "
            "> study.toml', then call 'stlearnkit data study.toml'."
        )
    study = _file.read(file)
    _run("data", study, dry_run=dry_run)
    if not dry_run:
        _show([study.home / "data" / f"{name}.csv" for name in study.addresses])


@app.command(
    epilog=_examples(
        "stlearnkit features study.toml --dry-run", "stlearnkit features study.toml"
    )
)
def features(file: _File, *, dry_run: _DryRun = False) -> None:
    """Encode all sections; what is encoded is kept for every later step."""
    _run("features", _file.read(file), dry_run=dry_run)


@app.command(epilog=_examples("stlearnkit train study.toml"))
def train(file: _File, *, dry_run: _DryRun = False) -> None:
    """Fit the predictor of [train] on its sections and keep it."""
    _run("train", _file.read(file), dry_run=dry_run)


@app.command(epilog=_examples("stlearnkit predict study.toml"))
def predict(file: _File, *, dry_run: _DryRun = False) -> None:
    """Predict the sections of [predict], as .h5ad and as points in .parquet."""
    _run("predict", _file.read(file), dry_run=dry_run)


@app.command(epilog=_examples("stlearnkit align study.toml"))
def align(file: _File, *, dry_run: _DryRun = False) -> None:
    """Align the sections of [align]: a map for each, and how far to trust it."""
    _run("align", _file.read(file), dry_run=dry_run)


@app.command(epilog=_examples("stlearnkit impute study.toml"))
def impute(file: _File, *, dry_run: _DryRun = False) -> None:
    """Predict sections of [impute] from measured neighbours, with intervals."""
    _run("impute", _file.read(file), dry_run=dry_run)


@app.command(
    epilog=_examples(
        "stlearnkit evaluate study.toml",
        "stlearnkit evaluate study.toml --suite her2st --only ridge --only kriging",
    )
)
def evaluate(
    file: _File,
    *,
    dry_run: _DryRun = False,
    suite: Annotated[
        str | None,
        typer.Option(help="A benchmark of the book in place of [evaluate]: her2st."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Of the suite only this predictor.")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Of the suite [default: 0, 1 and 2].")
    ] = None,
) -> None:
    """Judge the predictors of [evaluate] on sections they have not seen.

    Raises
    ------
    SettingsError
        If --only or --seed stands without --suite.
    """
    study = _file.read(file)
    if suite is None:
        if only or seed:
            raise SettingsError(
                "--only and --seed are for --suite. Write predictors and seeds of "
                "[evaluate] in the file, or add --suite her2st."
            )
        _run("evaluate", study, dry_run=dry_run)
        folder = study.home / "evaluate"
    else:
        asked = {"name": suite, "only": only or [], "seeds": seed or [0, 1, 2]}
        _run("suite", study, dry_run=dry_run, **asked)
        folder = study.home / "suites" / suite
    if not dry_run:
        _show([folder / "overview.csv"])


@app.command(epilog=_examples("stlearnkit report study.toml"))
def report(file: _File, *, dry_run: _DryRun = False) -> None:
    """Write one page, report.html, of all that the study has so far."""
    _run("report", _file.read(file), dry_run=dry_run)


def _run(step: str, study: Study, *, dry_run: bool, **asked: Any) -> None:
    """Make what a step has not made yet, or say what that is."""
    # A step loads what it needs, which takes seconds; --help does not wait for it.
    pieces = import_module(f"stlearnkit.commands._{step}").pieces(study, **asked)
    if dry_run:
        typer.echo("\n".join(plan(pieces, study.home)))
        return
    made = make(pieces, step)
    folder = pieces[-1].files[0].parent
    typer.echo(f"{step}: {made} made, {len(pieces) - made} there: {folder}")


def _show(files: Sequence[Path]) -> None:
    """Print tables that were made, one below the other."""
    import pandas as pd

    tables = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    typer.echo(tables.to_string(index=False, float_format="{:.3f}".format))
