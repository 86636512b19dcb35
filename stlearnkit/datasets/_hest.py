"""Samples of HEST-1k, in the folders it is published in."""

__all__ = ["hest"]

import logging
from pathlib import Path
from typing import Any

import numpy as np

from stlearnkit import _hdf5, _tables
from stlearnkit.conventions import COUNTS, SPATIAL, SectionError
from stlearnkit.sections import Section
from stlearnkit.sections._assembly import PROVENANCE
from stlearnkit.slides import Slide

_log = logging.getLogger(__name__)

_SPOT_UM = 55.0  # diameter of a spot, where the metadata have none


def hest(name: str, folder: Path | str, *, image: bool = True) -> Section:
    """Load one sample of HEST-1k.

    Parameters
    ----------
    name
        Its `id`, e.g. ``"TENX99"``.
    folder
        Where the collection was put, with ``st/TENX99.h5ad`` (``adata/`` in
        HEST-bench), ``wsis/TENX99.tif`` and ``metadata/TENX99.json``.
    image
        Whether the slide, a pyramidal TIFF of up to some GB, is opened too. It is read
        by region.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If the name leads out of the folder, or a file is not what it should be.
    SectionError
        If the parts do not fit together.

    Notes
    -----
    µm per px is ``pixel_size_um_estimated`` of the metadata, which HEST measures from
    the distance of spots. A sample without a named patient counts as its own patient;
    several such may in truth be of one, so read ``uns["provenance"]`` before splitting
    by patient. Samples of Xenium come as pseudo-spots.

    The files need an account, and agreement to their licence, CC BY-NC-SA 4.0; they
    are therefore not downloaded. The chosen ones can be had by ``hf download
    MahmoodLab/hest --repo-type dataset --include 'st/TENX99.*' 'wsis/TENX99.*'
    'metadata/TENX99.*' --local-dir hest``.

    References
    ----------
    Jaume et al. (2024), NeurIPS Datasets and Benchmarks.
    """
    folder = Path(folder)
    if Path(name).name != name or name == "..":
        raise ValueError(
            f"name is {name!r}, expected the id of a sample without folders, such as "
            "'TENX99'."
        )
    about = _metadata(folder / "metadata" / f"{name}.json")
    tables = "st" if (folder / "st").is_dir() else "adata"
    path = folder / tables / f"{name}.h5ad"
    adata = _hdf5.open_h5ad(path)
    if SPATIAL not in adata.obsm:
        raise SectionError(
            f"{path} has no obsm['spatial'], expected the centres of spots (x, y) in "
            "pixels of the slide. Fetch it again."
        )
    mpp = float(about["pixel_size_um_estimated"])
    slide = None
    if image:
        slide = Slide.open(folder / "wsis" / f"{name}.tif", mpp)
    section = Section.build(
        adata.layers.get(COUNTS, adata.X),
        list(adata.var_names),
        list(adata.obs_names),
        np.asarray(adata.obsm[SPATIAL], float),
        name=name,
        patient=_patient(name, about),
        slide=slide,
        mpp=mpp,
        spot_diameter_um=float(about.get("spot_diameter") or _SPOT_UM),
        obs=adata.obs,
    )
    section.adata.uns[PROVENANCE] = {"dataset": "hest"} | {
        key: str(value) for key, value in about.items() if value is not None
    }
    return section


def _metadata(path: Path) -> dict[str, Any]:
    """Read what is said of a sample.

    Raises
    ------
    ValueError
        If it states no scale.
    """
    about = _tables.read_json(path)
    mpp = about.get("pixel_size_um_estimated")
    if isinstance(mpp, bool) or not isinstance(mpp, int | float) or not 0 < mpp < 1e3:
        raise ValueError(
            f"{path} states pixel_size_um_estimated {mpp!r}, expected µm per px, a "
            "number above 0. Fetch it again."
        )
    return about


def _patient(name: str, about: dict[str, Any]) -> str:
    """Return whose sample it is; one that nobody is named for is its own patient's."""
    patient = about.get("patient")
    if not isinstance(patient, str) or patient.strip() in ("", "nan"):
        _log.info("%s: no patient is named, so it counts as one of its own", name)
        return name
    return patient
