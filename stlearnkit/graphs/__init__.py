"""Graphs of spots: who is whose neighbour, across scales and across sections.

A `SpotGraph` is a list of edges, perhaps with weights, and the number of spots, nothing
more, so that it can be read, drawn and checked by hand. There is one function for each
way to choose neighbours: `radius`, `knn`, `grid` and `delaunay`. A `ScaleGraph` joins
spots to squares of tissue, a `StackGraph` joins spots to those above and below them on
other sections, and `blocks` cuts a graph that is too large into parts that compute the
same. Edges point from a neighbour to the spot that looks at it, as in
PyTorch Geometric.

All graphs are functions of coordinates alone: no chance, no labels. Exactly repeated
coordinates are two spots in one place: at distance 0, so neighbours of each other.

Taught in the chapter "Spots as a graph".
"""

__all__ = [
    "ScaleGraph",
    "SpotGraph",
    "StackGraph",
    "blocks",
    "delaunay",
    "grid",
    "knn",
    "radius",
]

from stlearnkit.graphs._blocks import Block as Block
from stlearnkit.graphs._blocks import blocks
from stlearnkit.graphs._delaunay import delaunay
from stlearnkit.graphs._graph import SpotGraph
from stlearnkit.graphs._lattice import grid
from stlearnkit.graphs._near import knn, radius
from stlearnkit.graphs._scales import ScaleGraph
from stlearnkit.graphs._stack import StackGraph
