"""The step `report`: all that a study has so far, on one page."""

__all__ = ["pieces"]

import platform
from functools import partial
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from stlearnkit.commands import _data, _page
from stlearnkit.commands._align import quality_file
from stlearnkit.commands._drawn import coverage, maps
from stlearnkit.commands._evaluate import scores_file
from stlearnkit.commands._impute import imputed_file
from stlearnkit.commands._pieces import Piece
from stlearnkit.commands._predict import predicted_file
from stlearnkit.commands._settings import Study
from stlearnkit.commands._study import at_hand, sources
from stlearnkit.plots import fold_scores
from stlearnkit.reports import overview, per_unit

_VERSIONS = ("stlearnkit", "numpy", "torch", "timm", "scanpy")
_DRAWN = "Drawn are the genes that the prediction varies most in."


def pieces(study: Study) -> list[Piece]:
    """Return the page, which is of all files that other steps have made."""
    made = {
        str(file.relative_to(study.home)): blake2b(file.read_bytes()).hexdigest()[:32]
        for file in sorted(study.home.glob("*/**/*"))
        if file.suffix in {".csv", ".parquet"} and "results" not in file.parts
    }
    of = {
        "settings": study.file.read_text("utf-8"),
        "sections": sources(study, list(study.addresses)),
        "made": made,
    }
    return [Piece((study.home / "report.html",), of, partial(_report, study))]


def _report(study: Study) -> list[bytes]:
    """Return the page."""
    parts = [
        _sections(study),
        *_scores(study),
        *_predictions(study),
        *_alignment(study),
        *_imputation(study),
        _settings(study),
    ]
    return [_page.page(study.report.title, parts)]


def _sections(study: Study) -> str:
    """Say what the sections are."""
    sections = at_hand(study, list(study.addresses))
    rows = [_data.facts(each, study.addresses[each.name]) for each in sections]
    table = _page.table(pd.DataFrame(rows), "Sections of the study")
    return _page.part("Sections", table)


def _scores(study: Study) -> list[str]:
    """Say how well predictors do, beside what needs no model and what noise allows."""
    files = [scores_file(study), *study.home.glob("suites/*/scores.parquet")]
    contents = [
        part
        for file in files
        if file.exists()
        for of_claim in _claims(pd.read_parquet(file))
        for part in _score(of_claim)
    ]
    if not contents:
        return []
    note = (
        "Trivial baselines stand in the same table: the mean profile knows no place, "
        "and the library size, which no image states, is that of the test spots. The "
        "noise ceiling is what a perfect prediction would reach."
    )
    return [_page.part("Scores", _page.paragraph(note), *contents)]


def _claims(scores: pd.DataFrame) -> list[pd.DataFrame]:
    """Return scores by what they claim, of all spots."""
    if "least" in scores:
        scores = scores[scores["least"] == scores["least"].min()]
    return [rows for _, rows in scores.groupby("claim", sort=False)]


def _score(scores: pd.DataFrame) -> list[str]:
    """Return table and picture of the scores of one claim."""
    unit = str(scores["claim"].iloc[0])
    summary = overview(scores)
    figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
    fold_scores(per_unit(scores), summary, ax)
    means = summary["mean"].droplevel("claim")
    alt = "; ".join(f"{name} {mean:.2f}" for name, mean in means.items())
    return [
        _page.table(_judged(scores), f"Mean per-gene correlation, new {unit}s"),
        _page.picture(
            figure,
            f"A row of dots for each predictor, one for each {unit}. Means: {alt}.",
            f"One dot for each {unit}; large dots are means, lines intervals.",
        ),
    ]


def _judged(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each predictor, and for what they are compared with."""
    claims = overview(scores).reset_index()
    rows = [
        {
            "predictor": row["predictor"],
            "mean": row["mean"],
            "interval": f"{row['low']:.2f} to {row['high']:.2f} ({row['interval']})",
            "over": f"{row['n']} {row['unit']}s",
        }
        for _, row in claims.iterrows()
    ]
    names = {"pcc_library_size": "library size (no image)", "ceiling": "noise ceiling"}
    for column, name in names.items():
        some = scores[scores["predictor"] == scores["predictor"].iloc[0]]
        mean = overview(some, score=column)["mean"].iloc[0]
        rows.append({"predictor": name, "mean": mean, "interval": "", "over": ""})
    return pd.DataFrame(rows)


def _predictions(study: Study) -> list[str]:
    """Draw maps of the sections that were predicted."""
    files = {name: predicted_file(study, name) for name in study.predict.sections}
    contents = _all_maps(study, files)
    if not contents:
        return []
    note = (
        f"By {study.train.predictor}, trained on {', '.join(study.train.sections)}. "
        f"{_DRAWN}"
    )
    return [_page.part("Predictions", _page.paragraph(note), *contents)]


def _alignment(study: Study) -> list[str]:
    """Say how far neighbours could be aligned, and which were refused."""
    file = quality_file(study)
    if not file.exists():
        return []
    rows = (
        pd.read_csv(file)
        .fillna({"refused": ""})
        .drop(columns=["mirrored"], errors="ignore")
    )
    note = (
        "Evidence and margin are in nats: how much likelier than by chance, and than "
        "any other pose. Distances are in µm. What is refused has its reason."
    )
    table = _page.table(rows, "Alignment of neighbours")
    return [_page.part("Alignment", _page.paragraph(note), table)]


def _imputation(study: Study) -> list[str]:
    """Draw what was imputed, and say what intervals hold where that is known."""
    asked = study.impute
    files = {name: imputed_file(study, name) for name in asked.sections}
    contents = _all_maps(study, files)
    if not contents:
        return []
    rows = [
        {"section": name, "share held": coverage(at_hand(study, [name])[0], file)}
        for name, file in files.items()
        if file.exists()
    ]
    note = (
        f"By {asked.predictor}, from {', '.join(asked.observed)}. Intervals are to "
        f"hold {asked.level:.0%} of measurements within the observed sections; the "
        f"step to another section costs more. {_DRAWN}"
    )
    table = _page.table(pd.DataFrame(rows), "What intervals hold")
    return [_page.part("Imputation", _page.paragraph(note), table, *contents)]


def _all_maps(study: Study, files: dict[str, Path]) -> list[str]:
    """Draw maps of all sections whose files are there."""
    return [
        picture
        for name, file in files.items()
        if file.exists()
        for picture in maps(at_hand(study, [name])[0], file, study.report.n_maps)
    ]


def _settings(study: Study) -> str:
    """Say by which settings and versions all this was made."""
    versions = {"Python": platform.python_version()}
    versions |= {name: version(name) for name in _VERSIONS}
    rows = pd.DataFrame(versions.items(), columns=["package", "version"])
    text = study.file.read_text("utf-8")
    return _page.part(
        "Settings and versions",
        f'<pre tabindex="0">{_page.escape(text)}</pre>',
        _page.table(rows, "Versions"),
    )
