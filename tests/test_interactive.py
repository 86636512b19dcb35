"""The slider: what is in it, what a reader without mouse or script gets, refusals."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from stlearnkit.plots.interactive import slider

ALT = "Two fields."


def fields(height: int = 40, width: int = 60) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.full((height, width, 3), grey, np.uint8) for grey in (200, 90))


class Tags(HTMLParser):
    """Elements of a page, in order, and whether each is closed by its own end."""

    def __init__(self, page: str):
        super().__init__()
        self.found, self.open = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_both_pictures_are_in_it_in_order():
    tags = Tags(slider(*fields(), alt=ALT).html)
    assert not tags.open
    for image, grey in zip(tags.of("img"), (200, 90), strict=True):
        data = base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,"))
        pixels = np.asarray(Image.open(io.BytesIO(data)))
        assert pixels.shape == (40, 60, 3)
        assert np.abs(pixels.astype(int) - grey).max() <= 2


def test_it_needs_nothing_from_elsewhere():
    page = slider(*fields(), alt=ALT).html
    for outer in ("http", "//", "@import", "<link", "<script src"):
        assert outer not in re.sub(r"base64,[^\"]*", "", page)


def test_it_speaks_and_is_moved_by_keys():
    shown = slider(*fields(), alt=ALT, labels=("as they lie", "aligned"))
    tags = Tags(shown.html)
    assert [image["alt"] for image in tags.of("img")] == [
        "Two fields. Here: as they lie.",
        "Two fields. Here: aligned.",
    ]
    (bar,) = tags.of("input")  # a native one: focus and arrow keys come with it
    assert (bar["type"], bar["min"], bar["max"]) == ("range", "0", "100")
    assert "as they lie" in bar["aria-label"]
    assert "tabindex" not in bar
    assert repr(shown) == ALT


def test_without_script_and_on_paper_they_stand_side_by_side():
    page = slider(*fields(), alt=ALT).html
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    always, screen = style.split("@media not print")
    assert "grid-template-columns: 1fr 1fr" in always
    assert "clip-path" not in always
    # Only a script lays them on each other, and only where nothing is printed.
    rules = [line for line in screen.splitlines() if line.startswith("  .")]
    assert rules
    assert all(".stk-on" in rule for rule in rules)
    (figure,) = Tags(page).of("figure")
    assert figure["class"] == "stk-slider"


def test_words_are_escaped():
    page = slider(
        *fields(), alt='A "b" <c>.', labels=("<i>", "&"), caption="x < y"
    ).html
    assert "<i>" not in page
    assert "<figcaption>x &lt; y</figcaption>" in page
    assert Tags(page).of("img")[0]["alt"] == 'A "b" <c>. Here: <i>.'


def test_the_same_pictures_give_the_same_page():
    assert slider(*fields(), alt=ALT) == slider(*fields(), alt=ALT)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"before": np.zeros((40, 60), np.uint8)}, r"before has shape \(40, 60\)"),
        ({"after": np.zeros((40, 60, 4), np.uint8)}, r"after has shape \(40, 60, 4\)"),
        ({"after": np.zeros((40, 60, 3))}, "dtype float64, expected"),
        ({"after": np.zeros((40, 50, 3), np.uint8)}, r"after \(40, 50, 3\), expected"),
        ({"alt": " "}, "alt is empty"),
        ({"jpeg_quality": 0}, "jpeg_quality is 0, expected 1 to 95"),
        ({"jpeg_quality": 100}, "jpeg_quality is 100, expected 1 to 95"),
    ],
)
def test_refused_sliders(change, message):
    before, after = fields()
    with pytest.raises(ValueError, match=message):
        slider(**({"before": before, "after": after, "alt": ALT} | change))


def test_a_slider_that_would_be_too_large_is_refused():
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"the slider has \d+ kB, expected 600"):
        slider(noise, noise, alt=ALT, jpeg_quality=95)
