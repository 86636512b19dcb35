"""Sections of a user's own: Visium, Visium HD and SpatialData, in published layouts."""

import json

import layouts
import numpy as np
import pandas as pd
import pytest
import spatialdata
import toys
from scipy import sparse
from spatialdata.models import Image2DModel, ShapesModel, TableModel
from spatialdata.transformations import Identity, Scale

from stlearnkit.conventions import SectionError
from stlearnkit.sections import (
    Section,
    read_spatialdata,
    read_visium,
    read_visium_hd,
)

KEPT = [
    barcode
    for number, barcode in enumerate(layouts.BARCODES)
    if number != layouts.OUT_OF_TISSUE
]


@pytest.fixture
def outs(tmp_path):
    return layouts.write_visium(tmp_path / "T1" / "outs")


# --- Visium --------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_visium_by_hand(tmp_path, version):
    folder = layouts.write_visium(tmp_path / "T1" / "outs", version=version)
    section = read_visium(folder, patient="P", image=folder.parent / "full.tif")
    assert (section.name, section.patient) == ("T1", "P")
    assert list(section.adata.obs_names) == KEPT
    assert section.mpp == pytest.approx(0.5, rel=1e-3)
    assert section.coords_px[0].tolist() == [60, 50]
    assert section.coords_px[3].tolist() == [160, 223]
    spot = section.adata.obs.loc[KEPT[3]]
    assert (spot["array_row"], spot["array_col"], spot["in_tissue"]) == (1, 1, 1)
    assert section.slide.crop(0, 0, 5, 5).tolist() == layouts.PIXELS[:5, :5].tolist()
    diameter = section.adata.uns["spatial"]["T1"]["scalefactors"]
    assert diameter["spot_diameter_fullres"] == pytest.approx(110, rel=1e-3)


def test_genes_of_one_symbol_are_added_up_and_antibodies_left_out(outs):
    section = read_visium(outs, patient="P")
    assert list(section.adata.var_names) == ["TP53", "ERBB2", "CD3E"]
    expected = np.delete(layouts.MATRIX, layouts.OUT_OF_TISSUE, axis=0)
    np.testing.assert_array_equal(
        section.counts(["CD3E", "TP53"]),
        np.column_stack([expected[:, 3], expected[:, 0] + expected[:, 2]]),
    )
    assert section.adata.uns["provenance"]["doubled_genes"] == ["TP53"]


def test_what_does_not_match_is_left_out_and_recorded(outs):
    barcodes = [*layouts.BARCODES]
    barcodes[0] = "GGGG-1"
    layouts.write_tenx(outs / "filtered_feature_bc_matrix.h5", barcodes=barcodes)
    section = read_visium(outs, patient="P", name="other")
    record = section.adata.uns["provenance"]
    assert list(section.adata.obs_names) == KEPT[1:]
    assert section.name == "other"
    assert record["spots_without_counts"] == [layouts.BARCODES[0]]
    assert record["counts_without_spots"] == ["GGGG-1"]
    assert record["counts_out_of_tissue"] == [layouts.BARCODES[layouts.OUT_OF_TISSUE]]


@pytest.mark.parametrize(("size", "factor"), [("hires", 0.5), ("lowres", 0.25)])
def test_smaller_copy_as_slide_brings_the_spots_along(outs, size, factor):
    image = outs / "spatial" / f"tissue_{size}_image.png"
    section = read_visium(outs, patient="P", image=image)
    assert section.slide.width == layouts.WIDTH * factor
    assert section.coords_px[3].tolist() == [160 * factor, 223 * factor]
    assert section.mpp == pytest.approx(0.5 / factor, rel=1e-3)
    assert section.coords_um[0].tolist() == pytest.approx([30, 25], rel=1e-3)


def test_without_image_the_copies_are_where_scanpy_looks(outs):
    section = read_visium(outs, patient="P")
    assert section.slide is None
    assert section.mpp == pytest.approx(0.5, rel=1e-3)
    slot = section.adata.uns["spatial"]["T1"]
    assert slot["images"]["hires"].shape == (320, 400, 3)
    assert slot["images"]["lowres"].shape == (160, 200, 3)
    assert slot["scalefactors"]["tissue_hires_scalef"] == 0.5


def test_folder_without_copies_is_read_as_well(outs):
    for copy in outs.glob("spatial/*.png"):
        copy.unlink()
    section = read_visium(outs, patient="P")
    assert section.adata.uns["spatial"]["T1"]["images"] == {}


def test_a_run_that_has_another_folder_name(tmp_path):
    folder = layouts.write_visium(tmp_path / "slide A1")
    assert read_visium(folder, patient="P").name == "slide A1"


def test_what_is_no_folder_of_space_ranger(tmp_path, outs):
    with pytest.raises(FileNotFoundError, match=r"no spatial/tissue_positions\* in"):
        read_visium(tmp_path, patient="P")
    (outs / "spatial" / "scalefactors_json.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no scale factors at .*json\. Give"):
        read_visium(outs, patient="P")
    (outs / "filtered_feature_bc_matrix.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"no counts at .*h5"):
        read_visium(outs, patient="P")


def test_counts_of_another_run(outs):
    barcodes = [f"N{number}" for number in range(len(layouts.PLACES))]
    layouts.write_tenx(outs / "filtered_feature_bc_matrix.h5", barcodes=barcodes)
    with pytest.raises(SectionError, match=r"none of 14 barcodes of .*first \['N0'\]"):
        read_visium(outs, patient="P")


def test_swapped_columns_are_no_lattice(outs):
    path = outs / "spatial" / "tissue_positions.csv"
    head, *lines = path.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    swapped = [",".join([a, b, d, c, e, f]) for a, b, c, d, e, f in rows]
    path.write_text("\n".join([head, *swapped]))
    with pytest.raises(SectionError, match="14 spots do not lie on the lattice"):
        read_visium(outs, patient="P")


def test_spots_on_one_line_have_no_scale(outs):
    path = outs / "spatial" / "tissue_positions.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    with pytest.raises(SectionError, match="its spots give no scale"):
        read_visium(outs, patient="P")


@pytest.mark.parametrize("factor", [None, 0, 1.5, "0.5"])
def test_copy_whose_scale_is_not_stated(outs, factor):
    stated = layouts.FACTORS | {"tissue_hires_scalef": factor}
    (outs / "spatial" / "scalefactors_json.json").write_text(json.dumps(stated))
    with pytest.raises(ValueError, match=r"states tissue_hires_scalef .*, expected a"):
        read_visium(
            outs, patient="P", image=outs / "spatial" / "tissue_hires_image.png"
        )


# --- Visium HD -----------------------------------------------------------------------


def test_visium_hd_by_hand(tmp_path):
    folder = layouts.write_visium_hd(tmp_path / "HD1" / "outs")
    section = read_visium_hd(folder, patient="P")
    assert (section.name, section.n_spots) == ("HD1", 20)
    assert section.mpp == 0.5
    assert section.coords_px[7].tolist() == [30.5 + 2 * 16, 40.25 + 16]
    assert section.adata.obs_names[7] == "s_008um_00001_00002-1"
    scale = section.adata.uns["spatial"]["HD1"]["scalefactors"]
    assert scale["spot_diameter_fullres"] == 16


def test_bins_of_a_size_that_is_not_there(tmp_path):
    folder = layouts.write_visium_hd(tmp_path / "outs", bin_um=16)
    assert read_visium_hd(folder, patient="P", bin_um=16).mpp == 1.0
    with pytest.raises(FileNotFoundError, match=r"bin_um is 8, .*\['square_016um'\]"):
        read_visium_hd(folder, patient="P")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bin_size_um": 16.0}, ValueError, "states bin_size_um 16.0"),
        ({"microns_per_pixel": None}, ValueError, "microns_per_pixel None, expected"),
        (
            {"microns_per_pixel": 0.25},
            SectionError,
            "states 0.2500 µm per px, but",
        ),
    ],
)
def test_hd_whose_files_contradict_each_other(tmp_path, change, error, message):
    folder = layouts.write_visium_hd(tmp_path / "outs")
    path = next(folder.rglob("scalefactors_json.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(error, match=message):
        read_visium_hd(folder, patient="P")


# --- SpatialData ---------------------------------------------------------------------


quiet = pytest.mark.filterwarnings(
    "ignore:zarr v3 autosharding:UserWarning", "ignore:.*Scaler:DeprecationWarning"
)


def foreign(**parts):
    """Return what a reader of spatialdata-io would: table, circles and image."""
    table = {
        "region": pd.Categorical(["spots"] * 4),
        "number": np.array([3, 1, 0, 2]),
        "array_row": [1, 1, 0, 0],
    }
    adata = toys.section().adata[[3, 1, 0, 2]].copy()
    adata = type(adata)(
        sparse.csr_matrix(adata.X),
        obs=pd.DataFrame(table, index=["d", "b", "a", "c"]),
        var=adata.var,
    )
    centres = np.array([[6.0, 5.0], [16.0, 5.0], [6.0, 15.0], [16.0, 15.0]])
    elements = {
        "spots": ShapesModel.parse(
            centres,
            geometry=0,
            radius=2.0,
            transformations={"global": Scale([10, 10], axes=("x", "y"))},
        ),
        "table": TableModel.parse(
            adata, region="spots", region_key="region", instance_key="number"
        ),
        "image": Image2DModel.parse(
            np.moveaxis(layouts.PIXELS[:240, :300], 2, 0),
            dims=("c", "y", "x"),
            scale_factors=[2],
            transformations={"global": Identity()},
        ),
    }
    return spatialdata.SpatialData.init_from_elements(elements | parts)


@quiet
def test_own_store_comes_back_as_it_was(tmp_path):
    section = toys.section()
    section.to_spatialdata().write(tmp_path / "a.zarr")
    back = read_spatialdata(tmp_path / "a.zarr")
    assert (back.name, back.patient, back.mpp) == ("toy", "P", 2.0)
    np.testing.assert_array_equal(back.coords_px, section.coords_px)
    np.testing.assert_array_equal(
        back.slide.crop(0, 0, 300, 240), section.slide.crop(0, 0, 300, 240)
    )


@quiet
def test_store_of_others_by_hand(tmp_path):
    foreign().write(tmp_path / "a.zarr")
    section = read_spatialdata(tmp_path / "a.zarr", patient="P", mpp=0.5)
    assert isinstance(section, Section)
    assert (section.name, section.patient, section.mpp) == ("spots", "P", 0.5)
    assert list(section.adata.obs_names) == ["d", "b", "a", "c"]
    assert section.coords_px.tolist() == [[160, 150], [160, 50], [60, 50], [60, 150]]
    assert section.counts(toys.GENES)[0].tolist() == [1, 1, 9]
    assert section.slide.downsamples == (1.0, 2.0)
    np.testing.assert_array_equal(
        section.slide.crop(7, 3, 20, 10), layouts.PIXELS[3:13, 7:27]
    )
    scale = section.adata.uns["spatial"]["spots"]["scalefactors"]
    assert scale["spot_diameter_fullres"] == pytest.approx(40)


@quiet
def test_store_of_others_needs_what_it_does_not_say(tmp_path):
    foreign().write(tmp_path / "a.zarr")
    with pytest.raises(SectionError, match=r"patient is 'P', mpp None\. Give both"):
        read_spatialdata(tmp_path / "a.zarr", patient="P")
    with pytest.raises(SectionError, match=r"image is 'x', but .* images \['image'\]"):
        read_spatialdata(tmp_path / "a.zarr", patient="P", mpp=0.5, image="x")


@quiet
def test_store_without_a_shared_coordinate_system(tmp_path):
    apart = Image2DModel.parse(
        np.zeros((3, 240, 300), np.uint8), transformations={"other": Identity()}
    )
    foreign(image=apart).write(tmp_path / "a.zarr")
    with pytest.raises(SectionError, match="share no coordinate system"):
        read_spatialdata(tmp_path / "a.zarr", patient="P", mpp=0.5)


@quiet
def test_table_about_shapes_that_are_not_there(tmp_path):
    data = foreign()
    data.tables["table"].obs["number"] = [3, 1, 0, 7]
    data.write(tmp_path / "a.zarr")
    with pytest.raises(SectionError, match=r"1 of 4 rows .* does not have, first '7'"):
        read_spatialdata(tmp_path / "a.zarr", patient="P", mpp=0.5)


@quiet
def test_table_about_nothing(tmp_path):
    data = foreign()
    del data.tables["table"]
    data.tables["table"] = TableModel.parse(toys.section().adata)
    data.write(tmp_path / "a.zarr")
    with pytest.raises(SectionError, match=r"is about \[\], expected the shapes"):
        read_spatialdata(tmp_path / "a.zarr", patient="P", mpp=0.5)
