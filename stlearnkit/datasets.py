"""Public sections by name, ready to use.

`her2st` gives the HER2-positive breast tumours of Andersson et al. (2021): 36
sections of eight patients, A to H. `mob2k` gives three sections of mouse olfactory
bulb. Both were measured with Spatial Transcriptomics arrays, whose known pitch is
also the ruler that gives each image its scale.

Published tables have loose ends: places without counts, counts without a place, one
gene in two columns. Each loader settles them by a stated rule, logs what it did and
keeps the record in ``adata.uns["provenance"]``.

Taught in the chapter "What a section is".
"""

__all__ = [
    "her2st",
    "her2st_cell_types",
    "her2st_clusters",
    "her2st_names",
    "is_real",
    "mob2k",
    "tutorial_other_patient",
    "tutorial_stack",
]

import logging
import re
import zipfile
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from stlearnkit import synthetic
from stlearnkit._arrays import (
    PROVENANCE,
    assemble,
    read_counts,
    read_labels,
    read_spots,
    spot_names,
)
from stlearnkit.downloads import RemoteFile, data_dir, fetch, registry
from stlearnkit.sections import Section

_log = logging.getLogger(__name__)

_TUTORIAL_STACK = ("C2", "C3", "C4", "C5", "C6")
_TUTORIAL_OTHER = "B4"
_MOB2K_NAMES = ("MOB1", "MOB2", "MOB3")


def her2st_names() -> tuple[str, ...]:
    """Return the names of the 36 sections of `her2st`; the letter is the patient.

    Examples
    --------
    >>> her2st_names()[:7]
    ('A1', 'A2', 'A3', 'A4', 'A5', 'A6', 'B1')
    """
    pattern = re.compile(r"her2st/data/ST-cnts/(\w+)\.tsv\.gz")
    return tuple(sorted(m[1] for m in map(pattern.fullmatch, registry()) if m))


def her2st(name: str, *, image: bool = True) -> Section:
    """Load one section of a HER2-positive breast tumour.

    Spots of 100 µm stand 200 µm apart. `obs` holds `array_row`, `array_col`,
    `in_tissue` and, for B1, C1, D1, E1, F1, G2 and H1, the pathologist's `label`.

    Parameters
    ----------
    name
        One of `her2st_names()`, e.g. ``"C2"``.
    image
        Whether to load the H&E image too (about 4 MB). Without it the section has no
        slide, but still its scale.

    Raises
    ------
    ValueError
        If there is no such section.

    Notes
    -----
    Kept are the spots that are selected as tissue and have counts: one to three
    selected spots of many sections have none. A column such as ``COG8.1`` beside
    ``COG8`` is a second Ensembl gene of the same symbol, and is added to the first.

    µm per px is 200 divided by the square root of the area, in px², of one cell of
    the least-squares grid through the spots. It is about 0.688; the images of patient
    A were published smaller, at about 0.918.

    References
    ----------
    Andersson et al. (2021), Nature Communications 12:6012.
    """
    _require(name, her2st_names(), "HER2ST")
    tables = _her2st_files(name)
    labels = registry().get(f"her2st/data/ST-pat/lbl/{name}_labeled_coordinates.tsv")
    spots = read_spots(fetch(tables["spots"]))
    if labels is not None:
        spots["label"] = read_labels(fetch(labels))
    return assemble(
        read_counts(fetch(tables["counts"])),
        spots,
        fetch(tables["image"]) if image else None,
        name=name,
        patient=name[0],
        dataset="her2st",
        step_um=200.0,
    )


def her2st_clusters(name: str) -> pd.Series:
    """Load the expression cluster of each spot of a section, as published.

    The index is the spot name. Some spots have no cluster: in B4, 62 of 284.

    Raises
    ------
    ValueError
        If there is no such section.
    """
    _require(name, her2st_names(), "HER2ST")
    remote = registry()[f"her2st/res/ST-cluster/lbl/{name}-cluster-annotation.tsv.gz"]
    table = pd.read_csv(fetch(remote), sep="\t", index_col=0)
    return pd.Series(table["label"].to_numpy(), index=spot_names(table), name="cluster")


def her2st_cell_types(name: str) -> pd.DataFrame:
    """Load the estimated proportion of eight cell types in each spot, as published.

    The index is the spot name; rows sum to 1.

    Raises
    ------
    ValueError
        If there is no such section.
    """
    _require(name, her2st_names(), "HER2ST")
    archive = fetch(registry()["her2st/res/ST-deconv/props/major.zip"])
    with (
        zipfile.ZipFile(archive) as members,
        members.open(f"major/{name}-proportion.tsv") as table,
    ):
        return pd.read_csv(table, sep="\t", index_col=0)


def mob2k(name: str) -> Section:
    """Load one section of mouse olfactory bulb, with 1,000 genes.

    The array has spots of 100 µm on a grid of 200 µm and in the middle of its cells,
    so the pitch is 141 µm. Which section follows which in the block is not known:
    these are sections, not a stack.

    Parameters
    ----------
    name
        ``"MOB1"``, ``"MOB2"`` or ``"MOB3"``.

    Raises
    ------
    ValueError
        If there is no such section.

    Notes
    -----
    Kept are the spots under tissue, about 400 of 2,070. Genes are Ensembl identifiers
    with their version, as published.

    One step of 100 µm is 21.6 px along x and 24.0 px along y: the published images
    are not quite to scale. The µm per px given here, 4.39, keeps areas right; lengths
    are off by 5 % along an axis.

    References
    ----------
    Ståhl et al. (2016), Science 353:78-82, for the technology; the files are those of
    STUtility (Bergenstråhle et al. 2020, BMC Genomics 21:482).
    """
    _require(name, _MOB2K_NAMES, "MOB 2k")
    folder = "mob2k/inst/extdata/counts"
    return assemble(
        read_counts(fetch(registry()[f"{folder}/{name}.tsv"])),
        read_spots(fetch(registry()[f"{folder}/alignment_table_{name}.tsv"])),
        fetch(registry()[f"{folder}/{name}.jpg"]),
        name=name,
        patient="MOB",
        dataset="mob2k",
        step_um=100.0,
    )


def tutorial_stack() -> tuple[Section, ...]:
    """Return the five serial sections the chapters work on.

    They are C2 to C6 of `her2st`. Where these, or B4, are neither on this machine nor
    can be downloaded, one warning says so, and the sections are synthetic tissue;
    `is_real` tells which. It is tried once per process and `data_dir()`.
    """
    if _tutorial_is_at_hand(data_dir()):
        return tuple(her2st(name) for name in _TUTORIAL_STACK)
    return synthetic.stack(n_sections=len(_TUTORIAL_STACK), seed=0).stack.sections


def tutorial_other_patient() -> Section:
    """Return the section of another patient that the chapters test on.

    It is B4 of `her2st`, or synthetic exactly where `tutorial_stack` is, so that
    both always have genes in common. The synthetic one is another tissue, stained a
    little differently.
    """
    if _tutorial_is_at_hand(data_dir()):
        return her2st(_TUTORIAL_OTHER)
    simulated = synthetic.section("S6", seed=1, patient="SIM2", stain_shift=0.15)
    return simulated.section


def is_real(section: Section) -> bool:
    """Tell whether a section was loaded from published data by this room."""
    return PROVENANCE in section.adata.uns


def _her2st_files(name: str) -> dict[str, RemoteFile]:
    """Return the counts, spot table and image of a section."""
    files = registry()
    image = f"her2st/data/ST-imgs/{name[0]}/{name}/"
    return {
        "counts": files[f"her2st/data/ST-cnts/{name}.tsv.gz"],
        "spots": files[f"her2st/data/ST-spotfiles/{name}_selection.tsv"],
        "image": next(file for key, file in files.items() if key.startswith(image)),
    }


@cache
def _tutorial_is_at_hand(folder: Path) -> bool:
    """Fetch all files of the tutorial sections; say so loudly where that fails.

    Asked once for each data folder, so that all chapters' calls agree, the waiting
    is done once and the warning stands once.
    """
    sections = (*_TUTORIAL_STACK, _TUTORIAL_OTHER)
    files = [file for name in sections for file in _her2st_files(name).values()]
    try:
        for remote in files:
            fetch(remote)
    except (ConnectionError, PermissionError) as error:
        host = urlsplit(remote.url).hostname
        reason = (
            f"no whole copy could be had from {host}"
            if isinstance(error, ConnectionError)
            else "no folder to keep them in can be written to"
        )
        _log.warning(
            "SYNTHETIC TISSUE, NOT REAL DATA: sections C2-C6 and B4 of HER2ST are not "
            "in %s and %s, so every number and picture below is of simulated sections. "
            "Set STLEARNKIT_DATA to a folder with the real ones.",
            folder,
            reason,
        )
        _log.debug("The tutorial's files cannot be had.", exc_info=error)
        return False
    return True


def _require(name: str, names: tuple[str, ...], dataset: str) -> None:
    """Refuse a name that is not among `names`.

    Raises
    ------
    ValueError
        If so.
    """
    if name not in names:
        raise ValueError(
            f"name is {name!r}, but {dataset} has no such section. "
            f"Choose one of: {', '.join(names)}."
        )
