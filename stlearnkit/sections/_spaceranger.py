"""Sections from the folders that Space Ranger writes: Visium and Visium HD.

The layout is the one 10x Genomics documents under "Space Ranger: Spatial Outputs" and
"Feature-Barcode Matrices" (10xgenomics.com/support/software/space-ranger):

- ``filtered_feature_bc_matrix.h5``: counts, read by scanpy;
- ``spatial/tissue_positions.csv`` with a line of names since version 2.0, or
  ``tissue_positions_list.csv`` without one before, or ``.parquet`` for HD: barcode, in
  tissue, row and column on the array, row and column in the full-resolution image;
- ``spatial/scalefactors_json.json``: how much smaller the two copies of the image are.
"""

__all__ = ["SPOT_UM", "STEP_UM", "read_visium", "read_visium_hd"]

from pathlib import Path

import numpy as np

from stlearnkit import _tables
from stlearnkit.conventions import SectionError
from stlearnkit.sections._assembly import Outputs, build
from stlearnkit.sections._positions import lattice_mpp, read_positions
from stlearnkit.sections._section import Section

_COUNTS = "filtered_feature_bc_matrix.h5"
_FACTORS = "scalefactors_json.json"
SPOT_UM = 55.0  # diameter of a spot of Visium
# Spots of Visium lie on a hexagonal lattice of 100 µm; the columns of neighbouring rows
# are numbered alternately, so that one column is half a step.
STEP_UM = np.array([50.0, 50.0 * 3**0.5])
_MOST_STRETCH = 1.05  # images are to scale within less


def read_visium(
    folder: Path | str,
    *,
    patient: str,
    name: str | None = None,
    image: Path | str | None = None,
) -> Section:
    """Read a section of Visium from the folder that Space Ranger calls ``outs``.

    Parameters
    ----------
    folder
        With ``filtered_feature_bc_matrix.h5`` and ``spatial/``.
    patient
        Name of the donor; no file says it.
    name
        Of the section; by default that of the folder, or of the one above ``outs``.
    image
        The full-resolution H&E image that Space Ranger was given, which it does not
        copy; or ``tissue_hires_image.png`` or ``tissue_lowres_image.png`` of `folder`,
        into whose pixels the centres of spots are then brought. Without it the section
        has no slide, but still its scale, and scanpy draws the copies.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is damaged, or not what its name says.
    SectionError
        If the files do not fit together, or the spots lie on no lattice of Visium.

    Notes
    -----
    Kept are spots in tissue that have counts. Genes of one symbol are added up. µm per
    px is that of the least-squares lattice of 100 µm through all spots, not that of
    ``spot_diameter_fullres``, which is not 55 µm in all versions.
    ``adata.uns["provenance"]`` lists what was left out and added up.

    References
    ----------
    10x Genomics, "Space Ranger: Spatial Outputs".
    """
    folder = Path(folder)
    files = _outputs(folder)
    positions = read_positions(files.positions)
    return build(
        files,
        positions,
        name=name or _name_of(folder),
        patient=patient,
        mpp=lattice_mpp(positions, STEP_UM, files.positions),
        spot_diameter_um=SPOT_UM,
        image=image,
    )


def read_visium_hd(
    folder: Path | str,
    *,
    patient: str,
    bin_um: int = 8,
    name: str | None = None,
    image: Path | str | None = None,
) -> Section:
    """Read the square bins of a section of Visium HD as spots.

    Parameters
    ----------
    folder
        The folder ``outs``, with ``binned_outputs/square_008um/`` and the like.
    patient, name, image
        As for `read_visium`.
    bin_um
        Side of a bin: 2, 8 or 16 µm, or another that Space Ranger was asked for. A
        section has some ten million bins of 2 µm, most of them nearly empty: 8 or 16
        is what fits models of this library.

    Raises
    ------
    FileNotFoundError
        If a file is missing, or there are no bins of this size.
    ValueError
        If a file is damaged, or not what its name says.
    SectionError
        If the files do not fit together.

    Notes
    -----
    µm per px is the ``microns_per_pixel`` that Space Ranger states; it must agree with
    the places of the bins. A bin is drawn as a disc of its width.

    References
    ----------
    10x Genomics, "Space Ranger: Visium HD Outputs".
    """
    folder = Path(folder)
    files = _outputs(_bin_folder(folder, bin_um))
    positions = read_positions(files.positions)
    mpp = _stated_mpp(files.factors, bin_um)
    step_um = np.array([bin_um, bin_um], float)
    placed = lattice_mpp(positions, step_um, files.positions)
    if not 1 / _MOST_STRETCH < placed / mpp < _MOST_STRETCH:
        raise SectionError(
            f"{files.factors} states {mpp:.4f} µm per px, but bins of {bin_um} µm in "
            f"{files.positions.name} lie {bin_um / placed:.2f} px apart, which is "
            f"{placed:.4f}. Take both files from one run of Space Ranger."
        )
    return build(
        files,
        positions,
        name=name or _name_of(folder),
        patient=patient,
        mpp=mpp,
        spot_diameter_um=float(bin_um),
        image=image,
    )


def _name_of(folder: Path) -> str:
    """Return the name a run of Space Ranger has."""
    folder = folder.absolute()
    return folder.parent.name if folder.name == "outs" else folder.name


def _bin_folder(folder: Path, bin_um: int) -> Path:
    """Return the folder of the bins of one size.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    bins = folder / "binned_outputs"
    wanted = bins / f"square_{bin_um:03d}um"
    if not wanted.is_dir():
        found = sorted(path.name for path in bins.glob("square_*um"))
        raise FileNotFoundError(
            f"bin_um is {bin_um}, but there is no folder {wanted}; found: {found}. "
            "Give the folder outs of Visium HD, and the size of bins that are there; "
            "read_visium reads a section that is not HD."
        )
    return wanted


def _outputs(folder: Path) -> Outputs:
    """Return the files of a section, whatever the version calls them.

    Raises
    ------
    FileNotFoundError
        If one is missing.
    """
    spatial = folder / "spatial"
    found = sorted(spatial.glob("tissue_positions*"))
    if not found:
        raise FileNotFoundError(
            f"no spatial/tissue_positions* in {folder}. Give the folder that Space "
            "Ranger calls outs; sections of Visium HD are read by read_visium_hd."
        )
    advice = "Give the folder that Space Ranger calls outs."
    return Outputs(
        _tables.require_file(folder / _COUNTS, "counts", advice),
        found[0],
        _tables.require_file(spatial / _FACTORS, "scale factors", advice),
    )


def _stated_mpp(path: Path, bin_um: int) -> float:
    """Return the scale that Space Ranger states, once its bins are of the right size.

    Raises
    ------
    ValueError
        If it states none, or has other bins.
    """
    stated = _tables.read_json(path)
    size, mpp = (stated.get(key) for key in ("bin_size_um", "microns_per_pixel"))
    if size != bin_um or not isinstance(mpp, int | float) or not 0 < mpp < np.inf:
        raise ValueError(
            f"{path} states bin_size_um {size!r} and microns_per_pixel {mpp!r}, "
            f"expected {bin_um} and a number above 0. Check that it is of Visium HD, "
            "and in its own folder."
        )
    return float(mpp)
