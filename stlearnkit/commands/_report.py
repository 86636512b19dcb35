"""The step `report`: all that a study has so far, on one page."""

__all__ = ["pieces"]

import platform
from functools import partial
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from stlearnkit.commands import _data, _page
from stlearnkit.commands._pieces import Piece
from stlearnkit.commands._predict import predicted_file
from stlearnkit.commands._settings import Study
from stlearnkit.commands._study import at_hand, sources
from stlearnkit.expression import log_normalised
from stlearnkit.plots import compare_maps, fold_scores, spot_map
from stlearnkit.reports import overview, per_unit
from stlearnkit.sections import Section

_VERSIONS = ("stlearnkit", "numpy", "torch", "timm", "scanpy")


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
    parts = [_sections(study), *_scores(study), *_predictions(study), _settings(study)]
    return [_page.page(study.report.title, parts)]


def _sections(study: Study) -> str:
    """Say what the sections are."""
    rows = [_data.facts(each) for each in at_hand(study, list(study.addresses))]
    table = _page.table(pd.DataFrame(rows), "Sections of the study")
    return _page.part("Sections", table)


def _scores(study: Study) -> list[str]:
    """Say how well predictors do, beside what needs no model and what noise allows."""
    file = study.home / "evaluate" / "scores.parquet"
    if not file.exists():
        return []
    scores = pd.read_parquet(file)
    contents = []
    for claim, rows in scores.groupby("claim", sort=False):
        figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
        summary = overview(rows)
        fold_scores(per_unit(rows), summary, ax)
        alt = "; ".join(
            f"{name}: {mean:.2f}"
            for (_, name), mean in summary["mean"].items()  # type: ignore[misc]
        )
        contents += [
            _page.table(_judged(rows), f"Mean per-gene correlation, new {claim}s"),
            _page.picture(
                figure,
                f"Dots for each predictor and {claim}. Mean correlations are {alt}.",
                f"One dot for each {claim}; large dots are means, lines intervals.",
            ),
        ]
    note = _page.paragraph(
        "Trivial baselines stand in the same table: the mean profile knows no place, "
        "and the library size, which no image states, is that of the test spots. The "
        "noise ceiling is what a perfect prediction would reach."
    )
    return [_page.part("Scores", note, *contents)]


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
    contents = [
        picture
        for name, file in files.items()
        if file.exists()
        for picture in _maps(study, name, file)
    ]
    if not contents:
        return []
    note = _page.paragraph(
        f"By {study.train.predictor}, trained on {', '.join(study.train.sections)}. "
        "Drawn are the genes that the prediction varies most in."
    )
    return [_page.part("Predictions", note, *contents)]


def _maps(study: Study, name: str, file: Path) -> list[str]:
    """Draw some genes of a section, beside what was measured if it was."""
    (section,) = at_hand(study, [name])
    predicted = anndata.read_h5ad(file).to_df()
    order = predicted.var().sort_values(ascending=False, kind="stable")
    return [
        _map(section, gene, predicted[gene].to_numpy(float))
        for gene in order.index[: study.report.n_maps]
    ]


def _map(section: Section, gene: str, predicted: np.ndarray) -> str:
    """Draw one gene of a section."""
    alt = (
        f"Map of {gene} in section {section.name}: predicted from "
        f"{predicted.min():.1f} to {predicted.max():.1f}, ln(1 + counts per 10,000)"
    )
    if gene not in section.adata.var_names or (section.total_counts() == 0).any():
        figure, ax = plt.subplots(figsize=(4.6, 4), layout="constrained")
        spot_map(section, predicted, ax, label=f"{gene}, ln(1 + counts per 10⁴)")
        return _page.picture(figure, f"{alt}.", f"{gene} in {section.name}, predicted.")
    measured = log_normalised(section, [gene])[:, 0]
    found = np.corrcoef(measured, predicted)[0, 1] if np.ptp(measured) else np.nan
    words = f"correlation with the measurement {found:.2f}"
    figure = compare_maps(section, measured, {"predicted": predicted}, gene=gene)
    return _page.picture(
        figure, f"{alt}; beside it as measured.", f"{gene} in {section.name}: {words}."
    )


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
