"""One page of HTML that needs nothing else: no network, no script, no other file."""

__all__ = ["page", "paragraph", "part", "picture", "table"]

import io
from base64 import b64encode
from html import escape

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

_DPI = 90

# Text has a contrast of 15 to 1, secondary text of 7 to 1 (WCAG 2.2 asks for 4.5).
_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; background: #fff;
       color: #1f2328; font: 1rem/1.55 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #59636e; }
p.note, figcaption { color: #4d555e; max-width: 45rem; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; }
.wide { overflow-x: auto; }
.wide:focus { outline: 3px solid #0550ae; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .4rem 0; color: #4d555e; }
tbody th { font-weight: normal; }
th, td { padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top;
         border-bottom: 1px solid #8c959f; }
pre { overflow-x: auto; padding: .8rem; background: #f6f8fa; }
"""


def page(title: str, parts: list[str]) -> bytes:
    """Return the whole page."""
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        '<head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style></head>",
        f"<body><main><h1>{escape(title)}</h1>",
        *parts,
        "</main></body></html>",
    ]
    return "\n".join(lines).encode()


def part(heading: str, *contents: str) -> str:
    """Return a part of the page under its heading."""
    inside = "\n".join(contents)
    return f"<section><h2>{escape(heading)}</h2>\n{inside}</section>"


def paragraph(words: str) -> str:
    """Return a note."""
    return f'<p class="note">{escape(words)}</p>'


def table(rows: pd.DataFrame, caption: str) -> str:
    """Return a table whose columns have headings; on a phone it scrolls by itself."""
    heads = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in rows)
    body = "\n".join(_row(*cells) for cells in rows.itertuples(index=False))
    label = escape(caption, quote=True)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{label}">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _row(first: object, *others: object) -> str:
    """Return a row of a table, which the first cell names."""
    cells = "".join(f"<td>{escape(_shown(cell))}</td>" for cell in others)
    return f'<tr><th scope="row">{escape(_shown(first))}</th>{cells}</tr>'


def picture(figure: Figure, alt: str, caption: str) -> str:
    """Return a figure as part of the page, and close it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    plt.close(figure)
    content = b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img alt="{escape(alt, quote=True)}" '
        f'src="data:image/png;base64,{content}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _shown(cell: object) -> str:
    """Return a cell; numbers with three decimals at most, nothing for no number."""
    if isinstance(cell, float):
        return "" if pd.isna(cell) else f"{cell:.3f}".rstrip("0").rstrip(".")
    return str(cell)
