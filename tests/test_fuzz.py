"""Files that are not what they should be: each is refused in the library's own words.

Every file a reader may be given is damaged in every way below. Whatever happens, none
of it is run, and the folder holds afterwards what it held before.
"""

import gzip
import io
import json
import pickle
import shutil
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import h5py
import layouts
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import tifffile
import torch
import toys
from PIL import Image

import stlearnkit
from stlearnkit import _store, _tables, geometry
from stlearnkit._arrays import read_counts, read_labels, read_spots
from stlearnkit._weights import load_network
from stlearnkit.boundaries._read import draw_polygons, read_image
from stlearnkit.course._source import _cells as read_cells
from stlearnkit.datasets import hest, st_data
from stlearnkit.geometry import Affine2D
from stlearnkit.sections import read_spatialdata, read_visium, read_visium_hd
from stlearnkit.slides import Slide
from stlearnkit.training._runs import WEIGHTS, load_weights

PACKAGE = str(Path(stlearnkit.__file__).parent)
COUNTS = "\tTP53\tERBB2\n1x1\t3\t0\n2x1\t0\t5\n"
SPOTS = (
    "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n"
    "1\t1\t1.0\t1.0\t60\t50\t1\n2\t1\t2.0\t1.0\t160\t50\t1\n"
)
LABELS = "Row.names\tx\ty\tlabel\na\t1\t1\tfat\nb\t2\t1\ttumour\n"
SQUARE = [[[1, 1], [9, 1], [9, 9], [1, 9], [1, 1]]]
FEATURE = {"geometry": {"type": "Polygon", "coordinates": SQUARE}}
GEOJSON = {"type": "FeatureCollection", "features": [FEATURE]}
CELL = {"cell_type": "code", "source": ["1"], "metadata": {}}
NOTEBOOK = {"cells": [CELL], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
NETWORK = {
    "architecture": "test_resnet",
    "pretrained_cfg": {"input_size": [3, 96, 96], "num_classes": 0},
}


# --- What can be read ----------------------------------------------------------------


@dataclass
class Readable:
    """A good file, and how it is read."""

    path: Path
    read: Callable[[], Any]


def text_file(name: str, text: str, read: Callable[[Path], Any]):
    """Return what writes a file of text and reads it."""

    def make(folder: Path) -> Readable:
        path = folder / name
        content = text.encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return Readable(path, lambda: read(path))

    return make


def visium(name: str):
    def make(folder: Path) -> Readable:
        outs = layouts.write_visium(folder / "outs")
        return Readable(outs / name, lambda: read_visium(outs, patient="P"))

    return make


def visium_hd(name: str):
    def make(folder: Path) -> Readable:
        outs = layouts.write_visium_hd(folder / "outs")
        inside = outs / "binned_outputs/square_008um"
        return Readable(inside / name, lambda: read_visium_hd(outs, patient="P"))

    return make


def hest_file(name: str, *, image: bool = False):
    def make(folder: Path) -> Readable:
        layouts.write_hest(folder)
        return Readable(folder / name, lambda: hest("TENX99", folder, image=image))

    return make


def st_file(name: str):
    def make(folder: Path) -> Readable:
        inside = layouts.write_st_data(folder / "st_data")
        return Readable(inside / name, lambda: st_data("BC23287_C1", image=False))

    return make


def image_file(name: str):
    def make(folder: Path) -> Readable:
        path = folder / name
        image = Image.fromarray(layouts.PIXELS[:64, :64])
        image.save(path)
        return Readable(path, lambda: Slide.open(path).crop(0, 0, 64, 64))

    return make


def tiff_file(folder: Path) -> Readable:
    path = folder / "a.tif"
    pixels = layouts.PIXELS[:64, :64]
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(32, 32), software="")
    return Readable(path, lambda: Slide.open(path).crop(0, 0, 64, 64))


def map_file(name: str):
    def make(folder: Path) -> Readable:
        path = folder / name
        Image.fromarray(layouts.PIXELS[:64, :64, 0]).save(path)
        return Readable(path, lambda: read_image(path))

    return make


def transform_file(folder: Path) -> Readable:
    path = folder / "a.json"
    geometry.save(Affine2D.identity("a", "b"), path)
    return Readable(path, lambda: geometry.load(path))


def itk_file(folder: Path) -> Readable:
    path = folder / "a.tfm"
    geometry.write_itk(Affine2D.rigid(3, source="a", target="b"), path)
    return Readable(path, lambda: geometry.read_itk(path, source="a", target="b"))


def weights_file(folder: Path) -> Readable:
    model = torch.nn.Linear(2, 2)
    safetensors.torch.save_file(model.state_dict(), folder / WEIGHTS)
    return Readable(folder / WEIGHTS, lambda: load_weights(model, folder))


def network_file(name: str):
    def make(folder: Path) -> Readable:
        network = load_network("test_resnet", pretrained=False)
        safetensors.torch.save_file(network.state_dict(), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(NETWORK))
        return Readable(folder / name, lambda: load_network(f"local-dir:{folder}"))

    return make


def zarr_file(folder: Path) -> Readable:
    source = folder / "a.zarr"
    shutil.copytree(STORES["own"], source)
    return Readable(source / "zarr.json", lambda: read_spatialdata(source))


STORES: dict[str, Path] = {}


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory):
    """A zarr store, written once."""
    import warnings

    STORES["own"] = tmp_path_factory.mktemp("stores") / "a.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        toys.section().to_spatialdata().write(STORES["own"])


READABLE = {
    "counts": text_file("a.tsv", COUNTS, read_counts),
    "packed counts": text_file("a.tsv.gz", COUNTS, read_counts),
    "spots": text_file("a.tsv", SPOTS, read_spots),
    "labels": text_file("a.tsv", LABELS, read_labels),
    "Visium positions": visium("spatial/tissue_positions.csv"),
    "Visium counts": visium("filtered_feature_bc_matrix.h5"),
    "HD positions": visium_hd("spatial/tissue_positions.parquet"),
    "HD scales": visium_hd("spatial/scalefactors_json.json"),
    "HEST table": hest_file("st/TENX99.h5ad"),
    "HEST metadata": hest_file("metadata/TENX99.json"),
    "HEST slide": hest_file("wsis/TENX99.tif", image=True),
    "ST-Data metadata": st_file("metadata.csv"),
    "ST-Data spots": st_file("spots_BT23287_C1.csv.gz"),
    "ST-Data counts": st_file("BC23287_C1_stdata.tsv.gz"),
    "ST-Data labels": st_file("BC23287_C1_Coords.tsv.gz"),
    "JPEG": image_file("a.jpg"),
    "PNG": image_file("a.png"),
    "TIFF": tiff_file,
    "PNG map": map_file("a.png"),
    "TIFF map": map_file("a.tif"),
    "polygons": text_file(
        "a.geojson",
        json.dumps(GEOJSON),
        lambda path: draw_polygons(path, (20, 20), 1.0),
    ),
    "transform": transform_file,
    "ITK transform": itk_file,
    "weights": weights_file,
    "encoder": network_file("model.safetensors"),
    "encoder settings": network_file("config.json"),
    "notebook": text_file("a.ipynb", json.dumps(NOTEBOOK), read_cells),
    "zarr store": zarr_file,
}


# --- What can be wrong with it -------------------------------------------------------


class Payload:
    """What runs when it is unpickled: it makes a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


def zip_slip(content: bytes, folder: Path) -> bytes:
    """A zip archive with a file that would land outside."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../../ran", content)
    return packed.getvalue()


def object_array(content: bytes, folder: Path) -> bytes:
    """An array of NumPy with a pickled object."""
    packed = io.BytesIO()
    np.save(packed, np.array([Payload(folder)], object), allow_pickle=True)
    return packed.getvalue()


def torch_archive(content: bytes, folder: Path) -> bytes:
    """An archive of PyTorch with a pickled object."""
    packed = io.BytesIO()
    torch.save({"weight": Payload(folder)}, packed)
    return packed.getvalue()


WRONG: dict[str, Callable[[bytes, Path], bytes]] = {
    "of no bytes": lambda content, folder: b"",
    "cut in half": lambda content, folder: content[: len(content) // 2],
    "cut to 3 bytes": lambda content, folder: content[:3],
    "another text": lambda content, folder: b"hello\n" * 100,
    "a page of the web": lambda content, folder: b"<!DOCTYPE html><p>404, sorry</p>",
    "noise": lambda content, folder: np.random.default_rng(0).bytes(500),
    "UTF-16": lambda content, folder: content.decode("latin1").encode("utf-16"),
    "deep": lambda content, folder: b"[" * 200_000,
    "zip": zip_slip,
    "pickle": lambda content, folder: pickle.dumps(Payload(folder)),
    "npy of objects": object_array,
    "pt of objects": torch_archive,
}

# Half a table may be a table with fewer rows, which no reader can know.
MAY_BE_READ = {
    ("spots", "cut in half"),
    ("labels", "cut in half"),
    ("Visium positions", "cut in half"),
    ("ITK transform", "cut in half"),
    # JSON may be UTF-16 (RFC 7159).
    ("polygons", "UTF-16"),
    ("notebook", "UTF-16"),
    ("zarr store", "UTF-16"),
}


def listing(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def refusal(read: Callable[[], Any]) -> Exception | None:
    """Return the error of a reader, which must be raised by the library itself."""
    try:
        read()
    except (ValueError, FileNotFoundError) as raised:
        error = raised
    else:
        return None
    last = traceback.extract_tb(error.__traceback__)[-1]
    assert last.filename.startswith(PACKAGE), f"{last.filename}: {error!r}"
    return error


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("damage", WRONG)
@pytest.mark.parametrize("kind", READABLE)
def test_damaged_file_is_refused(tmp_path, monkeypatch, unchecked, kind, damage):
    monkeypatch.setenv("STLEARNKIT_DATA", str(tmp_path))
    good = READABLE[kind](tmp_path)
    good.path.write_bytes(WRONG[damage](good.path.read_bytes(), tmp_path / "ran"))
    before = listing(tmp_path)
    error = refusal(good.read)
    assert listing(tmp_path) == before
    if error is None:
        assert (kind, damage) in MAY_BE_READ
    else:
        message = str(error)
        assert good.path.name in message or tmp_path.name in message
        assert message.endswith(".")


@pytest.mark.parametrize("kind", READABLE)
def test_good_file_is_read(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("STLEARNKIT_DATA", str(tmp_path))
    assert refusal(READABLE[kind](tmp_path).read) is None


@pytest.mark.parametrize("kind", sorted({*READABLE} - {"zarr store", "notebook"}))
def test_missing_file_is_named(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("STLEARNKIT_DATA", str(tmp_path))
    good = READABLE[kind](tmp_path)
    good.path.unlink()
    assert isinstance(refusal(good.read), FileNotFoundError)


# --- Tables that look right ----------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3\t0", "3", r"the line of spot '1x1' holds '3'…, expected 2 counts"),
        ("3\t0", "3\t0\t1", "expected 2 counts, whole numbers"),
        ("3\t0", "3\tmany", r"holds '3\\tmany'…"),
        ("3\t0", "3\t-1", "expected 2 counts"),
        ("3\t0", "3\t0.5", "expected 2 counts"),
        ("3\t0", "3\tnan", "expected 2 counts"),
        ("3\t0", "3\tinf", "expected 2 counts"),
        ("3\t0", "3\t4294967297", "expected 2 counts"),
        ("\t0\n", "\t0\n\n", "the line of spot ''"),
        ("2x1", "1x1", r"1 spots stand more than once, first '1x1'"),
        (COUNTS, "\tTP53\n", "has 0 spots and 1 genes"),
        (COUNTS, "TP53\n1x1\n", "has 1 spots and 0 genes"),
    ],
)
def test_counts_that_are_none(tmp_path, old, new, message):
    path = tmp_path / "a.tsv"
    path.write_text(COUNTS.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_counts(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pixel_x", "px", r"expected .*: \['pixel_x'\] missing"),
        ("\t", ",", "missing. Check that it is the right file, and its separator"),
        ("\t160", "\tfar", "1 values of .* first 'far' of column 'pixel_x' in row 2"),
        ("\t160", "\t", "first 'nan' of column 'pixel_x' in row 2"),
        ("\t160", "\tinf", "first 'inf' of column 'pixel_x' in row 2"),
        ("2\t1\t2.0", "1\t1\t2.0", "1 spots stand more than once, first '1x1'"),
        (SPOTS.partition("\n")[2], "", "has no rows below its names"),
    ],
)
def test_spots_that_are_none(tmp_path, old, new, message):
    path = tmp_path / "a.tsv"
    path.write_text(SPOTS.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_spots(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("label", "what", r"\['label'\] missing"),
        ("b\t2", "b\tleft", "first 'left' of column 'x'"),
        ("b\t2", "b\t1", "1 spots stand more than once"),
    ],
)
def test_labels_that_are_none(tmp_path, old, new, message):
    path = tmp_path / "a.tsv"
    path.write_text(LABELS.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_labels(path)


def test_names_of_any_alphabet_are_kept(tmp_path):
    path = tmp_path / "größe.tsv"
    path.write_text(COUNTS.replace("TP53", "β-actin 遺伝子"))
    assert list(read_counts(path).columns) == ["β-actin 遺伝子", "ERBB2"]
    path.write_text("\ufeff" + LABELS.replace("fat", "Fettgewebe, weiß"), "utf-8")
    assert read_labels(path)["1x1"] == "Fettgewebe, weiß"


def test_lines_may_end_as_on_other_systems(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(COUNTS.replace("\n", "\r\n").encode())
    counts = read_counts(path)
    assert list(counts.columns) == ["TP53", "ERBB2"]
    assert counts.loc["2x1"].tolist() == [0, 5]


def test_table_that_bursts(tmp_path):
    path = tmp_path / "a.tsv.gz"
    with gzip.open(path, "wb", compresslevel=1) as packed:
        for _ in range(80):
            packed.write(bytes(2**20))
    with pytest.raises(ValueError, match=r"bytes and unpacks to 7\d,\d+,\d+ or more"):
        read_counts(path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("barcode", "s_008um_00000_00000-1", "barcodes stand more than once"),
        ("pxl_row_in_fullres", "far", "20 values of .* first 'far'"),
        ("array_col", np.nan, "20 values of .* first 'nan'"),
        ("array_col", 3, "its spots give no scale"),
        (None, None, "cannot be read as positions"),
    ],
)
def test_positions_of_hd_that_are_none(tmp_path, column, value, message):
    good = READABLE["HD positions"](tmp_path)
    table = pd.read_parquet(good.path)
    if column is None:
        table = table.drop(columns="in_tissue")
    else:
        table[column] = value
    table.to_parquet(good.path)
    with pytest.raises(ValueError, match=message):
        good.read()


# --- HDF5 ----------------------------------------------------------------------------


def without_barcodes(file):
    del file["matrix/barcodes"]


def doubled_barcodes(file):
    file["matrix/barcodes"][1] = file["matrix/barcodes"][0]


def barcodes_of_no_alphabet(file):
    file["matrix/barcodes"][...] = b"\xff\xfe"


def negative(file):
    file["matrix/data"][...] = -3


def fractions(file):
    data = file["matrix/data"][...] + 0.5
    del file["matrix/data"]
    file["matrix/data"] = data


def beyond_the_genes(file):
    file["matrix/indices"][...] = 10**6


def fewer_counts(file):
    data = file["matrix/data"][:3]
    del file["matrix/data"]
    file["matrix/data"] = data


def swapped(file):
    file["matrix/shape"][...] = file["matrix/shape"][:][::-1]


def bursting(file):
    del file["matrix/data"]
    file.create_dataset("matrix/data", (2**36,), "i4", chunks=True)


def another_format(file):
    file.move("matrix", "data")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_barcodes, "cannot be read: .*Expected counts as Space Ranger"),
        (doubled_barcodes, "barcodes stand more than once"),
        (barcodes_of_no_alphabet, "cannot be read: .*Expected counts"),
        (negative, "entries of .* are not counts, first: -"),
        (fractions, "entries of .* are not counts"),
        (beyond_the_genes, "cannot be read: .*Expected counts"),
        (fewer_counts, "cannot be read: .*Expected counts"),
        (swapped, "cannot be read: .*Expected counts"),
        (bursting, "and unpacks to 274,.* or more, expected"),
        (another_format, "cannot be read: .*Expected counts"),
    ],
)
def test_counts_of_visium_that_are_none(tmp_path, change, message):
    good = READABLE["Visium counts"](tmp_path)
    with h5py.File(good.path, "r+") as file:
        change(file)
    with pytest.raises(ValueError, match=message):
        good.read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda adata: adata.X.data.__imul__(0.3), "are not counts, first: 0."),
        (lambda adata: adata.X.data.__imul__(-1), "are not counts, first: -"),
        (
            lambda adata: adata.obsm.update(spatial=adata.obsm["spatial"][:, :1]),
            "has shape|cannot reshape|spot",
        ),
        (
            lambda adata: adata.obsm["spatial"].__imul__(np.nan),
            "2 of 2 spot centres are not finite",
        ),
        (
            lambda adata: adata.obsm["spatial"].__imul__(10.0),
            "2 of 2 spot centres lie outside the image",
        ),
        (lambda adata: setattr(adata, "obs_names", ["a", "a"]), "names are repeated"),
    ],
)
@pytest.mark.filterwarnings("ignore:Observation names are not unique:UserWarning")
def test_table_of_hest_that_is_none(tmp_path, unchecked, change, message):
    good = READABLE["HEST table"](tmp_path)
    adata = anndata.read_h5ad(good.path)
    change(adata)
    adata.write_h5ad(good.path)
    with pytest.raises(ValueError, match=message):
        hest("TENX99", tmp_path)


def test_sparse_counts_that_point_beyond_themselves():
    section = toys.section(image=False)
    counts = section.adata.X.copy()
    counts.indices[0] = 10**6
    with pytest.raises(ValueError, match="counts is a sparse matrix that is damaged"):
        type(section).build(
            counts,
            toys.GENES,
            list(section.adata.obs_names),
            section.coords_px,
            name="toy",
            patient="P",
        )


# --- Text and JSON -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.txt is empty, expected a text"),
        (b" \n\n", r"a\.txt is empty, expected a text"),
        ("größe".encode("latin1"), r"a\.txt is no text in UTF-8: .* at byte 2"),
    ],
)
def test_text_that_is_none(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        _tables.read_text(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "content",
    [b"text", gzip.compress(b"text" * 99, mtime=0)[:-9]],
    ids=["unpacked", "cut"],
)
def test_packed_text_that_is_damaged(tmp_path, content):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.gz is damaged or not complete"):
        _tables.read_text(tmp_path / "a.gz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"a\.json is no JSON"),
        ("[" * 200_000, r"a\.json is no JSON"),
        ("[1]", r"a\.json holds a list, expected names and values"),
    ],
)
def test_json_that_is_none(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        _tables.read_json(tmp_path / "a.json")


def test_table_with_lines_of_different_lengths(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n1,2,3,4\n")
    with pytest.raises(ValueError, match=r"a\.csv is no table: .*line 3"):
        _tables.read_table(tmp_path / "a.csv", ["a"], sep=",")


def test_table_without_names_of_another_width(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3\n")
    with pytest.raises(ValueError, match=r"has the columns 3, expected \['a', 'b'\]"):
        _tables.read_table(tmp_path / "a.csv", ["a", "b"], sep=",", header=False)


# --- Images --------------------------------------------------------------------------


def test_png_that_says_it_is_huge(tmp_path):
    good = READABLE["PNG"](tmp_path)
    content = bytearray(good.path.read_bytes())
    content[16:24] = (100_000).to_bytes(4, "big") * 2
    good.path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png cannot be read as an image"):
        good.read()


@pytest.mark.parametrize("read", [Slide.open, read_image])
def test_tiff_that_says_it_is_huge(tmp_path, read):
    path = tmp_path / "a.tif"
    kind = {"photometric": "rgb", "compression": "deflate"}
    tifffile.imwrite(path, layouts.PIXELS[:64, :64], rowsperstrip=64, **kind)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tiff.pages[0].tags[tag].overwrite(50_000)
    with pytest.raises(ValueError, match=r"7,500,000,000"):
        read(path)


# --- Transforms ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "matrix",
    [
        [[1, 0, 0], [0, 1, 0]],
        [[1, 0, float("nan")], [0, 1, 0], [0, 0, 1]],
        [[1, 0, float("inf")], [0, 1, 0], [0, 0, 1]],
        [[0, 0, 0], [0, 0, 0], [0, 0, 1]],
        [[1, 0, 0], [0, 1, 0], [0, 1, 1]],
        [["a", 0, 0], [0, 1, 0], [0, 0, 1]],
        None,
        {},
    ],
)
def test_transform_that_is_none(tmp_path, matrix):
    good = transform_file(tmp_path)
    content = json.loads(good.path.read_text()) | {"matrix": matrix}
    good.path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"a\.json is not a transform of version"):
        good.read()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("AffineTransform_double_2_2", "AffineTransform_double_3_3"),
        ("AffineTransform_double_2_2", "BSplineTransform_double_2_2"),
        ("AffineTransform_double_2_2", "Unheard_double_2_2"),
        ("Parameters: ", "Parameters: nan "),
        ("Parameters: ", "Parameters: one "),
        ("Parameters:", "Nothing:"),
        ("#Transform 0", ""),
    ],
)
def test_transform_of_itk_that_is_none(tmp_path, old, new):
    good = itk_file(tmp_path)
    text = good.path.read_text()
    assert old in text
    good.path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"a\.tfm cannot be read as a transform of I"):
        good.read()


# --- What would run ------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [
        {"zarr_format": 2, "filters": [{"id": "pickle"}]},
        {"zarr_format": 2, "compressor": {"id": "pickle", "protocol": 4}},
        {"zarr_format": 3, "codecs": [{"name": "numcodecs.pickle"}]},
        {"consolidated_metadata": {"metadata": {"x": {"filters": [{"id": "dill"}]}}}},
    ],
)
def test_zarr_whose_codec_would_run_code(tmp_path, metadata):
    store = tmp_path / "a.zarr"
    shutil.copytree(STORES["own"], store)
    name = ".zarray" if metadata.get("zarr_format") == 2 else "zarr.json"
    (store / "tables" / name).write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=r"names the codec '\w+', which runs whatever"):
        read_spatialdata(store)


def test_zarr_without_a_store(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no zarr store at .*a\.zarr"):
        read_spatialdata(tmp_path / "a.zarr")


def test_zarr_that_is_half_there(tmp_path):
    store = tmp_path / "a.zarr"
    shutil.copytree(STORES["own"], store)
    for chunk in store.glob("tables/**/c/**/*"):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:5])
    with pytest.raises(ValueError, match=r"a\.zarr cannot be read as a SpatialData"):
        read_spatialdata(store)


def test_cached_objects_are_not_unpickled(tmp_path, caplog):
    path = tmp_path / "a.npy"
    content = object_array(b"", tmp_path / "ran")
    path.write_bytes(content + _store._checksum(content))
    assert _store.read(path) is None
    assert "is no plain array and will be computed again" in caplog.text
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_beside_a_decoy_are_not_unpickled(tmp_path):
    good = READABLE["encoder"](tmp_path)
    good.path.rename(tmp_path / "zz.safetensors")
    (tmp_path / "pytorch_model.bin").write_bytes(torch_archive(b"", tmp_path / "ran"))
    with pytest.raises(ValueError, match="cannot be loaded as a network"):
        good.read()
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_model(tmp_path):
    weights_file(tmp_path)
    with pytest.raises(ValueError, match="does not hold the weights of this Linear"):
        load_weights(torch.nn.Linear(3, 2), tmp_path)


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{"source": ""}]}'],
)
def test_sheet_that_is_none(tmp_path, content):
    path = tmp_path / "a.ipynb"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"a\.ipynb', (which is no|a) notebook"):
        read_cells(path)
