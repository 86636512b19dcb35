"""Volumes: what is drawn where, what is exported, and what is refused."""

import base64
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import toys

from stlearnkit import volumes
from stlearnkit.conventions import SectionError
from stlearnkit.geometry import Affine2D
from stlearnkit.sections import Section
from stlearnkit.stacks import Stack

BELOW = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
ABOVE = np.array([[4.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.5, 0.0]])


def a_stack() -> Stack:
    """Two toys, the upper one 100 µm to the right of the lower one."""
    sections = tuple(toys.section(name) for name in ("low", "up"))
    maps = tuple(
        Affine2D.rigid(0.0, (shift, 0.0), source=f"{name}/um", target="low/um")
        for name, shift in (("low", 0.0), ("up", 100.0))
    )
    return Stack(sections, (0.0, 16.0), maps)


def a_volume(**given: object) -> volumes.Volume:
    """The lower section is observed, the upper one measured and predicted."""
    settings = {
        "stack": a_stack(),
        "genes": ("A", "B"),
        "measured": {"low": BELOW, "up": ABOVE},
        "predicted": {"up": ABOVE + np.array([1.0, -1.0])},
    }
    return volumes.Volume(**{**settings, **given})


@pytest.fixture
def stained(monkeypatch):
    """Let the left half of every toy, which has no colours, pass for tissue."""

    def left_half(image):
        return np.tile(np.arange(image.shape[1]) < image.shape[1] / 2, (len(image), 1))

    monkeypatch.setattr("stlearnkit.volumes._planes.tissue_mask", left_half)


def spots(view: volumes.View) -> dict[str, object]:
    return {
        trace.name: trace for trace in view.figure.data if trace.type == "scatter3d"
    }


# The table of points


def test_table_has_a_row_for_each_spot_and_kind():
    table = a_volume().table()
    kinds = table.groupby(["section", "kind"], sort=False).size()
    assert kinds.to_dict() == {
        ("low", "measured"): 4,
        ("up", "measured"): 4,
        ("up", "predicted"): 4,
    }
    last = table.iloc[-1]
    assert (last["spot"], last["A"], last["B"]) == ("2x2", 1.5, -1.0)
    # The spot at (320, 300) µm of the upper section, moved by 100 µm and raised.
    assert last[["x_um", "y_um", "z_um"]].tolist() == [420.0, 300.0, 16.0]


def test_table_survives_a_text_file(tmp_path):
    table = a_volume().table()
    table.to_csv(tmp_path / "volume.csv", index=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "volume.csv"), table)


def test_observed_sections_are_those_that_were_not_predicted():
    assert a_volume().observed == ("low",)
    assert a_volume(predicted={}).observed == ("low", "up")


def test_points_of_each_kind():
    volume = a_volume()
    predicted = volume.points("A", "predicted")
    assert predicted["value"].tolist() == [0, 1, 2, 3, 5, 2, 3, 1.5]
    assert predicted["observed"].tolist() == [True] * 4 + [False] * 4
    difference = volume.points("B", "difference")
    assert difference["section"].unique().tolist() == ["up"]
    assert difference["value"].tolist() == [-1.0] * 4


def test_what_was_not_measured_has_no_difference():
    assert a_volume(measured={"low": BELOW}).points("A", "difference").empty


# The view to turn


def test_view_has_planes_below_the_spots_and_spots_in_place(stained):
    view = volumes.draw(a_volume(), ["A", "B"], alt="two squares", plane_px=12)
    surfaces = [trace for trace in view.figure.data if trace.type == "surface"]
    heights = [{z for row in each.z for z in row} - {None} for each in surfaces]
    assert [len(each) for each in heights] == [1, 1]
    assert max(heights[0]) < 0 < max(heights[1]) < 16
    measured = spots(view)["measured"]
    assert list(measured.x) == [120, 320, 120, 320, 220, 420, 220, 420]
    assert list(measured.z) == [0] * 4 + [16] * 4
    assert list(measured.marker.color) == [0, 1, 2, 3, 4, 1, 2, 0.5]


def test_planes_show_tissue_where_the_stack_has_it(stained):
    view = volumes.draw(a_volume(), ["A"], alt="two squares", plane_px=14)
    low, up = (trace for trace in view.figure.data if trace.type == "surface")
    edges = []
    for surface in (low, up):
        tissue = ~np.isnan(np.array(surface.z, float)).all(axis=0)
        edges.append(max(np.asarray(surface.x)[tissue]))
    # Tissue ends 300 µm from the left of either picture; a pixel is 57 µm wide.
    np.testing.assert_allclose(edges, [300.0, 400.0], atol=60.0)


def test_kinds_share_the_colours_that_are_compared():
    traces = spots(volumes.draw(a_volume(), ["A"], alt="spots", plane_px=0))
    limits = {kind: (t.marker.cmin, t.marker.cmax) for kind, t in traces.items()}
    # Of 16 values the highest are 4 and 5: 0.15 of the step between them is cut off.
    both = (0.0, pytest.approx(4.85))
    assert limits == {"measured": both, "predicted": both, "difference": (-1.0, 1.0)}
    assert [t.visible for t in traces.values()] == [True, False, False]
    assert set(traces["predicted"].marker.symbol) == {"square", "circle"}


def test_menus_change_gene_and_kind_apart():
    view = volumes.draw(a_volume(), ["A", "B"], alt="spots", plane_px=0)
    genes, kinds = view.figure.layout.updatemenus
    assert [button.label for button in genes.buttons] == ["A", "B"]
    change, rows = genes.buttons[1].args
    assert list(rows) == [0, 1, 2]
    assert change["marker.color"][2] == [-1.0] * 4
    assert change["marker.colorbar.title.text"][0].startswith("B, measured, ln(1 +")
    assert kinds.buttons[2].args[0] == {"visible": [False, False, True]}


def test_without_measurements_there_is_nothing_to_compare():
    volume = a_volume(measured={"low": BELOW})
    traces = spots(volumes.draw(volume, ["A"], alt="spots", plane_px=0))
    assert list(traces) == ["measured", "predicted"]


def test_heights_are_stretched_by_the_scene_and_ticks_stay_true():
    view = volumes.draw(a_volume(), ["A"], alt="spots", z_times=10, plane_px=0)
    scene = view.figure.layout.scene
    # 300 µm wide, 200 µm deep, 16 µm high.
    assert scene.aspectratio.x == 1
    assert scene.aspectratio.y == pytest.approx(200 / 300)
    assert scene.aspectratio.z == pytest.approx(160 / 300)
    assert list(scene.zaxis.tickvals) == [0, 16]
    assert "10 times" in view.figure.layout.annotations[0].text


def test_places_far_from_the_corner_are_kept():
    whole = a_stack()
    far = tuple(
        Affine2D.rigid(0.0, (shift, 0.0), source=each.source, target=each.target)
        for shift, each in zip((0.0, 40_000.0), whole.to_reference, strict=True)
    )
    volume = a_volume(stack=Stack(whole.sections, whole.z_um, far))
    measured = spots(volumes.draw(volume, ["A"], alt="spots", plane_px=0))["measured"]
    assert max(measured.x) == 40_320


def test_page_carries_its_data_and_words():
    volume = a_volume(genes=("</script>", "B"))
    view = volumes.draw(volume, ["</script>"], alt='a "cube"', plane_px=0)
    page = view._repr_html_()
    assert 'aria-label="a &quot;cube&quot;"' in page
    assert page.count("</script>") == 1, "a name must not end the script"
    figure = json.loads(re.search(r"const figure = (.*);\n", page)[1])
    sent = figure["data"][0]["x"]
    assert np.frombuffer(base64.b64decode(sent["bdata"]), sent["dtype"])[1] == 320
    assert repr(view) == "View('a \"cube\"')"
    assert view.html() != page, "two views on one page need two names"


def test_each_gene_adds_a_few_bytes_a_spot():
    values = np.random.default_rng(0).random((4, 30))
    genes = tuple(f"G{number}" for number in range(30))
    volume = a_volume(genes=genes, measured={"up": values}, predicted={"up": values})
    few, many = (
        len(json.dumps([button.args[0]["marker.color"] for button in menu.buttons]))
        for menu in (
            volumes.draw(volume, some, alt="s", plane_px=0).figure.layout.updatemenus[0]
            for some in (genes[:10], genes)
        )
    )
    assert (many - few) / 20 / 4 < 20  # three numbers of about 5 letters


# The picture


def test_still_draws_all_kinds_on_the_same_places():
    figure = volumes.draw_still(a_volume(), "A")
    panels = [ax for ax in figure.axes if ax.name == "3d"]
    titles = [ax.get_title() for ax in panels]
    assert titles == ["measured", "predicted", "predicted − measured"]
    n_dots = [sum(len(c.get_array()) for c in ax.collections) for ax in panels]
    assert n_dots == [8, 8, 4]
    limits = [ax.collections[-1].get_clim() for ax in panels]
    assert limits == [(0.0, pytest.approx(4.85))] * 2 + [(-1.0, 1.0)]
    low, high = panels[0].get_ylim()
    assert low > high, "y must point down, as in the image"
    plt.close(figure)


def test_still_of_what_was_only_predicted():
    figure = volumes.draw_still(a_volume(measured={"low": BELOW}), "A")
    titles = [ax.get_title() for ax in figure.axes if ax.name == "3d"]
    assert titles == ["measured", "predicted"]
    plt.close(figure)


# Refusals


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"measured": {}, "predicted": {}}, "measured and predicted are empty"),
        ({"measured": {"x": BELOW}}, r"measured has section 'x', expected .*\['low'"),
        (
            {"predicted": {"up": ABOVE[:2]}},
            r"'up' has shape \(2, 2\), expected \(4, 2\)",
        ),
        ({"measured": {"up": ABOVE * np.nan}}, "'up' has values that are not finite"),
    ],
)
def test_volumes_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        a_volume(**given)


def test_unknown_genes_and_kinds_are_refused():
    with pytest.raises(ValueError, match=r"genes has \['C'\], expected one or more"):
        volumes.draw(a_volume(), ["A", "C"], alt="spots")
    with pytest.raises(ValueError, match="genes has none, expected one or more"):
        volumes.draw(a_volume(), [], alt="spots")
    with pytest.raises(ValueError, match="kind is 'true', expected one of"):
        a_volume().points("A", "true")


@pytest.mark.parametrize("z_times", [0.0, -1.0, np.inf])
def test_heights_must_be_stretched_by_something(z_times):
    for function, given in (
        (volumes.draw, (["A"],)),
        (volumes.draw_still, ("A",)),
    ):
        words = {"alt": "spots"} if function is volumes.draw else {}
        with pytest.raises(ValueError, match=r"z_times is .*, expected above 0"):
            function(a_volume(), *given, z_times=z_times, **words)


def test_planes_need_slides():
    whole = a_stack()
    bare = tuple(Section(s.adata, None, s.name, s.patient) for s in whole.sections)
    volume = a_volume(stack=Stack(bare, whole.z_um, whole.to_reference))
    with pytest.raises(SectionError, match="no slide to draw it in the volume"):
        volumes.draw(volume, ["A"], alt="spots")
