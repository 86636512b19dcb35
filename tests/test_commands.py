"""Tests of the command line: every step on synthetic tissue, errors, kills."""

import json
import re
import shutil
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from kills import Killed, killed_after
from tissue import STUDY, save_study
from typer.testing import CliRunner, Result

from stlearnkit import geometry
from stlearnkit.commands import _file, _pieces, _sources, _suite, app
from stlearnkit.conventions import RegistrationError
from stlearnkit.encoders import Encoder, features
from stlearnkit.expression import log_normalised
from stlearnkit.folds import leave_one_section_out
from stlearnkit.patches import Scale
from stlearnkit.predictors import fitted
from stlearnkit.suites import Suite

STEPS = ("data", "features", "train", "predict", "align", "impute", "evaluate")


def call(*arguments: object) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def failed(result: Result, code: int) -> str:
    """Return the one line of an error, after checking that it is one."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def products(home: Path) -> dict[str, bytes]:
    """Return all files of a study but the logs of runs."""
    return {
        str(file.relative_to(home)): file.read_bytes()
        for file in home.rglob("*")
        if file.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study of which every step was made, in the order of the help."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STLEARNKIT_CACHE", str(folder / "cache"))
        patch.chdir(folder)  # so that no file holds a path of this folder
        file = save_study(folder)
        for step in (*STEPS, "report"):
            result = call(step, file.name)
            assert result.exit_code == 0, result.output
    return file


@pytest.fixture
def study(made, tmp_path, monkeypatch):
    """A copy of it that a test may change."""
    monkeypatch.setenv("STLEARNKIT_CACHE", str(tmp_path / "cache"))
    shutil.copytree(made.parent, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Path("study.toml")


# Help


@pytest.mark.parametrize("step", [*STEPS, "report"])
def test_help_of_every_command_has_an_example(step):
    text = call(step, "--help").stdout
    assert f"Examples:\n    stlearnkit {step} " in text


def test_help_lists_commands_and_exit_codes():
    text = call("--help").stdout
    assert all(f"\n  {step} " in text for step in (*STEPS, "report"))
    assert "0 all is there, 1 a job failed, 2 wrong use" in text


def test_a_wrong_command_is_one_line_and_code_2():
    assert "No such command 'trian'. Did you mean 'train'?" in failed(call("trian"), 2)


def test_a_missing_file_is_one_line_and_code_2():
    assert "Missing argument 'STUDY'" in failed(call("train"), 2)
    assert "no file of settings is given" in failed(call("data"), 2)


# Settings


def test_the_example_is_read_as_it_stands(tmp_path):
    file = tmp_path / "study.toml"
    file.write_text(call("data", "--example").stdout)
    study = _file.read(file)
    assert study.addresses == {f"C{i}": f"her2st:C{i}" for i in (2, 3, 4)}
    assert study.train.sections == ("C2", "C3")
    assert study.align.z_um == (0.0, 48.0, 96.0)
    assert study.home == tmp_path / "study"


def test_what_is_left_out_has_its_default(tmp_path):
    file = tmp_path / "study.toml"
    file.write_text('sections = ["her2st:C2"]')
    study = _file.read(file)
    assert study.features.scales_um == (112.0, 224.0, 560.0)
    assert (study.train.predictor, study.train.sections) == ("ridge", ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"sections is missing, expected one or more\. For example: sections = \["),
        ("sections = []", r"sections is \[\], expected one or more\."),
        ("sections = 'her2st:C2'", 'sections is "her2st:C2", expected a list, each te'),
        ("sections = ['a:A', 'b:A']", "sections has 'A' twice, expected each once"),
        ("section = []", "section is no setting; expected one of sections, folder, fe"),
        ("section = []", "Did you mean 'sections'"),
        ("train = 3", r"train is 3, expected a table\. Write \[train\]"),
        (
            "[train]\nn_genes = 'many'",
            r'train\.n_genes is "many", expected a whole num',
        ),
        ("[train]\nn_genes = true", r"train\.n_genes is true, expected a whole number"),
        ("[train]\nn_genes = 1.5", r"n_genes is 1\.5, .* For example: n_genes = 250"),
        ("[train]\nn_genes = 0", r"train\.n_genes is 0, expected 1 or more\."),
        (
            "[train]\nsections = ['A']",
            r"train\.sections names 'A', expected some of S1",
        ),
        ("[impute]\nobserved = ['A']", r"impute\.observed names 'A', expected some of"),
        ("[impute]\nlevel = 1", r"impute\.level is 1, expected between 0 and 1"),
        ("[features]\nscales_um = [0]", r"scales_um is \[0\], expected above 0"),
        (
            "[evaluate]\nfolds = 'x'",
            r"folds is \"x\", expected 'sections' or 'patients",
        ),
        ("[evaluate]\nseeds = []", r"evaluate\.seeds is \[\], expected one or more"),
        (
            "[evaluate]\nseeds = [0.5]",
            r"seeds is \[0\.5\], expected a list, each a who",
        ),
        ("sections = ", "is not TOML: .* Compare with 'stlearnkit data --example'"),
    ],
)
def test_wrong_settings_are_one_line_and_code_2(tmp_path, text, message):
    file = tmp_path / "study.toml"
    start = "sections = ['synthetic:S1']\n" if text[:1] in ("[", "t") else ""
    file.write_text(start + text)
    line = failed(call("data", file), 2)
    assert str(file) in line
    assert re.search(message, line), line


def test_a_file_that_is_not_there_is_code_2(tmp_path):
    line = failed(call("train", tmp_path / "none.toml"), 2)
    assert "cannot read" in line
    assert "'stlearnkit data --example > study.toml'" in line


@pytest.mark.parametrize(
    ("step", "old", "new", "message"),
    [
        ("train", '"S1", "S2"]\nn_g', "]\nn_g", "train.sections is missing, expected"),
        ("train", "[train]", "[train]\npredictor = 'x'", "train.predictor is 'x', ex"),
        ("impute", "[impute]", "[impute]\npredictor = 'x'", "impute.predictor is 'x'"),
        ("evaluate", '"ridge"]', '"x"]', "evaluate.predictors is 'x', expected one"),
        ("align", "z_um = [0, 48]", "", "align.z_um has 0 heights for 2 sections"),
        ("align", '"S1", "S2"]\nz', '"S1"]\nz', "align.sections has one section"),
        (
            "align",
            "[align]",
            "[align]\nreference = 'S3'",
            "reference is 'S3', expected",
        ),
        ("data", "synthetic:S1", "nowhere:S1", "expected a data set of her2st, mob2k"),
        ("data", "synthetic:S1", "S1", "sections has 'S1', expected a data set of"),
        ("data", "synthetic:S1", "S1.zarr", "S1.zarr, where no folder is"),
        ("data", "synthetic:S3", "synthetic:S9", "has sections S1, S2, S3, S4"),
    ],
)
def test_what_a_step_cannot_use_is_code_2(tmp_path, step, old, new, message):
    assert old in STUDY
    text = STUDY.replace(old, new, 1).replace('"S2", "S3"', '"S2"')
    assert message in failed(call(step, save_study(tmp_path, text)), 2)


# Steps


def test_data_prints_the_facts(made):
    table = pd.read_csv(made.parent / "out" / "data" / "S1.csv")
    assert table["spots"].item() == 60
    assert table["from"].item() == "synthetic:S1"
    assert "S1     SIM     60" in call("data", made).stdout


def test_features_are_kept_for_later_steps(made, monkeypatch):
    table = pd.read_csv(made.parent / "out" / "features" / "S2.csv")
    encoder = Encoder.load(f"local-dir:{made.parent / 'weights'}")
    monkeypatch.setattr(Encoder, "encode", None)  # what is kept is not encoded
    kept = features(
        _sources.load("synthetic:S2", made.parent),
        encoder,
        Scale("spot", 112.0),
        cache_folder=made.parent / "cache" / "features",
    )
    assert table[["spots", "features"]].to_numpy().tolist() == [list(kept.shape)]
    assert table["mean"].item() == pytest.approx(kept.mean(), abs=1e-4)
    assert table["fingerprint"].item() == encoder.fingerprint


def test_predictions_are_those_of_the_fitted_predictor(made, monkeypatch):
    monkeypatch.chdir(made.parent)
    home = made.parent / "out"
    trained = fitted.load(home / "train" / "ridge.safetensors")
    assert trained.fitted.seen == ("S1", "S2")
    section = _sources.load("synthetic:S3", made.parent)
    expected = trained.predict(section)
    table = anndata.read_h5ad(home / "predict" / "ridge" / "S3.h5ad")
    assert np.array_equal(table.to_df(), expected)
    assert np.array_equal(table.obsm["spatial"], section.coords_px)
    points = pd.read_parquet(home / "predict" / "ridge" / "S3.parquet")
    assert np.array_equal(points[["x_um", "y_um"]], section.coords_um)
    assert np.array_equal(points[expected.columns], expected)


def test_maps_of_a_stack_are_read_by_the_library(made):
    home = made.parent / "out" / "align"
    assert geometry.load(home / "S1.json").target == "S2/um"
    quality = pd.read_csv(home / "quality.csv")
    assert quality["refused"].isna().all()
    assert quality["dice"].item() > 0.8


def test_intervals_lie_around_what_is_imputed_and_hold_most_measurements(made):
    home = made.parent / "out" / "impute" / "kriging, image and place"
    table = anndata.read_h5ad(home / "S1.h5ad")
    low, high = table.layers["low"], table.layers["high"]
    assert (low < table.X).all()
    assert (high > table.X).all()
    measured = log_normalised(
        _sources.load("synthetic:S1", made.parent), list(table.var_names)
    )
    assert np.mean((low <= measured) & (measured <= high)) > 0.7
    points = pd.read_parquet(home / "S1.parquet")
    assert {f"low {gene}" for gene in table.var_names} <= set(points)


def test_scores_have_trivial_baselines_and_ceiling(made):
    table = pd.read_parquet(made.parent / "out" / "evaluate" / "scores.parquet")
    assert set(table["predictor"]) == {"mean profile", "ridge"}
    assert table[["ceiling", "pcc_library_size"]].notna().all(axis=None)
    summary = pd.read_csv(made.parent / "out" / "evaluate" / "overview.csv")
    assert {"low", "mean", "high", "n", "unit"} <= set(summary)


def test_folds_of_patients_need_two(study):
    text = study.read_text().replace("[evaluate]", '[evaluate]\nfolds = "patients"')
    study.write_text(text)
    assert "are of 1 patient(s), expected at least two" in failed(
        call("evaluate", study), 1
    )


@pytest.mark.filterwarnings(
    "ignore:zarr v3 autosharding:UserWarning", "ignore:.*Scaler:DeprecationWarning"
)
def test_a_section_from_a_file_is_used_under_its_name(study):
    section = _sources.load("synthetic:S4", study.parent)
    section.to_spatialdata().write(study.parent / "S4.zarr")
    text = study.read_text().replace('"synthetic:S3"', '"S4.zarr"')
    study.write_text(text.replace('"S3"', '"S4"'))
    assert "S4     SIM" in call("data", study).stdout
    result = call("predict", study)
    assert "predict: 1 made, 1 there" in result.stdout
    (study.parent / "S4.zarr").rename(study.parent / "S5.zarr")
    study.write_text(study.read_text().replace("S4", "S5"))
    assert "holds section 'S4', expected 'S5'" in failed(call("data", study), 1)


def test_a_folder_that_holds_no_section_is_code_2(study):
    (study.parent / "empty.zarr").mkdir()
    text = study.read_text().replace('"synthetic:S3"', '"empty.zarr"')
    study.write_text(text.replace('"S3"', '"empty"'))
    assert "sections has empty.zarr: " in failed(call("data", study), 2)


def test_a_file_that_changed_is_another_section(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "part").write_text("one")
    before = _sources.identity("a.zarr", tmp_path)
    (tmp_path / "a.zarr" / "part").write_text("other")
    assert _sources.identity("a.zarr", tmp_path) != before
    assert _sources.identity("her2st:C2", tmp_path) == "her2st:C2"


def test_predict_before_train_says_so(tmp_path):
    line = failed(call("predict", save_study(tmp_path)), 1)
    assert "Run 'stlearnkit train" in line


def test_neighbours_that_are_refused_stand_in_the_table(study, monkeypatch):
    def refuse(*sections):
        raise RegistrationError("they have nothing in common")

    monkeypatch.setattr("stlearnkit.commands._align.align", refuse)
    study.write_text(study.read_text().replace("n_maps = 1", "n_maps = 0"))
    shutil.rmtree(study.parent / "out" / "align")
    line = failed(call("align", study), 1)
    assert "1 of 1 pairs of neighbours were refused" in line
    assert "S2 on S1: they have nothing in common" in line
    table = pd.read_csv(study.parent / "out" / "align" / "quality.csv")
    assert table["refused"].item() == "they have nothing in common"
    assert call("report", study).exit_code == 0
    page = (study.parent / "out" / "report.html").read_text()
    assert "they have nothing in common" in page


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("no space\nleft"), "Error: no space left"),
        (KeyError(), "Error: KeyError"),
        (KeyboardInterrupt(), "Error: stopped. Run the same again to go on."),
    ],
)
def test_whatever_fails_is_one_line_and_code_1(study, monkeypatch, error, message):
    def fail(step):
        raise error

    monkeypatch.setattr("stlearnkit.commands._app.import_module", fail)
    assert failed(call("data", study), 1) == message


# Suites


def test_a_suite_is_evaluated_as_the_library_has_it(study, monkeypatch):
    names = ("S1", "S2", "S3")
    suite = Suite(
        leave_one_section_out(names),
        lambda name: _sources.load(f"synthetic:{name}", study.parent),
        n_genes=6,
        least=(1, 2),
    )
    monkeypatch.setitem(_suite._SUITES, "toy", lambda: suite)
    result = call("evaluate", study, "--suite", "toy", "--only", "mean profile")
    assert result.exit_code == 0, result.output
    folder = study.parent / "out" / "suites" / "toy"
    units = pd.read_csv(folder / "units.csv")
    assert set(units["least"]) == {1, 2}
    assert set(units["name"]) == set(names)
    again = call("evaluate", study, "--suite", "toy", "--only", "mean profile")
    assert "suite: 0 made, 1 there" in again.stdout


def test_wrong_suites_are_refused(study):
    assert "--suite is 'x', expected one of her2st" in failed(
        call("evaluate", study, "--suite", "x"), 2
    )
    assert "--only has ['x'], expected some of mean profile; ridge" in failed(
        call("evaluate", study, "--suite", "her2st", "--only", "x"), 2
    )
    assert "--only and --seed are for --suite" in failed(
        call("evaluate", study, "--seed", "1"), 2
    )


# The page


class Page(HTMLParser):
    """What a page refers to, and which of its tags are open at the end."""

    VOID = frozenset({"meta", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(made):
    text = (made.parent / "out" / "report.html").read_text()
    page = Page(text)
    assert not page.open
    names = [name for name, _ in page.tags]
    assert not {"script", "link", "iframe"} & set(names)
    sources = [about["src"] for _, about in page.tags if "src" in about]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in re.sub(r'src="[^"]*"', "", text)
    assert "@import" not in text
    assert "url(" not in text


def test_the_page_can_be_read_by_everyone(made):
    page = Page((made.parent / "out" / "report.html").read_text())
    alts = [about.get("alt") for name, about in page.tags if name == "img"]
    assert all(alt and len(alt) > 20 for alt in alts)
    names = [name for name, _ in page.tags]
    assert names.count("main") == names.count("h1") == 1
    assert ("html", {"lang": "en"}) in page.tags
    scopes = [about.get("scope") for name, about in page.tags if name == "th"]
    assert set(scopes) == {"col", "row"}


def test_the_page_has_all_that_was_made(made):
    text = (made.parent / "out" / "report.html").read_text()
    assert "<h1>Three &lt;small&gt; sections</h1>" in text
    for heading in ("Sections", "Scores", "Predictions", "Alignment", "Imputation"):
        assert f"<h2>{heading}</h2>" in text
    for words in ("noise ceiling", "library size (no image)", version("stlearnkit")):
        assert words in text
    assert "[evaluate]" in text


def test_the_colours_of_the_page_have_enough_contrast():
    from stlearnkit.commands import _page

    def luminance(colour: str) -> float:
        """Relative luminance of WCAG 2.2."""
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
            for part in parts
        ]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    words = re.findall(r"[; {]color: (#\w{6})", _page._STYLE)
    assert len(words) >= 3
    grounds = [luminance("#ffffff"), luminance("#f6f8fa")]
    for word in words:
        assert (min(grounds) + 0.05) / (luminance(word) + 0.05) >= 4.5


def test_a_page_without_results_has_sections_and_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("STLEARNKIT_CACHE", str(tmp_path / "cache"))
    file = save_study(tmp_path)
    assert call("report", file).exit_code == 0
    text = (tmp_path / "out" / "report.html").read_text()
    assert "<h2>Sections</h2>" in text
    assert "<h2>Scores</h2>" not in text


# Going on


@pytest.mark.parametrize("step", [*STEPS, "report"])
def test_what_is_there_is_not_made_again(study, step):
    before = products(study.parent / "out")
    times = {f: f.stat().st_mtime_ns for f in (study.parent / "out").rglob("*.*")}
    result = call(step, study)
    assert f"{step}: 0 made" in result.stdout
    assert products(study.parent / "out") == before
    assert {f: f.stat().st_mtime_ns for f in times} == times


@pytest.mark.parametrize("step", [*STEPS, "report"])
def test_a_dry_run_makes_nothing(study, step):
    for ledger in (study.parent / "out").rglob("*.made"):
        if step in (ledger.parent.name, ledger.parent.parent.name, "report"):
            ledger.unlink()
    before = products(study.parent / "out")
    lines = call(step, study, "--dry-run").stdout.splitlines()
    assert lines
    assert all(line.startswith("to make   ") for line in lines)
    assert products(study.parent / "out") == before


def test_a_dry_run_tells_what_is_there(made):
    assert (
        "is there  train/ridge.safetensors" in call("train", made, "--dry-run").stdout
    )


@pytest.mark.parametrize("step", [*STEPS, "report"])
@pytest.mark.parametrize("n_writes", [0, 1])
def test_a_killed_step_ends_as_if_it_had_not_been(study, step, n_writes, monkeypatch):
    monkeypatch.setattr("stlearnkit._store._HELD_AFTER_S", -1.0)  # no need to wait
    home = study.parent / "out"
    whole = products(home)
    made = home / step if step != "report" else home / "report.html"
    shutil.rmtree(made) if made.is_dir() else made.unlink()
    with killed_after(n_writes), pytest.raises(Killed):
        CliRunner().invoke(app, [step, str(study)], catch_exceptions=False)
    assert call(step, study).exit_code == 0
    after = products(home)
    assert not [name for name in after if name.endswith(".tmp")]
    assert after == whole


def test_other_settings_make_it_again(study):
    study.write_text(study.read_text().replace("n_genes = 6", "n_genes = 5", 1))
    assert "to make " in call("train", study, "--dry-run").stdout
    assert "train: 1 made" in call("train", study).stdout
    assert "predict: 2 made" in call("predict", study).stdout


def test_another_competitor_is_added_to_those_judged(study):
    study.write_text(study.read_text().replace('"ridge"]', '"ridge", "kriging"]'))
    results = study.parent / "out" / "evaluate" / "results"
    before = {f: f.stat().st_mtime_ns for f in results.rglob("*.parquet")}
    assert call("evaluate", study).exit_code == 0
    after = {f: f.stat().st_mtime_ns for f in results.rglob("*.parquet")}
    assert before.items() < after.items()
    assert len(after) == len(before) * 3 // 2


def test_a_damaged_file_is_made_again(study):
    file = study.parent / "out" / "data" / "S1.csv"
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    assert "data: 1 made, 2 there" in call("data", study).stdout
    assert file.read_bytes() == whole


def test_a_ledger_says_what_a_piece_is_of(tmp_path):
    piece = _pieces.Piece(
        (tmp_path / "a", tmp_path / "b"), {"n": 1}, lambda: [b"A", b"B"]
    )
    assert not piece.is_there
    piece.write()
    assert piece.is_there
    ledger = json.loads(piece.ledger.read_text())
    assert ledger["of"] == {"n": 1}
    assert list(ledger["files"]) == ["a", "b"]
    assert not _pieces.Piece(piece.files, {"n": 2}, piece.make).is_there


# The book


BOOK = Path(__file__).parents[1] / "book"


def test_the_page_of_the_book_shows_the_example():
    shown = (BOOK / "scripts" / "study.toml").read_text()
    assert call("data", "--example").stdout == shown


def test_the_page_of_the_book_names_every_command():
    text = (BOOK / "command_line.md").read_text()
    for step in (*STEPS, "report"):
        assert f"| `stlearnkit {step}` |" in text


@pytest.mark.parametrize("line", ['n_genes = "many"', "section = []"])
def test_the_page_of_the_book_shows_what_mistakes_give(tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    text = (BOOK / "scripts" / "study.toml").read_text()
    changed = text.replace("[train]", f"[train]\n{line}", 1)
    if "n_genes" in line:
        changed = changed.replace("n_genes = 250\n", "", 1)
    Path("study.toml").write_text(changed)
    shown = (BOOK / "command_line.md").read_text()
    assert f"{failed(call('train', 'study.toml'), 2)}\n" in shown


def test_the_job_of_the_book_runs_every_command():
    text = (BOOK / "scripts" / "cohort.sbatch").read_text()
    assert f"for step in {' '.join((*STEPS, 'report'))}; do" in text
