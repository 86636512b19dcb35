"""Registration: where the serial sections of a block lie on each other.

`WorkingImage` is what is looked at: the tissue's texture and outline in pixels of
16 µm. `coarse` tries every rotation, both handednesses and every shift; `rigid` and
`affine` improve on the best by Gauss and Newton's method, and `deformable` bends it
smoothly; `quality` says how far a map can be trusted. `align` does all but the bending
for two sections, and refuses with its reasons what cannot be right; `align_stack` does
it for a whole stack.

Taught in the chapter "Aligning sections".
"""

__all__ = [
    "WorkingImage",
    "affine",
    "align",
    "align_stack",
    "coarse",
    "deformable",
    "quality",
    "rigid",
]

from stlearnkit.registration._align import align
from stlearnkit.registration._deformable import deformable
from stlearnkit.registration._fine import affine, rigid
from stlearnkit.registration._quality import quality
from stlearnkit.registration._stack import align_stack
from stlearnkit.registration._sweep import coarse
from stlearnkit.registration._working import WorkingImage
