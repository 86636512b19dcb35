"""Two pictures and a border between them that a reader moves."""

__all__ = ["Movable", "slider"]

import base64
import io
from dataclasses import dataclass
from html import escape
from string import Template

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_MAX_KB = 600  # a page should open at once, and a notebook stay small

_PAGE = Template("""\
<style>
.stk-slider { margin: 0; max-width: ${width}px; }
.stk-slider .stk-two { display: grid; grid-template-columns: 1fr 1fr; gap: 0.5em; }
.stk-slider .stk-two > div { display: grid; position: relative; }
.stk-slider img { width: 100%; margin: 0; display: block; }
.stk-slider .stk-bar { display: none; align-items: center; gap: 0.6em; }
.stk-slider input { flex: 1; min-width: 0; }
@media not print {
  .stk-slider.stk-on .stk-two { grid-template-columns: 1fr; }
  .stk-slider.stk-on .stk-two > div { grid-area: 1 / 1; }
  .stk-slider.stk-on .stk-two span { display: none; }
  .stk-slider.stk-on .stk-first { z-index: 1; }
  .stk-slider.stk-on .stk-first img { clip-path: inset(0 calc(100% - var(--cut)) 0 0); }
  .stk-slider.stk-on .stk-first::after { content: ""; position: absolute; top: 0;
    bottom: 0; left: calc(var(--cut) - 1px); width: 2px; background: #000;
    box-shadow: 0 0 0 1px #fff; }
  .stk-slider.stk-on .stk-bar { display: flex; }
}
</style>
<figure class="stk-slider" style="--cut: 50%">
<div class="stk-two">
<div class="stk-first"><img src="${before}" alt="${alt} Here: ${first}.">
<span>${first}</span></div>
<div><img src="${after}" alt="${alt} Here: ${second}."><span>${second}</span></div>
</div>
<div class="stk-bar"><span aria-hidden="true">${first}</span>
<input type="range" min="0" max="100" value="50" step="1"
 aria-label="How much of the width shows: ${first}. The rest shows: ${second}."
 aria-valuetext="50 % ${first}">
<span aria-hidden="true">${second}</span></div>
<figcaption>${caption}</figcaption>
</figure>
<script>
document.querySelectorAll(".stk-slider:not(.stk-on)").forEach(function (figure) {
  var bar = figure.querySelector("input");
  var first = bar.parentNode.querySelector("span").textContent;
  bar.addEventListener("input", function () {
    figure.style.setProperty("--cut", bar.value + "%");
    bar.setAttribute("aria-valuetext", bar.value + " % " + first);
  });
  figure.classList.add("stk-on");
});
</script>
""")


@dataclass(frozen=True)
class Movable:
    """A picture for a notebook, which shows `html` and says `alt`.

    Parameters
    ----------
    html
        A part of a page, with all that it needs.
    alt
        What it shows, in words.
    """

    html: str
    alt: str

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return self.html

    def __repr__(self) -> str:
        """Return what stands in place of the picture."""
        return self.alt


def slider(
    before: UInt8[np.ndarray, "height width 3"],
    after: UInt8[np.ndarray, "height width 3"],
    *,
    alt: str,
    labels: tuple[str, str] = ("before", "after"),
    caption: str = "",
    jpeg_quality: int = 75,
) -> Movable:
    """Lay two pictures on each other, with a border between them that can be moved.

    The border follows the mouse, a finger, or the arrow keys. Without JavaScript, and
    on paper, the pictures stand side by side.

    Parameters
    ----------
    before, after
        Two pictures of the same size, of some hundred pixels: left and right of the
        border.
    alt
        What both show, in a sentence or two, for those who cannot see it.
    labels
        What to call them.
    caption
        A line below.
    jpeg_quality
        From 1 to 95; lower is smaller.

    Raises
    ------
    ValueError
        If the pictures differ in shape or are not RGB in bytes, `alt` is empty,
        `jpeg_quality` is out of range, or the result has more than 600 kB.

    Examples
    --------
    >>> white = np.full((20, 30, 3), 255, np.uint8)
    >>> shown = slider(white, white // 2, alt="A white and a grey field.")
    >>> shown
    A white and a grey field.
    >>> "http" in shown.html  # all that is needed is in it
    False
    """
    for name, picture in (("before", before), ("after", after)):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(
                f"{name} has shape {picture.shape} and dtype {picture.dtype}, expected "
                "(height, width, 3) and uint8. From 0 to 1: (255 * image).astype(...)."
            )
    if before.shape != after.shape:
        raise ValueError(
            f"before has shape {before.shape}, after {after.shape}, expected the same. "
            "Draw both on one grid: geometry.pull."
        )
    if not alt.strip():
        raise ValueError("alt is empty: say in a sentence what the pictures show.")
    if not 1 <= jpeg_quality <= 95:
        raise ValueError(f"jpeg_quality is {jpeg_quality}, expected 1 to 95.")
    html = _PAGE.substitute(
        width=before.shape[1],
        before=_as_url(before, jpeg_quality),
        after=_as_url(after, jpeg_quality),
        alt=escape(alt.strip()),
        first=escape(labels[0]),
        second=escape(labels[1]),
        caption=escape(caption),
    )
    if len(html) > 1000 * _MAX_KB:
        raise ValueError(
            f"the slider has {len(html) / 1000:.0f} kB, expected {_MAX_KB} or less. "
            "Shrink the pictures, e.g. Slide.thumbnail(700), or lower jpeg_quality."
        )
    return Movable(html, alt.strip())


def _as_url(picture: UInt8[np.ndarray, "height width 3"], quality: int) -> str:
    """Return a picture as an address that holds it."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
