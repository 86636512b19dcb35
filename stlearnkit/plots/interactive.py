"""Pictures that a reader can move, as HTML that needs nothing from elsewhere.

Whoever has no JavaScript, prints the page or looks at a notebook that is not trusted
sees the same pictures side by side.

Taught in the chapter "Aligning sections".
"""

__all__ = ["slider"]

from stlearnkit.plots._slider import slider
