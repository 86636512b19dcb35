"""Boundaries: maps by hand, against scikit-image, against simulated truth; laws."""

import dataclasses

import numpy as np
import pytest
import toys
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import disk
from skimage.measure import regionprops_table
from skimage.segmentation import find_boundaries

from stlearnkit import boundaries, datasets, stains, synthetic
from stlearnkit.boundaries import BoundaryMaps, _cache, _grid, _section
from stlearnkit.boundaries._shapes import describe
from stlearnkit.boundaries._stain import Overview
from stlearnkit.conventions import SectionError
from stlearnkit.patches import extract
from stlearnkit.sections import Section
from stlearnkit.slides import Slide
from stlearnkit.stains import RUIFROK, StainProfile

GLASS, TISSUE, NUCLEUS = (243, 240, 241), (220, 190, 225), (90, 80, 150)


def maps_of(labels, *, mpp=1.0, downsample=1.0, edges=None):
    edges = np.zeros(labels.shape, np.uint8) if edges is None else edges
    profile = StainProfile(RUIFROK, np.ones(2))
    return BoundaryMaps(edges, labels, mpp, downsample, profile, "made by hand")


def painted(centres, radius=6.0, side=60):
    """An image of pink tissue with round nuclei at (x, y), whole pixels."""
    image = np.full((side, side, 3), TISSUE, np.uint8)
    for x, y in centres:
        image[disk((y, x), radius + 0.5)] = NUCLEUS
    return image


def section_of(image, centres_px, mpp=1.0):
    counts = np.ones((len(centres_px), 1), int)
    names = [f"{i}x1" for i in range(len(centres_px))]
    return Section.build(
        counts,
        ["GENE1"],
        names,
        np.array(centres_px, float),
        name="toy",
        patient="P",
        slide=Slide.from_array(image, mpp),
    )


@pytest.fixture(scope="module")
def simulated():
    return synthetic.section(n_spots=6, n_genes=12, seed=3)


@pytest.fixture(scope="module")
def detected(simulated, tmp_path_factory):
    return boundaries.detect(
        simulated.section, cache_folder=tmp_path_factory.mktemp("maps")
    )


# Edges


def test_an_edge_lies_where_the_colour_changes():
    image = np.full((40, 50, 3), TISSUE, np.uint8)
    image[:, 30:] = NUCLEUS
    edges = boundaries.edge_map(image, 1.0, vectors=RUIFROK)
    assert edges.max() == 1
    np.testing.assert_array_equal(np.flatnonzero(edges[20] > 0.99), [29, 30])
    assert (edges[:, :24] == 0).all()
    assert (edges[:, 36:] == 0).all()


def test_rare_edges_are_seen_and_rounding_is_none():
    image = np.full((300, 300, 3), TISSUE, np.uint8)
    image[150:156, 150:156] = NUCLEUS  # its edges are less than 1 % of the pixels
    edges = boundaries.edge_map(image, 1.0, vectors=RUIFROK)
    assert edges[150, 152] == 1
    assert edges.dtype == np.float32
    assert (edges[:130] == 0).all()


def test_edges_of_one_colour_are_none():
    image = np.full((20, 20, 3), TISSUE, np.uint8)
    assert (boundaries.edge_map(image, 1.0) == 0).all()


def test_lines_are_one_pixel_wide_for_floats_and_bytes():
    edges = np.zeros((9, 11), np.float32)
    edges[:, 4:7] = 0.5
    lines = boundaries.edge_lines(edges)
    np.testing.assert_array_equal(lines[2:7].nonzero()[1], 5)
    as_bytes = (255 * edges).astype(np.uint8)
    np.testing.assert_array_equal(boundaries.edge_lines(as_bytes), lines)
    assert not boundaries.edge_lines(edges, threshold=0.6).any()


@pytest.mark.parametrize("threshold", [0.0, 1.0, np.nan])
def test_threshold_must_be_a_fraction(threshold):
    with pytest.raises(ValueError, match=r"threshold is .* above 0 and below 1"):
        boundaries.edge_lines(np.zeros((4, 4)), threshold=threshold)


# Nuclei


def test_a_disc_is_one_nucleus_of_its_area():
    labels = boundaries.nuclei(painted([(30, 25)]), 1.0, vectors=RUIFROK)
    shapes = describe(labels, 1.0, 1.0)
    assert len(shapes) == 1
    assert shapes["x_px"].item() == pytest.approx(30.5, abs=0.2)
    assert shapes["y_px"].item() == pytest.approx(25.5, abs=0.2)
    assert shapes["area_um2"].item() == pytest.approx(np.pi * 6.5**2, rel=0.12)
    assert shapes["eccentricity"].item() < 0.2


def test_touching_discs_are_split_in_the_middle():
    labels = boundaries.nuclei(painted([(24, 30), (34, 30)]), 1.0, vectors=RUIFROK)
    assert labels.max() == 2
    assert set(labels[30, 20:28]) == {labels[30, 24]}
    assert set(labels[30, 31:38]) == {labels[30, 34]}
    area = np.bincount(labels.ravel())[1:]
    assert abs(int(area[0]) - int(area[1])) <= 0.1 * area.sum()


def test_area_is_counted_in_um():
    image = painted([(30, 30)])  # 113 px: 113 µm² here, 28 µm² at 0.5 µm per pixel
    assert boundaries.nuclei(image, 1.0, area_um2=(80.0, 160.0)).max() == 1
    assert boundaries.nuclei(image, 0.5, area_um2=(80.0, 160.0)).max() == 0


def test_without_nuclei_the_labels_are_zero():
    image = np.full((40, 40, 3), GLASS, np.uint8)
    labels = boundaries.nuclei(image, 1.0)
    assert labels.dtype == np.int32
    assert not labels.any()


def test_rotating_the_image_rotates_the_maps():
    centres = [(12, 14), (21, 16), (40, 33), (15, 44), (46, 50)]
    image = painted(centres)
    turned = np.ascontiguousarray(np.rot90(image))
    labels = boundaries.nuclei(image, 1.0, vectors=RUIFROK)
    labels_turned = np.rot90(boundaries.nuclei(turned, 1.0, vectors=RUIFROK), -1)
    assert labels.max() == len(centres)
    np.testing.assert_array_equal(labels_turned > 0, labels > 0)
    pairs = np.unique(np.stack([labels, labels_turned])[:, labels > 0], axis=1)
    assert pairs.shape == (2, len(centres))  # the same parts, under other numbers
    np.testing.assert_allclose(
        np.rot90(boundaries.edge_map(turned, 1.0, vectors=RUIFROK), -1),
        boundaries.edge_map(image, 1.0, vectors=RUIFROK),
        atol=1e-5,
    )


@pytest.mark.parametrize("area_um2", [(50.0, 20.0), (-1.0, 20.0), (20.0, 20.0)])
def test_areas_must_be_in_order(area_um2):
    with pytest.raises(ValueError, match=r"area_um2 is .* smallest and the largest"):
        boundaries.nuclei(painted([(30, 30)]), 1.0, area_um2=area_um2)


@pytest.mark.parametrize("mpp", [0.0, 4.0, np.nan])
def test_pixels_must_show_nuclei(mpp):
    image = painted([(30, 30)])
    for find in (boundaries.nuclei, boundaries.edge_map):
        with pytest.raises(ValueError, match=r"mpp is .* nuclei cannot be told apart"):
            find(image, mpp)


def test_dyes_that_cannot_be_estimated_are_ruifroks_and_said_so():
    overview = Overview.of(np.full((20, 20, 3), GLASS, np.uint8), 2.0)
    np.testing.assert_array_equal(overview.profile.vectors, RUIFROK)
    assert overview.source == "dyes of Ruifrok, as image has 0 stained pixels"


# A whole section


@pytest.mark.parametrize("seed", [10, 11])  # the settings were chosen on 0 to 5
def test_simulated_nuclei_and_their_borders_are_found(seed, tmp_path):
    made = synthetic.section(n_spots=6, n_genes=12, seed=seed)
    found = boundaries.detect(made.section, cache_folder=tmp_path)
    mpp = found.mpp
    true_um = made.nuclei[["x_px", "y_px"]].to_numpy() * mpp
    found_um = found.shapes[["x_px", "y_px"]].to_numpy() * mpp
    assert boundaries.nuclei_scores(found_um, true_um)["f1"] >= 0.85
    borders = find_boundaries(made.nuclei_labels(), mode="inner")
    lines = boundaries.edge_lines(found.edges)
    assert boundaries.edge_scores(lines, borders, mpp)["f1"] >= 0.80


def test_maps_do_not_depend_on_the_tiles(simulated, detected, tmp_path):
    for tile_px in (150, 333):
        again = boundaries.detect(
            simulated.section, tile_px=tile_px, cache_folder=tmp_path / str(tile_px)
        )
        np.testing.assert_array_equal(again.nuclei, detected.nuclei)
        np.testing.assert_array_equal(again.edges, detected.edges)


def test_nuclei_are_numbered_without_gaps(detected):
    np.testing.assert_array_equal(
        np.unique(detected.nuclei), np.arange(detected.n_nuclei + 1)
    )


def test_glass_is_empty(simulated, detected):
    mask = stains.tissue_mask(simulated.section.slide.thumbnail(1000))
    height, width = detected.edges.shape
    rows = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(int)
    glass = ~mask[rows[:, None], columns]
    assert glass.mean() > 0.1
    assert (detected.edges[glass] == 0).all()
    assert detected.edges.max() == 255


def test_finer_slides_are_averaged_to_the_working_scale(simulated, detected, tmp_path):
    image = np.asarray(simulated.section.slide.levels[0])
    doubled = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)
    section = section_of(doubled, simulated.section.coords_px * 2, mpp=0.5)
    for levels in ((doubled,), (doubled, image)):
        slide = Slide(levels, 0.5)
        found = boundaries.detect(
            dataclasses.replace(section, slide=slide),
            working_um=1.0,
            cache_folder=tmp_path / str(len(levels)),
        )
        assert (found.mpp, found.downsample) == (1.0, 2.0)
        assert (found.nuclei > 0).mean() == pytest.approx(
            (detected.nuclei > 0).mean(), rel=0.02
        )
        first = found.shapes[["x_px", "y_px"]].to_numpy() * 0.5
        second = detected.shapes[["x_px", "y_px"]].to_numpy()
        assert boundaries.nuclei_scores(first, second)["f1"] > 0.97


def test_maps_are_kept_and_computed_again_if_damaged(simulated, tmp_path, monkeypatch):
    first = boundaries.detect(simulated.section, cache_folder=tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(_section, "_draw", None)  # would fail if it were called
        again = boundaries.detect(simulated.section, cache_folder=tmp_path)
    np.testing.assert_array_equal(again.nuclei, first.nuclei)
    np.testing.assert_array_equal(again.edges, first.edges)
    np.testing.assert_array_equal(again.profile.vectors, first.profile.vectors)
    assert repr(again) == repr(first)
    file.write_bytes(whole[:-1000])
    boundaries.detect(simulated.section, cache_folder=tmp_path)
    assert len(file.read_bytes()) == len(whole)


def test_every_setting_is_part_of_the_key():
    keys = {
        _cache.key("slide", levels, mpp, downsample, area_um2)
        for levels in ((1.0,), (1.0, 4.0))
        for mpp in (0.5, 0.6)
        for downsample in (1, 2)
        for area_um2 in ((12.0, 400.0), (12.0, 300.0))
    }
    assert len(keys) == 16


def test_levels_of_a_slide_in_memory_are_part_of_the_key(
    simulated, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        _section, "_draw", lambda *_: maps_of(np.eye(9, dtype=np.int32))
    )
    section, slide = simulated.section, simulated.section.slide
    image = slide.levels[0]
    coarse = np.ascontiguousarray(image[::2, ::2])
    for levels in ((image,), (image, coarse)):
        other = dataclasses.replace(section, slide=Slide(levels, slide.mpp))
        boundaries.detect(other, cache_folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_slide_of_glass_has_no_maps(tmp_path):
    section = section_of(np.full((80, 80, 3), GLASS, np.uint8), [(40, 40)])
    with pytest.raises(ValueError, match="no tissue found"):
        boundaries.detect(section, cache_folder=tmp_path)


def test_tissue_without_nuclei_has_empty_maps(tmp_path):
    image = np.full((200, 200, 3), GLASS, np.uint8)
    image[50:150, 50:150] = (230, 150, 200)
    section = section_of(image, [(100, 100)])
    maps = boundaries.detect(section, cache_folder=tmp_path)
    assert maps.n_nuclei == 0
    table = boundaries.morphology(section, maps, diameter_um=60.0)
    assert table["n_nuclei"].tolist() == [0]
    assert table[["area_um2", "eccentricity", "nearest_um"]].isna().all(axis=None)
    assert (
        table.drop(columns=["area_um2", "eccentricity", "nearest_um"])
        .notna()
        .all(axis=None)
    )


def test_detecting_needs_a_slide():
    for make in (boundaries.detect, BoundaryMaps.blank):
        with pytest.raises(SectionError, match="'toy' has no slide to map"):
            make(toys.section(image=False))


def test_more_pixels_than_can_be_numbered_are_refused(simulated, monkeypatch):
    monkeypatch.setattr(_grid, "_MOST_PX", 840 * 840 - 1)
    with pytest.raises(
        ValueError, match=r"working_um is 0\.7, for which the slide has 8"
    ):
        boundaries.detect(simulated.section)


def test_blank_maps_are_those_of_detect_but_for_what_is_on_them(
    simulated, detected, monkeypatch
):
    monkeypatch.setattr(_section, "_draw", None)  # would fail if it were called
    blank = BoundaryMaps.blank(simulated.section)
    assert blank.n_nuclei == 0
    assert blank.edges.max() == 0
    assert blank.edges.shape == detected.edges.shape
    assert repr(blank) == repr(detected)
    assert blank.downsample == detected.downsample
    np.testing.assert_array_equal(blank.profile.vectors, detected.profile.vectors)
    ours = blank.with_labels(detected.nuclei, detected.mpp)
    np.testing.assert_array_equal(ours.depth, detected.depth)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"working_um": 0.0}, "working_um is 0.0, expected"),
        ({"working_um": 3.0}, "working_um, as whole pixels of the slide, is 3"),
        ({"tile_px": 10}, "tile_px is 10, expected 64 or more"),
        ({"area_um2": (9.0, 8.0)}, "area_um2 is"),
    ],
)
def test_settings_out_of_range_are_refused(simulated, setting, message):
    with pytest.raises(ValueError, match=message):
        boundaries.detect(simulated.section, **setting)


# The maps as a thing


@pytest.mark.usefixtures("unchecked")
def test_maps_lie_on_one_grid():
    labels = np.zeros((4, 5), np.int32)
    with pytest.raises(ValueError, match=r"edges has shape \(4, 4\), but nuclei"):
        maps_of(labels, edges=np.zeros((4, 4), np.uint8))
    for scale in ({"mpp": 0.0}, {"downsample": np.inf}):
        with pytest.raises(ValueError, match="expected a number above 0"):
            maps_of(labels, **scale)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_shapes_agree_with_scikit_image(seed):
    random = np.random.default_rng(seed)
    labels = np.zeros((600, 40), np.int32)  # more rows than are worked on at a time
    for number in (3, 4, 9):
        row, column = random.integers(500, 540), random.integers(5, 35)
        labels[row - 4 : row + random.integers(1, 60), column - 3 : column + 4] = number
    oracle = regionprops_table(
        labels, properties=("label", "area", "centroid", "eccentricity")
    )
    found = describe(labels, 0.5, 2.0)
    np.testing.assert_array_equal(found.index, oracle["label"])
    np.testing.assert_allclose(found["area_um2"], oracle["area"] / 4)
    np.testing.assert_allclose(found["x_px"], 2 * (oracle["centroid-1"] + 0.5))
    np.testing.assert_allclose(found["y_px"], 2 * (oracle["centroid-0"] + 0.5))
    np.testing.assert_allclose(found["eccentricity"], oracle["eccentricity"], atol=1e-5)


def test_distance_to_the_nearest_nucleus():
    labels = np.zeros((9, 30), np.int32)
    labels[4, [3, 6, 16]] = (1, 2, 3)
    np.testing.assert_allclose(describe(labels, 0.5, 1.0)["nearest_um"], [1.5, 1.5, 5])
    alone = describe(np.where(labels == 1, labels, 0), 0.5, 1.0)
    assert alone["nearest_um"].isna().tolist() == [True]
    assert len(describe(np.zeros((3, 3), np.int32), 1.0, 1.0)) == 0


def test_identifiers_with_gaps_take_no_table_of_all_numbers():
    labels = np.zeros((600, 30), np.int32)
    labels[5, 3:6] = 2**31 - 1
    labels[520:522, 3] = 7
    labels[0, 0] = 900_000_000
    found = describe(labels, 1.0, 1.0)
    assert found.index.tolist() == [7, 900_000_000, 2**31 - 1]
    assert found["area_um2"].tolist() == [2, 1, 3]
    assert found["x_px"].tolist() == [3.5, 0.5, 4.5]
    assert found["y_px"].tolist() == [521, 0.5, 5.5]


def test_eccentricity_is_at_most_one():
    labels = np.zeros((3, 70_000), np.int32)
    labels[1, 69_000:69_007] = 1
    assert describe(labels, 1.0, 1.0)["eccentricity"].item() == pytest.approx(1)
    assert describe(labels, 1.0, 1.0)["eccentricity"].item() <= 1


def test_depth_keeps_touching_nuclei_apart():
    labels = np.zeros((600, 22), np.int32)
    labels[505:520, 1:11], labels[505:520, 11:21] = 1, 2
    depth = maps_of(labels, mpp=1.0).depth
    # Half a pixel, one and a half, ... of 4 µm, on both sides of the seam.
    steps = [32, 96, 159, 223, 255, 255, 223, 159, 96, 32]
    np.testing.assert_array_equal(depth[512], [0, *steps, *steps, 0])
    assert depth[:505].max() == depth[520:].max() == 0


def test_one_label_without_a_border_is_deep_everywhere():
    assert (maps_of(np.ones((20, 30), np.int32)).depth == 255).all()


def test_patches_are_cut_from_both_maps():
    labels = np.zeros((20, 30), np.int32)
    labels[:, 10:] = 1
    edges = np.tile(np.arange(30, dtype=np.uint8), (20, 1))
    maps = maps_of(labels, mpp=0.5, downsample=2.0, edges=edges)
    patches = maps.patches(np.array([[20.0, 20.0], [0.0, 20.0]]), 4.0, output_px=8)
    assert patches.shape == (2, 2, 8, 8)
    np.testing.assert_array_equal(patches[0, 0, 3], np.arange(6, 14))
    np.testing.assert_array_equal(patches[0, 1, 3], [0, 0, 0, 0, 16, 48, 80, 112])
    np.testing.assert_array_equal(patches[1, 0, 3], [0, 0, 0, 0, 0, 1, 2, 3])


def test_patches_outside_the_maps_are_refused():
    maps = maps_of(np.zeros((20, 30), np.int32), downsample=2.0)
    message = "1 of 2 centres lie outside the maps, which cover 60 x 40 .* first: row 1"
    with pytest.raises(ValueError, match=message):
        maps.patches(np.array([[59.0, 5.0], [60.0, 5.0]]), 5.0)
    with pytest.raises(ValueError, match="1 of 1 centres are not finite"):
        maps.patches(np.array([[np.nan, 5.0]]), 5.0)


@pytest.mark.parametrize("downsample", [1, 2, 3])
def test_a_mark_lies_at_the_same_place_in_both_patches(downsample):
    image = np.zeros((90, 120, 3), np.uint8)
    image[36:42, 48:60] = 200
    marked = np.ascontiguousarray(image[::downsample, ::downsample, 0])
    mpp = 0.5 * downsample
    maps = maps_of(
        np.zeros(marked.shape, np.int32), mpp=mpp, downsample=downsample, edges=marked
    )
    centres = np.array([[54.0, 39.0], [51.0, 33.0], [0.0, 30.0], [118.5, 89.5]])
    ours = maps.patches(centres, 30.0, output_px=60 // downsample)[:, 0]
    slide = Slide((image[::downsample, ::downsample],), mpp)
    seen = extract(slide, centres / downsample, 30.0, output_px=60 // downsample)[
        ..., 0
    ]
    np.testing.assert_array_equal(ours[:2], seen[:2])
    fine = extract(Slide.from_array(image, 0.5), centres, 30.0, output_px=60)[
        :2, ..., 0
    ]
    for found, expected in zip(ours, fine, strict=False):
        middles = [
            np.average(np.indices(patch.shape)[axis] + 0.5, weights=patch) * scale
            for patch, scale in ((found, downsample), (expected, 1))
            for axis in (0, 1)
        ]
        assert middles[:2] == pytest.approx(middles[2:], abs=1e-9)
    assert (ours[2, :, : 30 // downsample] == 0).all()


@pytest.mark.real_data
def test_a_real_section_has_nuclei_everywhere(tmp_path):
    whole = datasets.her2st("C2")
    left, top, side = 5000, 6000, 1500
    image = whole.slide.crop(left, top, side, side)
    image = np.concatenate([np.full((300, side, 3), 242, np.uint8), image[300:]])
    # Tissue is told from glass, so there must be some.
    inside = (whole.coords_px > (left + 100, top + 400)).all(axis=1)
    inside &= (whole.coords_px < (left + side - 100, top + side - 100)).all(axis=1)
    centres = whole.coords_px[inside] - (left, top)
    section = section_of(image, centres, whole.slide.mpp)
    maps = boundaries.detect(section, cache_folder=tmp_path)
    table = boundaries.morphology(section, maps)
    assert inside.sum() > 5
    assert table["n_nuclei"].min() >= 5
    assert table["area_um2"].between(30, 120).all()
