"""Maps made elsewhere, the table of spots, scores and the picture: by hand."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tifffile
import toys
from PIL import Image
from skimage.draw import disk
from test_boundaries import maps_of, section_of

from stlearnkit import boundaries, plots
from stlearnkit.boundaries import _morphology
from stlearnkit.conventions import SectionError

EMPTY = np.zeros((60, 80), np.int32)


def write_geojson(file, geometries):
    features = [{"type": "Feature", "geometry": geometry} for geometry in geometries]
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return file


def square(left, top, side):
    right, bottom = left + side, top + side
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    return {"type": "Polygon", "coordinates": [corners]}


# Maps made elsewhere


def test_labels_of_another_scale_come_to_ours():
    labels = np.zeros((120, 160), np.uint16)
    labels[20:40, 100:120] = 7
    maps = maps_of(EMPTY, mpp=1.0).with_labels(labels, 0.5)
    expected = EMPTY.copy()
    expected[10:20, 50:60] = 7
    np.testing.assert_array_equal(maps.nuclei, expected)
    assert maps.source == "nuclei from a label image"
    assert maps.n_nuclei == 1


@pytest.mark.parametrize("mpp", [0.498, 0.5, 0.502])
def test_a_scale_that_is_a_little_wrong_shifts_nothing(mpp):
    labels = np.zeros((2000, 3000), np.int32)
    labels[1900:1920, 2900:2940] = 5
    maps = maps_of(np.zeros((1000, 1500), np.int32), mpp=1.0)
    found = maps.with_labels(labels, mpp)
    rows, columns = found.nuclei.nonzero()
    assert (rows.min(), rows.max() + 1) == (950, 960)
    assert (columns.min(), columns.max() + 1) == (1450, 1470)
    edges = maps.with_edges((labels > 0).astype(np.uint8) * 255, mpp).edges
    np.testing.assert_array_equal(edges > 127, found.nuclei > 0)


def test_a_last_pixel_that_stands_for_a_part_shifts_nothing():
    labels = np.zeros((60, 79), np.uint8)  # 79 px, of which ours take two each
    labels[20:22, 76:78] = 1
    found = maps_of(np.zeros((30, 40), np.int32), mpp=1.0).with_labels(labels, 0.5)
    assert np.argwhere(found.nuclei).tolist() == [[10, 38]]


@pytest.mark.parametrize("name", ["labels.tif", "labels.png"])
def test_labels_are_read_from_files(tmp_path, name):
    labels = np.zeros((60, 80), np.uint16)
    labels[5:9, 3:20] = 300
    file = tmp_path / name
    if name.endswith("tif"):
        tifffile.imwrite(file, labels)
    else:
        Image.fromarray(labels).save(file)
    np.testing.assert_array_equal(maps_of(EMPTY).with_labels(file, 1.0).nuclei, labels)


@pytest.mark.parametrize(
    ("labels", "mpp", "message"),
    [
        (
            np.zeros((60, 80), int),
            1.0,
            "labels holds 0 to 0, expected 0 between nuclei",
        ),
        (np.full((60, 80), -1), 1.0, "labels holds -1 to -1"),
        (np.zeros((0, 80), int), 1.0, "labels holds nothing"),
        (np.full((60, 80), 2**40), 1.0, "expected at most 2147483647"),
        (np.ones((60, 80)), 1.0, "labels has dtype float64, expected whole numbers"),
        (np.ones((60, 80), bool), 1.0, "labels has dtype bool"),
        (np.ones((60, 80, 3), int), 1.0, r"labels has shape \(60, 80, 3\)"),
        (np.ones((50, 80), int), 1.0, "map of 80 x 50 px at mpp 1.0 shows 80 x 50 µm"),
        (np.ones((60, 80), int), 0.5, "but the slide has 80 x 60 µm"),
        (np.ones((60, 80), int), 0.0, "mpp is 0.0, expected µm per pixel"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_label_image_of_the_slide_is_refused(labels, mpp, message):
    with pytest.raises(ValueError, match=message):
        maps_of(EMPTY).with_labels(labels, mpp)


def test_files_that_are_no_images_are_refused(tmp_path):
    maps = maps_of(EMPTY)
    with pytest.raises(FileNotFoundError, match=r"no map at .*none\.tif"):
        maps.with_labels(tmp_path / "none.tif", 1.0)
    for name in ("text.tif", "text.png"):
        (tmp_path / name).write_text("no image")
        with pytest.raises(ValueError, match="cannot be read as an image"):
            maps.with_labels(str(tmp_path / name), 1.0)


@pytest.mark.usefixtures("unchecked")
def test_edges_made_elsewhere_come_to_our_pixels(tmp_path):
    edges = np.zeros((30, 40), np.uint8)
    edges[10:20] = 200
    Image.fromarray(edges).save(tmp_path / "edges.png")
    maps = maps_of(EMPTY).with_edges(tmp_path / "edges.png", 2.0)
    assert maps.edges.shape == (60, 80)
    np.testing.assert_array_equal(maps.edges[[10, 30, 50], 40], [0, 200, 0])
    with pytest.raises(ValueError, match="edges has dtype float64"):
        maps.with_edges(np.zeros((60, 80)), 1.0)
    with pytest.raises(ValueError, match=r"map of 40 x 30 px at mpp 1\.0"):
        maps.with_edges(edges, 1.0)


def test_polygons_are_filled_at_full_resolution(tmp_path):
    both = {
        "type": "MultiPolygon",
        "coordinates": [
            square(60, 20, 20)["coordinates"],
            square(90, 20, 10)["coordinates"],
        ],
    }
    file = write_geojson(tmp_path / "nuclei.geojson", [square(20, 40, 20), both])
    maps = maps_of(EMPTY, downsample=2.0).with_polygons(file)
    expected = EMPTY.copy()
    expected[20:30, 10:20] = 1
    expected[10:20, 30:40] = 2
    expected[10:15, 45:50] = 2
    np.testing.assert_array_equal(maps.nuclei, expected)
    assert maps.source == "nuclei from GeoJSON"


def test_cells_are_drawn_by_their_nucleus(tmp_path):
    file = tmp_path / "cells.geojson"
    cell, alone = square(10, 10, 20), square(50, 10, 10)
    features = [
        {"geometry": cell, "nucleusGeometry": square(15, 15, 5)},
        {"geometry": alone, "nucleusGeometry": None},
    ]
    file.write_text(json.dumps({"features": features}))
    expected = EMPTY.copy()
    expected[15:20, 15:20] = 1
    expected[10:20, 50:60] = 2
    np.testing.assert_array_equal(maps_of(EMPTY).with_polygons(file).nuclei, expected)


def test_holes_are_filled_and_numbers_are_those_of_the_features(tmp_path):
    ring, hole = (square(10, 10, side)["coordinates"][0] for side in (30, 10))
    donut = {"type": "Polygon", "coordinates": [ring, hole]}
    tiny, later = square(5.6, 5.6, 0.3), square(30, 30, 20)
    file = write_geojson(tmp_path / "nuclei.geojson", [donut, tiny, later])
    expected = EMPTY.copy()
    expected[10:40, 10:40] = 1
    expected[30:50, 30:50] = 3
    maps = maps_of(EMPTY).with_polygons(file)
    np.testing.assert_array_equal(maps.nuclei, expected)
    assert maps.shapes.index.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"features": [', "is not JSON, or not complete"),
        ("[" * 100_000, "is not JSON, or not complete"),
        ('{"type": "Point"}', "not a FeatureCollection"),
        ('{"features": []}', "holds no nucleus: 0 features"),
        ('{"features": [1]}', "feature 1 has no outline that can be read"),
        ('{"features": [{"geometry": null}]}', "feature 1 has no outline"),
        (
            '{"features": [{"geometry": {"type": "Polygon", "coordinates": [[[1]]]}}]}',
            "feature 1 has no outline",
        ),
        (
            '{"features": [{"geometry": {"type": "MultiPolygon", "coordinates": []}}]}',
            "holds no nucleus: 1 features",
        ),
        (
            '{"features": [{"geometry": {"type": "Point", "coordinates": [1, 2]}}]}',
            "feature 1 has no outline that can be read: KeyError",
        ),
        (
            '{"features": [{"geometry": {"type": "Polygon", "coordinates": [["a"]]}}]}',
            "feature 1 has no outline",
        ),
    ],
)
def test_broken_geojson_is_refused(tmp_path, text, message):
    file = tmp_path / "nuclei.geojson"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        maps_of(EMPTY).with_polygons(file)


def test_polygons_must_lie_on_the_slide(tmp_path):
    file = write_geojson(tmp_path / "far.geojson", [square(500, 10, 20)])
    with pytest.raises(ValueError, match="feature 1 leaves the image of 80 x 60 px"):
        maps_of(EMPTY).with_polygons(file)
    with pytest.raises(FileNotFoundError, match="no GeoJSON at"):
        maps_of(EMPTY).with_polygons(tmp_path / "none.geojson")


# The table of spots


def discs(centres, radius=5.0, shape=(200, 200)):
    labels = np.zeros(shape, np.int32)
    for number, (x, y) in enumerate(centres, start=1):
        labels[disk((y - 0.5, x - 0.5), radius, shape=shape)] = number
    return labels


def test_morphology_by_hand():
    labels = discs([(50, 50), (80, 50), (150, 150)])
    section = section_of(np.full((200, 200, 3), 255, np.uint8), [(60, 60), (20, 180)])
    section.adata.obs_names = ["a", "b"]
    edges = np.zeros((200, 200), np.uint8)
    edges[60, :] = 255
    maps = maps_of(labels, edges=edges)
    table = boundaries.morphology(
        section, maps, diameter_um=80.0, key_added="morphology"
    )
    assert list(table.index) == ["a", "b"]
    assert table["n_nuclei"].tolist() == [2, 0]
    disc_mm2 = np.pi * 40**2 / 1e6
    assert table["nuclei_per_mm2"]["a"] == pytest.approx(2 / disc_mm2, rel=0.01)
    assert table["area_um2"]["a"] == (labels == 1).sum()
    assert table["nearest_um"]["a"] == pytest.approx(30.0)
    assert table["eccentricity"]["a"] == pytest.approx(0.0, abs=1e-6)
    covered = 2 * (labels == 1).sum() / (np.pi * 40**2)
    assert table["nuclear_fraction"]["a"] == pytest.approx(covered, rel=0.01)
    assert table["edge_strength"]["a"] == pytest.approx(80 / (np.pi * 40**2), rel=0.02)
    assert table["edge_um_per_um2"]["a"] == pytest.approx(
        80 / (np.pi * 40**2), rel=0.05
    )
    assert table["haematoxylin"]["a"] == 0
    assert table.loc["b", ["area_um2", "eccentricity", "nearest_um"]].isna().all()
    stored = section.adata.obsm["morphology"]
    assert list(stored.columns) == list(table.columns)


def test_half_a_disc_counts_as_half_at_the_border():
    image = np.full((200, 200, 3), (90, 80, 150), np.uint8)
    section = section_of(image, [(0, 100), (100, 100)])
    maps = maps_of(discs([(10, 100), (100, 100)]))
    table = boundaries.morphology(section, maps, diameter_um=60.0)
    ratio = table["nuclei_per_mm2"].iloc[0] / table["nuclei_per_mm2"].iloc[1]
    assert ratio == pytest.approx(2.0, rel=0.02)
    assert table["haematoxylin"].iloc[0] == pytest.approx(table["haematoxylin"].iloc[1])


def test_one_spot_and_one_nucleus():
    section = section_of(np.full((60, 60, 3), 255, np.uint8), [(30, 30)])
    maps = maps_of(discs([(30, 30)], shape=(60, 60)))
    table = boundaries.morphology(section, maps, diameter_um=40.0)
    assert table["n_nuclei"].tolist() == [1]
    assert table["nearest_um"].isna().all()


def test_many_spots_are_looked_at_some_at_a_time(monkeypatch):
    image = np.random.default_rng(0).integers(60, 250, (200, 200, 3), np.uint8)
    section = section_of(image, [(20 * i + 20, 100 - 3 * i) for i in range(7)])
    maps = maps_of(discs([(50, 90), (100, 90)]))
    at_once = boundaries.morphology(section, maps, diameter_um=40.0)
    monkeypatch.setattr(_morphology, "_HELD_PX", 3 * 40**2)
    by_three = boundaries.morphology(section, maps, diameter_um=40.0)
    assert at_once["haematoxylin"].nunique() == 7
    pd.testing.assert_frame_equal(by_three, at_once)


@pytest.mark.parametrize("place", [(0.0, 0.0), (30.0, 30.0), (59.9, 59.9)])
def test_the_smallest_disc_holds_a_pixel(place):
    section = section_of(np.full((60, 60, 3), 90, np.uint8), [place])
    maps = maps_of(np.ones((30, 30), np.int32), mpp=2.0, downsample=2.0)
    table = boundaries.morphology(section, maps, diameter_um=6.0)
    assert table["nuclear_fraction"].tolist() == [1]
    for diameter_um in (5.9, 0.0, np.nan):
        with pytest.raises(ValueError, match=r"diameter_um is .*, expected 3 pixels"):
            boundaries.morphology(section, maps, diameter_um=diameter_um)


def test_maps_must_be_of_the_section():
    section = toys.section()
    for maps in (maps_of(EMPTY), maps_of(np.zeros((240, 300), np.int32), mpp=1.0)):
        with pytest.raises(SectionError, match="do not fit section 'toy'"):
            boundaries.morphology(section, maps)
    with pytest.raises(SectionError, match="'toy' has no slide"):
        boundaries.morphology(toys.section(image=False), maps_of(EMPTY))


# Scores


def test_each_nucleus_is_matched_once_the_closest_first():
    found = np.array([[0.0, 0.0], [1.0, 0.0], [40.0, 0.0]])
    true = np.array([[1.2, 0.0], [3.5, 0.0]])
    scores = boundaries.nuclei_scores(found, true, tolerance_um=3.0)
    # 1.0 takes 1.2; 0.0 is then 3.5 away from what is left.
    assert scores.tolist() == pytest.approx([1 / 3, 1 / 2, 0.4])


def test_scores_of_nothing():
    nothing, one = np.zeros((0, 2)), np.zeros((1, 2))
    assert boundaries.nuclei_scores(one + 50, one).tolist() == [0, 0, 0]
    assert np.isnan(boundaries.nuclei_scores(nothing, one)["precision"])
    assert boundaries.nuclei_scores(nothing, one)["recall"] == 0
    assert boundaries.nuclei_scores(nothing, one)["f1"] == 0
    assert boundaries.nuclei_scores(one, nothing)["f1"] == 0
    assert boundaries.nuclei_scores(nothing, nothing).isna().all()
    lines, none = np.eye(4, dtype=bool), np.zeros((4, 4), bool)
    assert boundaries.edge_scores(none, lines, 1.0)["recall"] == 0
    assert boundaries.edge_scores(none, lines, 1.0)["f1"] == 0
    assert boundaries.edge_scores(none, none, 1.0).isna().all()
    assert boundaries.edge_scores(lines, lines, 1.0).tolist() == [1, 1, 1]


def test_edges_are_matched_within_the_tolerance():
    found, true = np.zeros((2, 20, 20), bool)
    found[5, :] = True
    true[7, :10] = True
    near = boundaries.edge_scores(found, true, 0.5, tolerance_um=1.0)
    assert near.tolist() == pytest.approx([0.5, 1.0, 2 / 3])
    far = boundaries.edge_scores(found, true, 1.0, tolerance_um=1.0)
    assert far.tolist() == [0, 0, 0]


def test_tolerances_must_be_distances():
    lines, points = np.eye(4, dtype=bool), np.zeros((1, 2))
    with pytest.raises(ValueError, match=r"tolerance_um is 0\.0, expected a distance"):
        boundaries.nuclei_scores(points, points, tolerance_um=0.0)
    with pytest.raises(ValueError, match="tolerance_um is nan"):
        boundaries.edge_scores(lines, lines, 1.0, tolerance_um=np.nan)
    with pytest.raises(ValueError, match=r"mpp is 0\.0, expected µm per pixel"):
        boundaries.edge_scores(lines, lines, 0.0)


@pytest.mark.usefixtures("unchecked")
def test_lines_must_lie_on_the_same_pixels():
    with pytest.raises(
        ValueError, match=r"found has shape \(3, 3\), but true \(4, 4\)"
    ):
        boundaries.edge_scores(np.eye(3, dtype=bool), np.eye(4, dtype=bool), 1.0)


# The picture


def test_the_picture_shows_what_lies_around_the_centre():
    section = section_of(np.full((200, 200, 3), 255, np.uint8), [(50, 50)], mpp=0.5)
    maps = maps_of(discs([(50, 50), (150, 150)]), mpp=0.5)
    figure = plots.boundary_maps(section, maps, np.array([50.0, 50.0]), side_um=40.0)
    image, outlines = figure.axes[0].images
    assert image.get_extent() == [5, 45, 45, 5]
    assert outlines.get_array()[..., 3].sum() > 10
    assert figure.axes[0].get_title() == "toy: 1 nuclei"
    assert figure.axes[1].get_xlabel() == "x (µm)"
    plt.close(figure)


def test_what_cannot_be_drawn_is_refused():
    section = section_of(np.full((200, 200, 3), 255, np.uint8), [(50, 50)])
    maps, centre = maps_of(discs([])), np.array([50.0, 50.0])
    with pytest.raises(ValueError, match="'toy' has no slide to draw"):
        plots.boundary_maps(toys.section(image=False), maps, centre)
    with pytest.raises(ValueError, match=r"side_um is 0\.0, expected a length"):
        plots.boundary_maps(section, maps, centre, side_um=0.0)
    with pytest.raises(ValueError, match="hold no pixel of 'toy'"):
        plots.boundary_maps(section, maps, centre + 900.0)
