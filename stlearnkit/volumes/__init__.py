"""Volumes: a stack with what was measured and predicted in it, to turn and to export.

`draw` makes a view that can be turned in a browser, `draw_still` a picture of it for
paper, and `Volume.table` a list of points for any other program.

Taught in the chapter "Imputing a volume".
"""

__all__ = ["View", "Volume", "draw", "draw_still"]

from stlearnkit.volumes._still import draw_still
from stlearnkit.volumes._view import View, draw
from stlearnkit.volumes._volume import Volume
