"""Pictures: what is drawn where, and what is refused."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import toys
from matplotlib.collections import EllipseCollection
from matplotlib.text import Text

from stlearnkit import plots, reports


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


HISTORY = pd.DataFrame(
    {
        "epoch": [0, 1, 2, 3],
        "train_loss": [np.nan, 0.9, 0.5, 0.3],
        "val_mse": [1.0, 0.8, 0.7, 0.75],
    }
)


def test_learning_curves_mark_the_epoch_kept_and_the_start(ax):
    plots.learning_curves(HISTORY, ax)
    training, validation, start, kept = ax.lines
    np.testing.assert_allclose(training.get_ydata()[1:], [0.9, 0.5, 0.3])
    np.testing.assert_allclose(validation.get_ydata(), HISTORY["val_mse"])
    assert start.get_ydata()[0] == 1.0
    assert (kept.get_xdata()[0], kept.get_ydata()[0]) == (2, 0.7)


def test_history_must_have_its_columns(ax):
    with pytest.raises(ValueError, match=r"history lacks the columns \['val_mse'\]"):
        plots.learning_curves(HISTORY.drop(columns="val_mse"), ax)


def results(claims=("section", "section")):
    table = pd.DataFrame(
        {
            "claim": list(claims) * 2,
            "predictor": ["ridge", "ridge", "mean", "mean"],
            "patient": "C",
            "section": ["C2", "C3"] * 2,
            "gene": "X",
            "pcc": [0.1, 0.3, 0.0, 0.05],
        }
    )
    return reports.per_unit(table), reports.overview(table)


def test_fold_scores_draw_every_unit_and_the_mean(ax):
    plots.fold_scores(*results(), ax)
    c2, c3, means = (
        points.get_offsets() for points in (*ax.collections[:2], ax.collections[3])
    )
    np.testing.assert_allclose(c2[:, 0], [0.1, 0.0])
    np.testing.assert_allclose(c3[:, 0], [0.3, 0.05])
    np.testing.assert_allclose(means[:, 0], [0.2, 0.025])
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["ridge", "mean"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first row stands on top"


def test_fold_scores_of_two_claims_are_refused(ax):
    with pytest.raises(
        ValueError, match=r"claims \['section', 'patient'\], expected on"
    ):
        plots.fold_scores(*results(claims=("section", "patient")), ax)
