"""Pictures of sections, maps and scores, all axes of maps in micrometres.

Each function draws into one `Axes` that it is given and returns it, or lays out a
figure of several and returns that. Maps that are compared share one colour scale.

Taught in the chapter "What a section is".
"""

__all__ = [
    "boundary_maps",
    "ceiling_scatter",
    "compare_maps",
    "fold_scores",
    "label_map",
    "learning_curves",
    "section_image",
    "spot_map",
]

from stlearnkit.plots._boundaries import boundary_maps
from stlearnkit.plots._maps import compare_maps, label_map, section_image, spot_map
from stlearnkit.plots._scores import ceiling_scatter, fold_scores, learning_curves
