"""Small files in the layouts that instruments and collections are published in.

Numbers can be checked by hand: Visium has half a micrometre per pixel, column c and row
r of its array lie at x = 60 + 100 c and y = 50 + 173.2 r.
"""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import tifffile
from PIL import Image
from scipy import sparse

WIDTH, HEIGHT = 800, 640
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
PLACES = [(row, column) for row in range(4) for column in range(row % 2, 7, 2)]
BARCODES = [f"{'ACGT'[row]}{'ACGT'[column % 4]}{column}-1" for row, column in PLACES]
OUT_OF_TISSUE = 3  # number of the spot
SYMBOLS = ["TP53", "ERBB2", "TP53", "CD3E"]
MATRIX = np.arange(4 * len(PLACES)).reshape(len(PLACES), 4) % 7
NAMES = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres\n"
FACTORS = {
    "spot_diameter_fullres": 130.0,
    "tissue_hires_scalef": 0.5,
    "fiducial_diameter_fullres": 288.0,
    "tissue_lowres_scalef": 0.25,
}


def write_tenx(
    path: Path,
    matrix: np.ndarray = MATRIX,
    barcodes: Sequence[str] = BARCODES,
    symbols: Sequence[str] = SYMBOLS,
) -> Path:
    """Write counts, spots × genes, as Space Ranger does, and those of an antibody."""
    with_antibody = np.column_stack([matrix, np.full(len(matrix), 99)])
    counts = sparse.csc_matrix(with_antibody.T)
    names = [*symbols, "PDCD1"]
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array(barcodes, "S")
        group["data"] = counts.data.astype(np.int32)
        group["indices"] = counts.indices.astype(np.int64)
        group["indptr"] = counts.indptr.astype(np.int64)
        group["shape"] = np.array(counts.shape, np.int32)
        features = group.create_group("features")
        features["_all_tag_keys"] = np.array(["genome"], "S")
        features["name"] = np.array([name.encode() for name in names])
        ids = [f"ENSG{number:011d}" for number in range(len(names))]
        features["id"] = np.array(ids, "S")
        kinds = ["Gene Expression"] * len(symbols) + ["Antibody Capture"]
        features["feature_type"] = np.array(kinds, "S")
        features["genome"] = np.array(["GRCh38"] * len(names), "S")
    return path


def positions() -> str:
    """Return the lines of a table of positions, without names."""
    return "".join(
        f"{barcode},{int(number != OUT_OF_TISSUE)},{row},{column},"
        f"{round(50 + 173.205 * row)},{60 + 100 * column}\n"
        for number, (barcode, (row, column)) in enumerate(
            zip(BARCODES, PLACES, strict=True)
        )
    )


def write_visium(folder: Path, *, version: int = 2) -> Path:
    """Write a folder ``outs`` of Space Ranger 1 or 2."""
    spatial = folder / "spatial"
    spatial.mkdir(parents=True)
    write_tenx(folder / "filtered_feature_bc_matrix.h5")
    if version == 1:
        (spatial / "tissue_positions_list.csv").write_text(positions())
    else:
        (spatial / "tissue_positions.csv").write_text(NAMES + positions())
    (spatial / "scalefactors_json.json").write_text(json.dumps(FACTORS))
    image = Image.fromarray(PIXELS)
    image.reduce(2).save(spatial / "tissue_hires_image.png")
    image.reduce(4).save(spatial / "tissue_lowres_image.png")
    tifffile.imwrite(folder.parent / "full.tif", PIXELS, photometric="rgb")
    return folder


def write_visium_hd(folder: Path, bin_um: int = 8) -> Path:
    """Write bins of Visium HD, 4 rows of 5, one bin 16 px wide."""
    inside = folder / "binned_outputs" / f"square_{bin_um:03d}um"
    spatial = inside / "spatial"
    spatial.mkdir(parents=True)
    row, column = (each.ravel() for each in np.mgrid[:4, :5])
    barcodes = [
        f"s_{bin_um:03d}um_{down:05d}_{across:05d}-1"
        for down, across in zip(row, column, strict=True)
    ]
    table = {
        "barcode": barcodes,
        "in_tissue": np.ones(20, int),
        "array_row": row,
        "array_col": column,
        "pxl_row_in_fullres": 40.25 + 16.0 * row,
        "pxl_col_in_fullres": 30.5 + 16.0 * column,
    }
    pd.DataFrame(table).to_parquet(spatial / "tissue_positions.parquet", index=False)
    stated = {
        "spot_diameter_fullres": 16.0,
        "bin_size_um": float(bin_um),
        "microns_per_pixel": bin_um / 16,
        "regist_target_img_scalef": 0.5,
        "tissue_hires_scalef": 0.5,
        "tissue_lowres_scalef": 0.25,
        "fiducial_diameter_fullres": 100.0,
    }
    (spatial / "scalefactors_json.json").write_text(json.dumps(stated))
    write_tenx(
        inside / "filtered_feature_bc_matrix.h5",
        np.arange(80).reshape(20, 4) % 5,
        barcodes,
    )
    return folder


def write_st_data(folder: Path) -> Path:
    """Write the archive of He et al., with one section: three spots in tissue of four.

    One step of the array is 100 px, so that there are 2 µm per px.
    """
    folder.mkdir(parents=True)
    names = {
        "histology_image": "HE_BT23287_C1.jpg",
        "spot_coordinates": "spots_BT23287_C1.csv.gz",
        "count_matrix": "BC23287_C1_stdata.tsv.gz",
        "tumor_annotation": "BC23287_C1_Coords.tsv.gz",
    }
    row = {"type": "HER2_luminal", "patient": "BC23287", "replicate": "C1"} | names
    pd.DataFrame([row]).to_csv(folder / "metadata.csv", index=False)
    Image.fromarray(PIXELS).save(folder / names["histology_image"])
    texts = {
        "spot_coordinates": ",X,Y\n2x1,250.0,130\n3x1,350,130\n2x2,250,230\n",
        "count_matrix": "\tENSG00000000003\tENSG00000000419\n"
        "2x2\t4\t1\n9x9\t8\t8\n2x1\t3\t0\n3x1\t0\t5\n",
        "tumor_annotation": "xcoord\tycoord\tlab\ttumor\r"
        "C1_2_1\t2.02\t0.98\tL1\ttumor\rC1_3_1\t2.98\t1.01\tL2\tnon\r",
    }
    for kind, text in texts.items():
        (folder / names[kind]).write_bytes(gzip.compress(text.encode()))
    return folder


def write_hest(folder: Path, name: str = "TENX99", tables: str = "st") -> Path:
    """Write a sample of HEST-1k: two spots, a pyramid of two levels, 0.5 µm per px."""
    for inside in (tables, "wsis", "metadata"):
        (folder / inside).mkdir(parents=True)
    adata = anndata.AnnData(
        sparse.csr_matrix(np.array([[3.0, 0.0], [1.0, 2.0]], np.float32)),
        obs=pd.DataFrame(
            {"in_tissue": [1, 1], "array_row": [0, 1], "array_col": [0, 1]},
            index=["000x000", "001x001"],
        ),
        var=pd.DataFrame(index=["TP53", "ERBB2"]),
    )
    adata.obsm["spatial"] = np.array([[100.0, 200.0], [300.0, 400.0]])
    adata.write_h5ad(folder / tables / f"{name}.h5ad")
    kind = {"tile": (128, 128), "photometric": "rgb", "compression": "jpeg"}
    with tifffile.TiffWriter(folder / "wsis" / f"{name}.tif", bigtiff=True) as tiff:
        tiff.write(PIXELS, subifds=0, **kind)
        tiff.write(PIXELS[::2, ::2], subfiletype=1, **kind)
    about = {
        "id": name,
        "patient": "Patient 1",
        "organ": "Breast",
        "st_technology": "Visium",
        "pixel_size_um_embedded": None,
        "pixel_size_um_estimated": 0.5,
        "spot_diameter": 55.0,
        "inter_spot_dist": 100.0,
    }
    (folder / "metadata" / f"{name}.json").write_text(json.dumps(about))
    return folder


def write_dlpfc(folder: Path, real: Path, name: str = "151673") -> list[str]:
    """Put made-up counts of three spots beside the real files of a section."""
    for inside in ("10X", "Analysis"):
        (folder / inside).symlink_to(real / inside)
    (folder / "h5").mkdir()
    table = pd.read_csv(real / f"10X/{name}/tissue_positions_list.txt", header=None)
    barcodes = table[0][table[1] == 1].sample(3, random_state=0).tolist()
    path = folder / "h5" / f"{name}_filtered_feature_bc_matrix.h5"
    write_tenx(path, np.arange(12).reshape(3, 4), barcodes)
    return barcodes
