"""Tests of `_arrays`: tables small enough to settle by hand."""

import gzip
import logging
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stlearnkit._arrays import (
    PROVENANCE,
    assemble,
    read_counts,
    read_labels,
    read_spots,
    spot_names,
)
from stlearnkit.conventions import SectionError
from stlearnkit.sections import Section

COUNTS = """\
\tTP53\tCOG8\tCOG8.1\tAC1.2\tTP53
2x1\t1\t2\t3\t4\t5
9x9\t1\t1\t1\t1\t1
1x1\t0\t7\t0\t0\t2
1x2\t6\t0\t0\t9\t0
"""

# One step is 50 px along x and 200 px along y: a cell of 100 px x 100 px in area.
# 2x2 is out of tissue, 3x1 has no counts.
SPOTS = """\
x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected
1\t1\t1.1\t1.0\t65\t240\t1
2\t1\t2.0\t0.9\t110\t220\t1
1\t2\t1.0\t2.0\t60\t440\t1
2\t2\t2.0\t2.0\t110\t440\t0
3\t1\t3.0\t1.0\t160\t240\t1
"""

LABELS = """\
Row.names\tx\ty\tlabel
a\t0.8\t2.1\tfat
b\t1.2\t0.9\ttumour
c\t\t\tfat
"""


@pytest.fixture
def counts(tmp_path: Path) -> pd.DataFrame:
    path = tmp_path / "counts.tsv.gz"
    path.write_bytes(gzip.compress(COUNTS.encode()))
    return read_counts(path)


@pytest.fixture
def spots(tmp_path: Path) -> pd.DataFrame:
    path = tmp_path / "spots.tsv"
    path.write_text(SPOTS)
    return read_spots(path)


def build(
    counts: pd.DataFrame, spots: pd.DataFrame, image: Path | None = None
) -> Section:
    return assemble(
        counts, spots, image, name="T1", patient="T", dataset="toy", step_um=200.0
    )


def test_count_tables_are_read_as_they_stand(counts: pd.DataFrame):
    assert list(counts.columns) == ["TP53", "COG8", "COG8.1", "AC1.2", "TP53"]
    assert list(counts.index) == ["2x1", "9x9", "1x1", "1x2"]
    assert counts.loc["2x1"].tolist() == [1, 2, 3, 4, 5]


def test_plain_and_compressed_tables_read_alike(tmp_path: Path, counts: pd.DataFrame):
    (tmp_path / "counts.tsv").write_text(COUNTS)
    pd.testing.assert_frame_equal(read_counts(tmp_path / "counts.tsv"), counts)


def test_spots_are_named_by_their_place():
    table = pd.DataFrame({"x": [9.4, 10.0], "y": [26.938, 7.0]})
    assert list(spot_names(table)) == ["9x27", "10x7"]


def test_tissue_spots_with_counts_are_kept_in_order(
    counts: pd.DataFrame, spots: pd.DataFrame
):
    section = build(counts, spots)
    assert list(section.adata.obs_names) == ["1x1", "2x1", "1x2"]
    assert section.coords_px.tolist() == [[65, 240], [110, 220], [60, 440]]
    assert section.adata.obs["array_row"].tolist() == [1, 1, 2]
    assert section.adata.obs["array_col"].tolist() == [1, 2, 1]
    assert section.adata.obs["in_tissue"].tolist() == [1, 1, 1]


def test_columns_of_one_gene_are_added_up(counts: pd.DataFrame, spots: pd.DataFrame):
    section = build(counts, spots)
    # AC1.2 stays: there is no AC1, so .2 is part of its name.
    assert list(section.adata.var_names) == ["TP53", "COG8", "AC1.2"]
    assert section.counts(["TP53", "COG8", "AC1.2"]).tolist() == [
        [2, 7, 0],
        [6, 5, 4],
        [6, 0, 9],
    ]


def test_versions_are_part_of_a_name_where_nothing_is_doubled(
    counts: pd.DataFrame, spots: pd.DataFrame
):
    counts.columns = [f"ENSMUSG0000000000{digit}.1" for digit in range(5)]
    section = build(counts, spots)
    assert list(section.adata.var_names) == list(counts.columns)
    assert section.adata.uns[PROVENANCE]["doubled_genes"] == []


def test_adding_up_does_not_touch_the_table(counts: pd.DataFrame, spots: pd.DataFrame):
    before = counts.copy()
    build(counts, spots)
    pd.testing.assert_frame_equal(counts, before)


def test_what_was_settled_is_recorded_and_logged(
    counts: pd.DataFrame, spots: pd.DataFrame, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, logger="stlearnkit"):
        section = build(counts, spots)
    assert section.adata.uns[PROVENANCE] == {
        "dataset": "toy",
        "spots_without_counts": ["3x1"],
        "counts_without_spots": ["9x9"],
        "spots_out_of_tissue": ["2x2"],
        "doubled_genes": ["COG8", "TP53"],
    }
    assert caplog.messages == [
        "toy T1: 1 spots without counts, 1 counts without spots, "
        "1 spots out of tissue, 2 doubled genes"
    ]


def test_scale_comes_from_the_area_of_a_cell(counts: pd.DataFrame, spots: pd.DataFrame):
    section = build(counts, spots)
    assert section.mpp == pytest.approx(200 / (50 * 200) ** 0.5)
    scales = section.adata.uns["spatial"]["T1"]["scalefactors"]
    assert scales["spot_diameter_fullres"] == pytest.approx(50)


def test_scale_is_the_same_with_an_image(
    tmp_path: Path, counts: pd.DataFrame, spots: pd.DataFrame
):
    Image.new("RGB", (200, 500), "white").save(tmp_path / "image.png")
    section = build(counts, spots, tmp_path / "image.png")
    assert section.slide is not None
    assert (section.slide.width, section.slide.height) == (200, 500)
    assert section.mpp == build(counts, spots).mpp


def test_labels_join_by_rounded_place(
    tmp_path: Path, counts: pd.DataFrame, spots: pd.DataFrame
):
    (tmp_path / "labels.tsv").write_text(LABELS)
    spots["label"] = read_labels(tmp_path / "labels.tsv")
    section = build(counts, spots)
    labels = section.adata.obs["label"]
    assert labels["1x1"] == "tumour"
    assert labels["1x2"] == "fat"
    assert pd.isna(labels["2x1"])


def test_record_survives_a_file(
    tmp_path: Path, counts: pd.DataFrame, spots: pd.DataFrame
):
    build(counts, spots).adata.write_h5ad(tmp_path / "section.h5ad")
    record = anndata.read_h5ad(tmp_path / "section.h5ad").uns[PROVENANCE]
    assert list(record["doubled_genes"]) == ["COG8", "TP53"]
    np.testing.assert_array_equal(record["spots_without_counts"], ["3x1"])


def test_tables_of_different_arrays_are_refused(
    counts: pd.DataFrame, spots: pd.DataFrame
):
    counts.index = [f"{spot}_2" for spot in counts.index]
    with pytest.raises(SectionError, match="the section has no spots"):
        build(counts, spots)


def test_spots_on_one_line_give_no_scale(counts: pd.DataFrame, spots: pd.DataFrame):
    with pytest.raises(ValueError, match="points lie on one line"):
        build(counts, spots.assign(new_y=1.0))
