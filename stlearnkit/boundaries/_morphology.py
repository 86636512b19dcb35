"""Numbers that a person can read: nuclei, edges and haematoxylin of each spot."""

__all__ = ["morphology"]

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from stlearnkit.boundaries._edges import edge_lines
from stlearnkit.boundaries._maps import BoundaryMaps
from stlearnkit.boundaries._stain import haematoxylin
from stlearnkit.conventions import SectionError
from stlearnkit.patches import extract
from stlearnkit.sections import Section

_SEEN_UM = 1.0  # per pixel, for the mean of haematoxylin
_HELD_PX = 2**25  # of patches at a time
_LEAST_PX = 3  # diameter of a disc that holds a pixel's centre wherever it lies


def morphology(
    section: Section,
    maps: BoundaryMaps,
    *,
    diameter_um: float = 100.0,
    key_added: str | None = None,
) -> pd.DataFrame:
    """Describe the tissue of each spot by numbers with a meaning.

    Parameters
    ----------
    section
        The section, with its slide.
    maps
        Its maps, from `detect` or elsewhere.
    diameter_um
        Diameter of the disc around the spot's centre that is looked at. 100 is the
        spot itself on the arrays of HER2ST; a larger disc counts its surroundings.
    key_added
        Where to write the table as well: ``"morphology"`` for
        ``section.adata.obsm["morphology"]``.

    Returns
    -------
    table
        One row per spot, indexed by its name:

        - `n_nuclei`: nuclei whose centre lies in the disc;
        - `nuclei_per_mm2`: the same per area of the disc;
        - `nuclear_fraction`: share of the disc that nuclei cover;
        - `area_um2`, `eccentricity`, `nearest_um`: means over those nuclei, as in
          `BoundaryMaps.shapes`. NaN where there is no nucleus (`nearest_um` also where
          the section has only one): fill them before a model sees them;
        - `haematoxylin`: mean amount over the disc, in optical density;
        - `edge_strength`: mean of the edge map over the disc, 0 to 1;
        - `edge_um_per_um2`: length of `edge_lines` per area, counted in pixels, which
          makes slanting lines up to 1.4 times too short.

        What lies beyond the image does not count, neither above nor below the line.

    Raises
    ------
    SectionError
        If the section has no slide, or one that the maps do not fit.
    ValueError
        If a spot lies outside the image, or the diameter is less than three pixels of
        the maps.
    """
    _check_fit(section, maps)
    if not (np.isfinite(diameter_um) and diameter_um >= _LEAST_PX * maps.mpp):
        raise ValueError(
            f"diameter_um is {diameter_um}, expected {_LEAST_PX} pixels of the maps or "
            f"more, {_LEAST_PX * maps.mpp:.3g} µm. Give it in µm."
        )
    # Refuses centres that are wrong, before anything else uses them.
    amount = _mean_haematoxylin(section, maps, diameter_um)
    nuclei = _of_nuclei(section, maps, diameter_um)
    pixels = _of_pixels(section, maps, diameter_um)
    table = nuclei.join(pixels)
    area_mm2 = table.pop("disc_um2") / 1e6
    table.insert(1, "nuclei_per_mm2", table["n_nuclei"] / area_mm2)
    table["haematoxylin"] = amount
    if key_added is not None:
        section.adata.obsm[key_added] = table.copy()
    return table


def _of_nuclei(
    section: Section, maps: BoundaryMaps, diameter_um: float
) -> pd.DataFrame:
    """Count the nuclei of each spot, and average their form."""
    shapes = maps.shapes
    slide_mpp = maps.mpp / maps.downsample
    columns = ["area_um2", "eccentricity", "nearest_um"]
    count = np.zeros(section.n_spots, int)
    means = np.full((section.n_spots, len(columns)), np.nan)
    if len(shapes):
        tree = cKDTree(shapes[["x_px", "y_px"]].to_numpy())
        inside = tree.query_ball_point(section.coords_px, diameter_um / 2 / slide_mpp)
        values = shapes[columns].to_numpy()
        for spot, members in enumerate(inside):
            count[spot] = len(members)
            if members:
                means[spot] = values[members].mean(axis=0)
    table = pd.DataFrame(means, columns=columns, index=section.adata.obs_names)
    table.insert(0, "n_nuclei", count)
    return table


def _of_pixels(
    section: Section, maps: BoundaryMaps, diameter_um: float
) -> pd.DataFrame:
    """Average the maps over the pixels of each spot's disc."""
    radius_px = diameter_um / 2 / maps.mpp
    height, width = maps.edges.shape
    rows = []
    for x, y in section.coords_px / maps.downsample:
        top, bottom = max(int(y - radius_px), 0), min(int(y + radius_px) + 1, height)
        left, right = max(int(x - radius_px), 0), min(int(x + radius_px) + 1, width)
        down = np.arange(top, bottom)[:, None] + 0.5 - y
        across = np.arange(left, right) + 0.5 - x
        disc: Bool[np.ndarray, "_ _"] = down**2 + across**2 <= radius_px**2
        edges = maps.edges[top:bottom, left:right]
        lines = edge_lines(edges)[disc].mean() / maps.mpp
        covered = (maps.nuclei[top:bottom, left:right][disc] > 0).mean()
        strength = edges[disc].mean() / 255
        rows.append((covered, strength, lines, disc.sum() * maps.mpp**2))
    return pd.DataFrame(
        rows,
        columns=["nuclear_fraction", "edge_strength", "edge_um_per_um2", "disc_um2"],
        index=section.adata.obs_names,
    )


def _mean_haematoxylin(
    section: Section, maps: BoundaryMaps, diameter_um: float
) -> Float[np.ndarray, " spots"]:
    """Average haematoxylin over each disc; only what lies on the image counts."""
    slide = section.require_slide("to measure")
    side_px = max(1, round(diameter_um / _SEEN_UM))
    held = max(1, _HELD_PX // side_px**2)
    place = (np.arange(side_px) + 0.5) / side_px - 0.5
    disc = place[:, None] ** 2 + place**2 <= 0.25
    size_um = np.array([slide.width, slide.height]) * section.mpp
    means = np.zeros(section.n_spots)
    for first in range(0, section.n_spots, held):
        spots = slice(first, first + held)
        centres_px, centres_um = section.coords_px[spots], section.coords_um[spots]
        patches = extract(slide, centres_px, diameter_um, output_px=side_px)
        for spot, (patch, centre_um) in enumerate(
            zip(patches, centres_um, strict=True), start=first
        ):
            at_um = centre_um[:, None] + place * diameter_um
            on_image = (at_um >= 0) & (at_um <= size_um[:, None])
            counted = disc & on_image[1][:, None] & on_image[0]
            means[spot] = haematoxylin(patch, maps.profile)[counted].mean()
    return means


def _check_fit(section: Section, maps: BoundaryMaps) -> None:
    """Refuse maps of another slide.

    Raises
    ------
    SectionError
        If there is no slide, or it has another size or scale.
    """
    slide = section.require_slide("to measure")
    height, width = maps.edges.shape
    expected = (slide.width, slide.height)
    found = (width * maps.downsample, height * maps.downsample)
    apart = np.abs(np.subtract(found, expected)).max()
    if apart > maps.downsample or not np.isclose(
        maps.mpp, section.mpp * maps.downsample, rtol=0.01
    ):
        raise SectionError(
            f"maps of {found[0]:.0f} x {found[1]:.0f} full-resolution px at "
            f"{maps.mpp / maps.downsample:.3f} µm do not fit section "
            f"{section.name!r}, whose slide has {expected[0]} x {expected[1]} px at "
            f"{section.mpp:.3f} µm. Give the maps of this section."
        )
