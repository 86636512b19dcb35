"""Pictures: what is drawn where, and what is refused."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import toys
from matplotlib.collections import EllipseCollection
from matplotlib.text import Text

from stlearnkit import plots


@pytest.fixture
def ax():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def circles(ax):
    return next(c for c in ax.collections if isinstance(c, EllipseCollection))


def test_section_image_is_in_um_with_y_down(ax):
    plots.section_image(toys.section(), ax)
    assert ax.images[0].get_extent() == [0, 600.0, 480.0, 0]
    assert ax.get_xlabel() == "x (µm)"


def test_spots_are_drawn_at_their_place_and_size(ax):
    section = toys.section()
    plots.spot_map(section, np.arange(4.0), ax, label="counts")
    drawn = circles(ax)
    np.testing.assert_allclose(drawn.get_offsets(), section.coords_um)
    np.testing.assert_allclose(drawn.get_widths(), 100.0)
    np.testing.assert_allclose(drawn.get_array(), np.arange(4.0))
    low, high = ax.get_ylim()
    assert low > high, "y must point down, as in the image"


def test_values_must_match_the_spots(ax):
    with pytest.raises(ValueError, match=r"values has 3 entries, but .* has 4 spots"):
        plots.spot_map(toys.section(), np.zeros(3), ax)


def test_labels_get_one_colour_each_and_a_legend(ax):
    labels = pd.Series(["b", "a", "b", "a"], index=["2x1", "1x1", "2x2", "1x2"])
    plots.label_map(toys.section(), labels, ax)
    colours = circles(ax).get_facecolor()
    np.testing.assert_array_equal(colours[0], colours[2])  # 1x1 and 1x2 are both "a"
    assert not np.array_equal(colours[0], colours[1])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_unlabelled_spots_are_refused(ax):
    with pytest.raises(ValueError, match="labels lacks 3 of 4 spots, first: '2x1'"):
        plots.label_map(toys.section(), pd.Series({"1x1": "a"}), ax)


def test_compared_maps_share_one_scale():
    measured = np.array([0.0, 1.0, 2.0, 4.0])
    figure = plots.compare_maps(
        toys.section(),
        measured,
        {"ridge": measured / 2, "mean": measured * 0},
        gene="G",
    )
    panels = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["measured", "ridge", "mean"]
    assert {circles(ax).get_clim() for ax in panels} == {(0.0, 4.0)}
    assert [ax.get_ylabel() for ax in panels] == ["y (µm)", "", ""]
    plt.close(figure)


def test_ceiling_scatter_names_the_best(ax):
    plots.ceiling_scatter(
        np.array([0.1, 0.6, np.nan]),
        np.array([0.5, 0.8, 0.7]),
        ax,
        genes=["A", "B", "C"],
        n_named=1,
    )
    assert [text.get_text() for text in ax.texts] == ["B"]
    assert ax.texts[0].xy == (0.8, 0.6)


@pytest.mark.parametrize("level", [0.2, 0.95])
def test_names_of_equal_genes_do_not_overlap(ax, level):
    """Six genes in one place: names in a column, within the height of the axes."""
    genes = [f"GENE{number}" for number in range(6)]
    plots.ceiling_scatter(np.full(6, level), np.full(6, 0.97), ax, genes=genes)
    ax.figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in reversed(ax.texts)]  # no leaders
    assert all(low.y1 <= up.y0 for low, up in pairwise(boxes))
    frame = ax.get_window_extent()
    assert all(frame.x1 < box.x0 and frame.y0 < box.y0 for box in boxes)
    assert boxes[-1].y1 < frame.y1 + boxes[-1].height


def test_a_section_without_slide_has_no_image(ax):
    with pytest.raises(ValueError, match="section 'toy' has no slide to draw"):
        plots.section_image(toys.section(image=False), ax)
