"""Maps of the plane that know which frames they join.

A matrix alone does not say whether it maps pixels to micrometres or back, nor of which
section. `Affine2D` carries both frame names, so that a wrong composition is an error
and not a wrong picture. A `Displacement` adds a smooth field, and an
`InverseDisplacement` is its way back; all act on points, invert, compose with affine
maps and are kept in files. `pull` moves images by the same maps.

Taught in the chapter "From slide to patches".
"""

__all__ = [
    "Affine2D",
    "Displacement",
    "InverseDisplacement",
    "load",
    "pull",
    "read_itk",
    "save",
    "write_itk",
]

from stlearnkit.geometry._affine import Affine2D
from stlearnkit.geometry._affine import AffineParts as AffineParts
from stlearnkit.geometry._affine import Transform as Transform
from stlearnkit.geometry._displacement import Displacement, InverseDisplacement
from stlearnkit.geometry._files import load, read_itk, save, write_itk
from stlearnkit.geometry._pull import pull
