"""The words, keys and errors that every other room uses.

Saying each of them once, here, is what keeps the library readable: a unit is
always in a name (`_px`, `_um`), an axis always has the same word, and a slot of
an `AnnData` object is never spelled out twice.

**Axis words.** Shapes in signatures are written with `jaxtyping`, e.g.
``Float[np.ndarray, "spots genes"]``. The words are a closed list, `AXES`.

**Frames.** Points are (x, y); images are (height, width, 3). A frame is a name
such as ``"C2/px"`` (full-resolution pixels of section C2's image) or
``"C2/um"`` (micrometres, same origin and axes).

Taught in the chapter "What a section is".
"""

__all__ = [
    "AXES",
    "COUNTS",
    "SPATIAL",
    "FrameError",
    "RegistrationError",
    "SectionError",
    "frame_px",
    "frame_um",
]

AXES = {
    "spots": "measured places of one section, one row each",
    "genes": "transcripts, one column each",
    "features": "numbers an encoder gives for one patch",
    "edges": "pairs of joined spots",
    "tiles": "squares of tissue that together hold every spot",
    "neighbours": "spots joined to one spot",
    "tokens": "rows that attention works on",
    "heads": "parallel attentions",
    "sections": "slices of one tissue block, one slide each",
    "height": "image rows, downwards",
    "width": "image columns, to the right",
    "side": "rows and columns of a square patch",
    "queries": "spots to predict; the others of their section are context",
    "points": "places in a plane that need not be spots",
    "values": "numbers of any kind, one each",
    "columns": "vectors of values, side by side",
}
"""Every axis word used in a signature, and what one step along it is."""

COUNTS = "counts"
"""`adata.layers` key of the raw counts (scanpy's practice)."""

SPATIAL = "spatial"
"""`adata.obsm` key of spot centres (x, y) in full-resolution pixels, and the
`adata.uns` key of images and scale factors (scanpy's and squidpy's)."""


class SectionError(ValueError):
    """A section whose parts do not fit together."""


class FrameError(ValueError):
    """Points or transforms that live in different frames were combined."""


class RegistrationError(ValueError):
    """Two sections could not be aligned, or should not be."""


def frame_px(name: str) -> str:
    """Name the full-resolution pixel frame of section `name`.

    Examples
    --------
    >>> frame_px("C2")
    'C2/px'
    """
    return f"{name}/px"


def frame_um(name: str) -> str:
    """Name the micrometre frame of section `name`.

    Examples
    --------
    >>> frame_um("C2")
    'C2/um'
    """
    return f"{name}/um"
