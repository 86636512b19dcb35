"""Collections that a reader fetches: DLPFC, ST-Data, HEST-1k, in published layouts."""

import gzip
import json
import os
from pathlib import Path

import layouts
import numpy as np
import pandas as pd
import pytest
import tifffile

from stlearnkit.conventions import SectionError
from stlearnkit.datasets import dlpfc, hest, is_real, st_data


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder."""
    monkeypatch.setenv("STLEARNKIT_DATA", str(tmp_path))
    return tmp_path


# --- ST-Data -------------------------------------------------------------------------


def test_st_data_by_hand(data):
    layouts.write_st_data(data / "st_data")
    section = st_data("BC23287_C1")
    assert (section.name, section.patient) == ("BC23287_C1", "BC23287")
    assert list(section.adata.obs_names) == ["2x1", "3x1", "2x2"]
    assert section.coords_px.tolist() == [[250, 130], [350, 130], [250, 230]]
    assert section.mpp == pytest.approx(2.0)
    genes = ["ENSG00000000419", "ENSG00000000003"]
    assert section.counts(genes).tolist() == [[0, 3], [5, 0], [1, 4]]
    labels = section.adata.obs["label"]
    assert labels.iloc[:2].tolist() == ["tumor", "non"]
    assert labels.isna().tolist() == [False, False, True]
    assert section.adata.obs["array_col"].tolist() == [2, 3, 2]
    record = section.adata.uns["provenance"]
    assert record["subtype"] == "HER2_luminal"
    assert record["counts_without_spots"] == ["9x9"]
    assert section.slide.width == layouts.WIDTH
    assert is_real(section)
    assert st_data("BC23287_C1", image=False).slide is None


def test_st_data_that_is_not_there_says_how_to_get_it(data):
    with pytest.raises(
        FileNotFoundError, match=r"metadata\.csv is not in .*once from https"
    ):
        st_data("BC23287_C1")
    layouts.write_st_data(data / "st_data")
    with pytest.raises(ValueError, match=r"'A1', but ST-Data .* one of: BC23287_C1"):
        st_data("A1")


def test_st_data_whose_table_leads_elsewhere(data):
    path = layouts.write_st_data(data / "st_data") / "metadata.csv"
    path.write_text(path.read_text().replace("HE_BT", "../HE_BT"))
    with pytest.raises(ValueError, match=r"names the file '\.\./HE_BT.*without fol"):
        st_data("BC23287_C1")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "BC23287_C1_Coords.tsv.gz",
            "\tL2",
            "",
            r"lines of \[4, 5\] columns",
        ),
        (
            "BC23287_C1_Coords.tsv.gz",
            "3_1\t2.98",
            "3_1\t2.1",
            "1 spots stand more than",
        ),
        ("BC23287_C1_Coords.tsv.gz", "2.98", "far", "first 'far' of column 'x'"),
        ("spots_BT23287_C1.csv.gz", "3x1", "3-1", "first 'nan' of column 'x' in row 2"),
        ("spots_BT23287_C1.csv.gz", "3x1", "2x1", "1 spots stand more than once"),
        ("spots_BT23287_C1.csv.gz", "Y", "Z", r"\['Y'\] missing"),
    ],
)
def test_st_data_whose_tables_are_damaged(data, file, old, new, message):
    path = layouts.write_st_data(data / "st_data") / file
    text = gzip.decompress(path.read_bytes()).decode()
    assert old in text
    path.write_bytes(gzip.compress(text.replace(old, new, 1).encode()))
    with pytest.raises(ValueError, match=message):
        st_data("BC23287_C1")


def test_st_data_whose_list_breaks_off(data):
    path = layouts.write_st_data(data / "st_data") / "metadata.csv"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(ValueError, match=r"metadata\.csv has rows that break off"):
        st_data("BC23287_C1")


# --- HEST-1k -------------------------------------------------------------------------


@pytest.mark.parametrize("tables", ["st", "adata"])
def test_hest_by_hand(tmp_path, tables):
    layouts.write_hest(tmp_path, tables=tables)
    section = hest("TENX99", tmp_path)
    assert (section.name, section.patient) == ("TENX99", "Patient 1")
    assert section.coords_um.tolist() == [[50, 100], [150, 200]]
    assert section.counts(["ERBB2", "TP53"]).tolist() == [[0, 3], [2, 1]]
    assert section.slide.downsamples == (1.0, 2.0)
    whole = tifffile.imread(tmp_path / "wsis" / "TENX99.tif")
    np.testing.assert_array_equal(section.slide.crop(9, 5, 30, 20), whole[5:25, 9:39])
    scale = section.adata.uns["spatial"]["TENX99"]["scalefactors"]
    assert scale["spot_diameter_fullres"] == 110
    assert section.adata.uns["provenance"]["organ"] == "Breast"
    assert is_real(section)
    without = hest("TENX99", tmp_path, image=False)
    assert without.slide is None
    assert without.mpp == 0.5


@pytest.mark.parametrize("patient", [None, "", float("nan")])
def test_hest_without_a_patient_is_one_of_its_own(tmp_path, patient):
    folder = layouts.write_hest(tmp_path)
    change(folder / "metadata" / "TENX99.json", patient=patient)
    assert hest("TENX99", folder, image=False).patient == "TENX99"


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_hest_name_leads_elsewhere(tmp_path):
    with pytest.raises(ValueError, match=r"name is '\.\./TENX99', expected the id"):
        hest("../TENX99", tmp_path)


@pytest.mark.parametrize("mpp", [None, "0.5", 0, -1, True, float("nan")])
def test_hest_without_a_scale(tmp_path, mpp):
    folder = layouts.write_hest(tmp_path)
    change(folder / "metadata" / "TENX99.json", pixel_size_um_estimated=mpp)
    with pytest.raises(ValueError, match="states pixel_size_um_estimated"):
        hest("TENX99", folder)


def test_hest_without_places(tmp_path):
    import anndata

    folder = layouts.write_hest(tmp_path)
    path = folder / "st" / "TENX99.h5ad"
    adata = anndata.read_h5ad(path)
    del adata.obsm["spatial"]
    adata.write_h5ad(path)
    with pytest.raises(SectionError, match=r"has no obsm\['spatial'\], expected"):
        hest("TENX99", folder)


# --- DLPFC ---------------------------------------------------------------------------


def test_dlpfc_unknown_section():
    with pytest.raises(ValueError, match=r"'151511', but DLPFC .* 151507, .* 151676"):
        dlpfc("151511")


def test_dlpfc_counts_have_to_be_fetched(data):
    with pytest.raises(
        FileNotFoundError,
        match=r"h5/151507_filtered.* is not in .*amazonaws\.com/h5/151507_filtered",
    ):
        dlpfc("151507")


@pytest.mark.real_data
class TestDlpfc:
    """Real positions, layers, nuclei and images, with counts that are made up."""

    @pytest.fixture
    def barcodes(self, tmp_path, monkeypatch):
        real = Path(os.environ["STLEARNKIT_DATA"]) / "dlpfc"
        (tmp_path / "dlpfc").mkdir()
        monkeypatch.setenv("STLEARNKIT_DATA", str(tmp_path))
        return layouts.write_dlpfc(tmp_path / "dlpfc", real)

    def test_low_resolution(self, barcodes):
        section = dlpfc("151673", image="lowres")
        assert (section.name, section.patient) == ("151673", "Br8100")
        assert list(section.adata.obs_names) == barcodes
        assert (section.slide.width, section.slide.height) == (600, 600)
        # Visium's pitch of 100 µm is 6.22 px of this image.
        assert 100 / section.mpp == pytest.approx(6.22, rel=2e-3)
        assert set(section.adata.obs["label"].cat.categories) == {
            *(f"L{number}" for number in range(1, 7)),
            "WM",
        }
        assert (section.adata.obs["n_nuclei"] >= 0).all()
        assert is_real(section)

    def test_places_are_those_of_the_table(self, barcodes, tmp_path):
        section = dlpfc("151673", image=None)
        assert section.mpp == pytest.approx(0.7235, rel=2e-3)
        path = tmp_path / "dlpfc/10X/151673/tissue_positions_list.txt"
        table = pd.read_csv(path, header=None, index_col=0).loc[barcodes]
        np.testing.assert_array_equal(section.coords_px, table[[5, 4]])
        np.testing.assert_array_equal(section.adata.obs["array_row"], table[2])

    @pytest.mark.usefixtures("barcodes")
    def test_full_image_has_to_be_fetched(self):
        with pytest.raises(FileNotFoundError, match=r"images/151673_full_image\.tif"):
            dlpfc("151673")

    @pytest.mark.usefixtures("barcodes")
    def test_unknown_image(self, unchecked):
        with pytest.raises(ValueError, match=r"image is 'tiny', expected one of \["):
            dlpfc("151673", image="tiny")
