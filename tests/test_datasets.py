"""Tests of `datasets`: the real sections, and what stands in without them."""

import functools
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stlearnkit import downloads, synthetic
from stlearnkit.datasets import (
    _her2st,
    her2st,
    her2st_cell_types,
    her2st_clusters,
    her2st_names,
    is_real,
    mob2k,
    tutorial_other_patient,
    tutorial_stack,
)
from stlearnkit.downloads import fetch, registry

CHECK = """
from stlearnkit import downloads
from stlearnkit.datasets import _tutorial
downloads._WAITS_S = ()
for _ in range(2):
    _tutorial._tutorial_is_at_hand(downloads.data_dir())
"""
LABELLED = ("B1", "C1", "D1", "E1", "F1", "G2", "H1")


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that holds no data and whose every connection fails at once."""
    monkeypatch.delenv("STLEARNKIT_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setattr(downloads, "_WAITS_S", (0.0, 0.0))


def test_names_are_the_36_sections():
    names = her2st_names()
    n_sections = pd.Series([name[0] for name in names]).value_counts()
    assert n_sections.to_dict() == dict(
        zip("ABCDEFGH", (6, 6, 6, 6, 3, 3, 3, 3), strict=True)
    )


def test_every_section_has_all_its_files_registered():
    for name in her2st_names():
        files = _her2st.files_of(name)
        assert files["image"].path.startswith(f"data/ST-imgs/{name[0]}/{name}/")
        assert files["image"].path.endswith(".jpg")
        assert f"her2st/res/ST-cluster/lbl/{name}-cluster-annotation.tsv.gz" in (
            registry()
        )


@pytest.mark.parametrize("load", [her2st, her2st_clusters, her2st_cell_types])
def test_unknown_section_lists_the_valid_ones(load):
    with pytest.raises(ValueError, match=r"name is 'Z9', but HER2ST .* A1, A2, .* H3"):
        load("Z9")


def test_unknown_mob_section_lists_the_valid_ones():
    with pytest.raises(ValueError, match=r"'MOB9', but MOB 2k .* MOB1, MOB2, MOB3"):
        mob2k("MOB9")


@pytest.mark.usefixtures("offline")
def test_missing_section_is_an_error_not_a_stand_in():
    with pytest.raises(ConnectionError, match=r"her2st/data/ST-spotfiles/C2_sel"):
        her2st("C2")


@pytest.fixture
def small_synthetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Synthetic sections of a few spots, which are made at once."""
    for make in ("stack", "section"):
        whole = getattr(synthetic, make)
        small = functools.partial(whole, n_spots=12, n_genes=12)
        monkeypatch.setattr(synthetic, make, small)


@pytest.mark.usefixtures("offline", "small_synthetic")
def test_tutorial_without_real_files_is_synthetic_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
):
    with caplog.at_level(logging.DEBUG, logger="stlearnkit.datasets"):
        sections = tutorial_stack()
        other = tutorial_other_patient()
    loud, quiet = caplog.records
    message = loud.getMessage()
    assert message.startswith("SYNTHETIC TISSUE, NOT REAL DATA")
    assert f"are not in {downloads.data_dir()}" in message
    assert "no whole copy could be had from raw.githubusercontent.com" in message
    assert "STLEARNKIT_DATA" in message
    assert "\n" not in message
    assert (loud.levelname, quiet.levelname) == ("WARNING", "DEBUG")
    assert "her2st/data/ST-cnts/C2.tsv.gz" in str(quiet.exc_info[1])
    everyone = [*sections, other]
    assert len(sections) == 5
    assert not any(is_real(section) for section in everyone)
    assert len({section.name for section in everyone}) == 6
    assert len({section.patient for section in sections}) == 1
    assert other.patient != sections[0].patient
    genes = set(sections[0].adata.var_names)
    assert genes == set(other.adata.var_names)
    for section in everyone:
        section.validate()


@pytest.mark.usefixtures("offline", "small_synthetic")
def test_tutorial_without_a_folder_to_write_to_is_synthetic(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(downloads, "_is_writable", lambda folder: False)
    assert not is_real(tutorial_other_patient())
    (message,) = caplog.messages
    assert "no folder to keep them in can be written to, so every" in message


@pytest.mark.usefixtures("offline", "small_synthetic")
def test_another_data_folder_is_asked_anew(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    tutorial_other_patient()
    monkeypatch.setenv("STLEARNKIT_DATA", str(tmp_path / "elsewhere"))
    tutorial_other_patient()
    assert len(caplog.messages) == 2
    assert str(tmp_path / "elsewhere") in caplog.messages[1]


@pytest.mark.usefixtures("offline")
def test_the_loud_line_reaches_stderr_untold():
    run = subprocess.run(
        [sys.executable, "-c", CHECK], capture_output=True, text=True, check=True
    )
    loud = [line for line in run.stderr.splitlines() if "SYNTHETIC TISSUE" in line]
    assert len(loud) == 1


@pytest.mark.real_data
class TestHer2st:
    """The sections of patient C and B, as published."""

    @pytest.mark.parametrize(
        ("name", "n_selected", "n_spots", "size"),
        [
            ("B4", 284, 283, (9272, 9923)),
            ("C2", 187, 187, (9274, 9911)),
            ("C3", 182, 180, (9270, 9936)),
            ("C4", 187, 184, (9278, 9916)),
            ("C5", 183, 181, (9272, 9901)),
            ("C6", 179, 178, (9288, 9907)),
        ],
    )
    def test_size_and_scale(
        self, name: str, n_selected: int, n_spots: int, size: tuple[int, int]
    ):
        section = her2st(name)
        assert section.n_spots == n_spots
        without = section.adata.uns["provenance"]["spots_without_counts"]
        assert len(without) == n_selected - n_spots
        assert section.slide is not None
        assert (section.slide.width, section.slide.height) == size
        assert section.mpp == pytest.approx(0.688, rel=0.01)
        assert section.patient == name[0]
        assert is_real(section)

    def test_neighbours_on_the_array_are_200_um_apart(self):
        section = her2st("C2", image=False)
        places = section.adata.obs[["array_col", "array_row"]].to_numpy()
        steps = np.abs(places[:, None] - places).sum(axis=2)
        distances = np.linalg.norm(
            section.coords_um[:, None] - section.coords_um, axis=2
        )[steps == 1]
        assert np.median(distances) == pytest.approx(200, rel=0.01)

    def test_counts_equal_those_pandas_reads(self):
        """An oracle that reads another way, and the doubled genes of C3."""
        section = her2st("C3", image=False)
        path = fetch(registry()["her2st/data/ST-cnts/C3.tsv.gz"])
        table = pd.read_csv(path, sep="\t", index_col=0).loc[section.adata.obs_names]
        assert table.shape == (180, 15_821)
        doubled = ["COG8", "MATR3", "TBC1D26", "WDFY4", "ZNF385C"]
        assert section.adata.uns["provenance"]["doubled_genes"] == doubled
        assert section.n_genes == 15_821 - len(doubled)
        genes = list(section.adata.var_names)
        twins = table[[f"{gene}.1" for gene in doubled]].set_axis(doubled, axis=1)
        expected = table[genes] + twins.reindex(columns=genes, fill_value=0)
        np.testing.assert_array_equal(section.counts(genes), expected)

    def test_median_depth_is_the_published_one(self):
        assert np.median(her2st("B4", image=False).total_counts()) == 648

    def test_all_36_have_counts_and_only_tissue_spots(self):
        n_spots = 0
        for name in her2st_names():
            files = _her2st.files_of(name)
            table = pd.read_csv(fetch(files["spots"]), sep="\t")
            assert table["selected"].eq(1).all()
            n_spots += len(table)
            fetch(files["counts"])
        assert n_spots == 13_653

    @pytest.mark.parametrize("name", ["A1", "E2", "H3"])
    def test_without_image(self, name: str):
        section = her2st(name, image=False)
        assert section.slide is None
        expected = 0.918 if name.startswith("A") else 0.688
        assert section.mpp == pytest.approx(expected, rel=0.005)
        assert "label" not in section.adata.obs

    @pytest.mark.parametrize("name", LABELLED)
    def test_every_spot_is_labelled_where_a_pathologist_looked(self, name: str):
        labels = her2st(name, image=False).adata.obs["label"]
        assert labels.notna().all()
        assert "invasive cancer" in set(labels)

    def test_labels_count_as_in_the_source(self):
        labels = her2st("C1", image=False).adata.obs["label"]
        assert labels.value_counts().to_dict() == {
            "invasive cancer": 127,
            "connective tissue": 37,
            "undetermined": 9,
            "adipose tissue": 3,
        }

    def test_clusters_are_of_spots_of_the_section(self):
        clusters = her2st_clusters("C3")
        spots = her2st("C3", image=False).adata.obs_names
        assert len(clusters) == 179
        assert clusters.index.isin(spots).all()
        assert set(clusters) == set(range(7))

    def test_cell_types_are_proportions(self):
        proportions = her2st_cell_types("C3")
        spots = her2st("C3", image=False).adata.obs_names
        assert set(proportions.index) == set(spots)
        assert proportions.shape == (180, 8)
        np.testing.assert_allclose(proportions.sum(axis=1), 1, atol=1e-6)

    def test_tutorial_is_real_and_quiet(self, caplog: pytest.LogCaptureFixture):
        with caplog.at_level(logging.WARNING, logger="stlearnkit"):
            sections = tutorial_stack()
            other = tutorial_other_patient()
        assert caplog.messages == []
        assert [section.name for section in sections] == ["C2", "C3", "C4", "C5", "C6"]
        assert (other.name, other.patient) == ("B4", "B")
        assert all(is_real(section) for section in [*sections, other])


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "n_spots", "n_strays"),
    [("MOB1", 379, 11), ("MOB2", 407, 8), ("MOB3", 438, 11)],
)
def test_mob2k(name: str, n_spots: int, n_strays: int):
    section = mob2k(name)
    assert (section.n_spots, section.n_genes) == (n_spots, 1_000)
    assert section.slide is not None
    assert (section.slide.width, section.slide.height) == (1905, 1905)
    assert section.mpp == pytest.approx(4.386, rel=0.001)
    assert section.adata.var_names.str.fullmatch(r"ENSMUSG\d{11}\.\d+").all()
    assert len(section.adata.uns["provenance"]["counts_without_spots"]) == n_strays
    # The next spot is half a cell along each axis: 141 um, if the image is to scale.
    distances = np.linalg.norm(section.coords_um[:, None] - section.coords_um, axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.median(distances.min(axis=0)) == pytest.approx(141, rel=0.02)
