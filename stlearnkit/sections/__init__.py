"""A section: spots with counts, their places, and the slide behind them.

`Section` is an `AnnData` under scanpy's and squidpy's own keys together with a
`Slide`; nothing is hidden in either, so every tool that reads such an `AnnData`
works. Serial sections of one block are joined by `stacks.Stack`.

Sections of your own are read from where instruments and tools left them:
`read_visium` and `read_visium_hd` from a folder of Space Ranger, `read_spatialdata`
from a zarr store. Public ones come by name from `datasets`.

Taught in the chapter "What a section is".
"""

__all__ = ["Section", "read_spatialdata", "read_visium", "read_visium_hd"]

from stlearnkit.sections._section import Section
from stlearnkit.sections._spaceranger import read_visium, read_visium_hd
from stlearnkit.sections._zarr import read_spatialdata
