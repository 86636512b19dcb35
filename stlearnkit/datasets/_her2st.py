"""The HER2-positive breast tumours of Andersson et al. (2021)."""

__all__ = [
    "files_of",
    "her2st",
    "her2st_cell_types",
    "her2st_clusters",
    "her2st_names",
]

import re
import zipfile

import pandas as pd

from stlearnkit._arrays import (
    assemble,
    read_counts,
    read_labels,
    read_spots,
    spot_names,
)
from stlearnkit.datasets._local import require_name
from stlearnkit.downloads import RemoteFile, fetch, registry
from stlearnkit.sections import Section


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
    require_name(name, her2st_names(), "HER2ST")
    tables = files_of(name)
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
    require_name(name, her2st_names(), "HER2ST")
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
    require_name(name, her2st_names(), "HER2ST")
    archive = fetch(registry()["her2st/res/ST-deconv/props/major.zip"])
    with (
        zipfile.ZipFile(archive) as members,
        members.open(f"major/{name}-proportion.tsv") as table,
    ):
        return pd.read_csv(table, sep="\t", index_col=0)


def files_of(name: str) -> dict[str, RemoteFile]:
    """Return the counts, spot table and image of a section."""
    files = registry()
    image = f"her2st/data/ST-imgs/{name[0]}/{name}/"
    return {
        "counts": files[f"her2st/data/ST-cnts/{name}.tsv.gz"],
        "spots": files[f"her2st/data/ST-spotfiles/{name}_selection.tsv"],
        "image": next(file for key, file in files.items() if key.startswith(image)),
    }
