"""Boundaries: where edges and nuclei lie in a section, without a trained network.

`detect` makes two maps of a whole section from the amount of haematoxylin: how sharply
it changes (edges), and which pixels belong to which nucleus. `BoundaryMaps` cuts them
around spots, as guides for a network, and takes maps made elsewhere, e.g. by StarDist
or HoVer-Net, in place of ours. `morphology` sums the nuclei of each spot up in a table
that a person can read, and the scores compare maps with a truth.

Taught in the chapter "Boundaries".
"""

__all__ = [
    "BoundaryMaps",
    "detect",
    "edge_lines",
    "edge_map",
    "edge_scores",
    "morphology",
    "nuclei",
    "nuclei_scores",
]

from stlearnkit.boundaries._edges import edge_lines, edge_map
from stlearnkit.boundaries._maps import BoundaryMaps
from stlearnkit.boundaries._morphology import morphology
from stlearnkit.boundaries._nuclei import nuclei
from stlearnkit.boundaries._scores import edge_scores, nuclei_scores
from stlearnkit.boundaries._section import detect
