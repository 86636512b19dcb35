"""Sections: keys, maps, round trips, and every refusal."""

import numpy as np
import pytest
import scanpy as sc
import spatialdata
import squidpy as sq
import toys
from scipy import sparse

from stlearnkit.conventions import SectionError
from stlearnkit.sections import Section
from stlearnkit.slides import Slide


def test_coordinates_in_um_by_hand():
    section = toys.section()
    np.testing.assert_allclose(section.coords_um[2], [120.0, 300.0])
    assert (section.px_to_um.source, section.px_to_um.target) == ("toy/px", "toy/um")


def test_keys_are_those_of_scanpy_and_squidpy():
    adata = toys.section().adata
    assert sparse.issparse(adata.layers["counts"])
    library = adata.uns["spatial"]["toy"]
    assert library["scalefactors"]["spot_diameter_fullres"] == pytest.approx(50.0)
    hires = library["images"]["hires"]
    np.testing.assert_allclose(
        library["scalefactors"]["tissue_hires_scalef"], hires.shape[1] / 300
    )


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:The set_bad")
def test_scanpy_draws_it():
    axes = sc.pl.spatial(toys.section().adata, color="GENE1", show=False)
    assert axes[0].images[0].get_array().shape == (240, 300, 3)


def test_squidpy_finds_the_square():
    adata = toys.section().adata
    sq.gr.spatial_neighbors_radius(adata, radius=101.0)
    # Four corners of a square: two neighbours each, the diagonal is too far.
    np.testing.assert_array_equal(
        adata.obsp["spatial_connectivities"].sum(axis=1), [[2]] * 4
    )


def test_counts_come_in_the_order_asked_for():
    np.testing.assert_array_equal(
        toys.section().counts(["GENE3", "GENE1"])[:2], [[1, 5], [0, 3]]
    )
    np.testing.assert_array_equal(toys.section().total_counts(), [6, 5, 11, 11])


def test_counts_of_an_unknown_gene_are_refused():
    with pytest.raises(
        KeyError, match=r"1 of 2 genes are not in section 'toy', first: 'XX'"
    ):
        toys.section().counts(["GENE1", "XX"])


def test_subset_keeps_rows_together():
    section = toys.section()
    part = section.subset(np.array([False, True, False, True]))
    assert list(part.adata.obs_names) == ["2x1", "2x2"]
    np.testing.assert_array_equal(part.coords_px, section.coords_px[[1, 3]])
    np.testing.assert_array_equal(part.counts(toys.GENES), [[3, 2, 0], [1, 1, 9]])


def test_changing_a_subset_leaves_the_section_alone():
    section = toys.section()
    section.subset(np.array([True, False, True, True])).adata.obsm["spatial"][:] = 0
    assert section.coords_px.min() == 50.0


def test_repr_says_what_is_there():
    assert "'toy', patient 'P': 4 spots x 3 genes; Slide(300 x 240 px" in repr(
        toys.section()
    )
    assert "no image" in repr(toys.section(image=False))


@pytest.mark.filterwarnings(
    "ignore:zarr v3 autosharding:UserWarning", "ignore:.*Scaler:DeprecationWarning"
)
@pytest.mark.parametrize("on_disk", [False, True])
def test_spatialdata_round_trip(tmp_path, on_disk):
    section = toys.section()
    data = section.to_spatialdata()
    if on_disk:
        data.write(tmp_path / "toy.zarr")
        data = spatialdata.read_zarr(tmp_path / "toy.zarr")
    back = Section.from_spatialdata(data)
    back.validate()
    assert (back.name, back.patient) == ("toy", "P")
    np.testing.assert_array_equal(back.counts(toys.GENES), section.counts(toys.GENES))
    np.testing.assert_allclose(back.coords_um, section.coords_um)
    np.testing.assert_array_equal(
        back.slide.crop(0, 0, 300, 240), section.slide.crop(0, 0, 300, 240)
    )
    assert list(back.adata.obs_names) == list(section.adata.obs_names)
    assert list(back.adata.obs.columns) == ["array_row"]


def test_spatialdata_circles_are_in_um():
    data = toys.section().to_spatialdata()
    circles = spatialdata.transform(data["toy_spots"], to_coordinate_system="toy")
    np.testing.assert_allclose(circles.geometry.x, [120, 320, 120, 320])
    np.testing.assert_allclose(circles["radius"], 50.0)


def test_foreign_spatialdata_is_refused():
    with pytest.raises(SectionError, match="expected one named 'table'"):
        Section.from_spatialdata(spatialdata.SpatialData())


def build(**changes):
    """The toy section with some of its parts replaced."""
    toy = toys.section()
    parts = {
        "counts": toy.adata.layers["counts"].toarray(),
        "genes": toys.GENES,
        "spots": list(toy.adata.obs_names),
        "coords_px": toy.coords_px,
        "slide": toy.slide,
    } | changes
    return Section.build(**parts, name="toy", patient="P")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"counts": np.ones((3, 4))},
            r"counts has shape \(3, 4\), but there are 4 spots",
        ),
        (
            {"coords_px": np.zeros((3, 2))},
            "coords_px has 3 rows, but there are 4 spots",
        ),
        (
            {"counts": np.zeros((0, 3)), "spots": [], "coords_px": np.zeros((0, 2))},
            "the section has no spots",
        ),
        ({"spots": ["a", "b", "a", "c"]}, "1 spot names are repeated, first: 'a'"),
        ({"counts": np.full((4, 3), -1)}, "12 entries .* are not counts, first: -1"),
        (
            {"counts": np.full((4, 3), 0.5)},
            "are not counts, first: 0.5; expected whole",
        ),
        ({"counts": np.full((4, 3), np.nan)}, "are not counts, first: nan"),
        (
            {"coords_px": np.array([[1, 1], [np.nan, 2], [3, 3], [4, np.inf]])},
            "2 of 4 spot centres are not finite, first: spot '2x1'",
        ),
        (
            {"coords_px": np.full((4, 2), 5000.0)},
            "4 of 4 spot centres lie outside the image of 300 x 240 px.*thumbnail",
        ),
        (
            {"coords_px": np.array([[50.0, 60], [50, 260], [150, 60], [150, 290]])},
            r"2 of 4 spot centres lie outside.*With x and y swapped all lie inside",
        ),
        ({"slide": Slide.from_array(np.zeros((240, 300, 3), np.uint8))}, "no µm scale"),
    ],
)
def test_refused_sections(changes, message):
    with pytest.raises(SectionError, match=message):
        build(**changes)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a.layers.pop("counts"), r"layers\['counts'\] is missing"),
        (lambda a: a.obsm.pop("spatial"), r"obsm\['spatial'\] is missing"),
        (
            lambda a: a.obsm.__setitem__("spatial", np.zeros((4, 3))),
            r"has shape \(4, 3\), expected \(spots, 2\)",
        ),
    ],
)
def test_refused_tables(spoil, message):
    section = toys.section()
    spoil(section.adata)
    with pytest.raises(SectionError, match=message):
        section.validate()
