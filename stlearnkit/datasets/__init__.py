"""Public sections by name, ready to use.

- `her2st`: HER2-positive breast tumours (Andersson et al. 2021), 36 sections of eight
  patients, Spatial Transcriptomics; clusters, cell types and labels beside them.
- `mob2k`: mouse olfactory bulb, three sections, Spatial Transcriptomics.
- `dlpfc`: human cortex (Maynard et al. 2021), twelve sections of three donors, Visium,
  with the cortical layer of each spot.
- `st_data`: breast tumours (He et al. 2020), 68 sections of 23 patients, Spatial
  Transcriptomics.
- `hest`: any sample of HEST-1k (Jaume et al. 2024).

The first two, and parts of the third, are downloaded when first used, and verified; the
others are read from where you put them. "Data sets" in the book's reference has sizes,
licences, citations, and how to get a part of each. Sections of your own are read by
`sections.read_visium` and its like.

Published tables have loose ends: places without counts, counts without a place, one
gene in two columns. Each loader settles them by a stated rule, logs what it did and
keeps the record in ``adata.uns["provenance"]``.

Taught in the chapter "What a section is".
"""

__all__ = [
    "dlpfc",
    "her2st",
    "hest",
    "is_real",
    "mob2k",
    "st_data",
    "tutorial_other_patient",
    "tutorial_stack",
]

from stlearnkit.datasets._dlpfc import dlpfc
from stlearnkit.datasets._her2st import (  # noqa: F401 - beside the eight names
    her2st,
    her2st_cell_types,
    her2st_clusters,
    her2st_names,
)
from stlearnkit.datasets._hest import hest
from stlearnkit.datasets._mob2k import mob2k
from stlearnkit.datasets._st_data import st_data
from stlearnkit.datasets._tutorial import (
    is_real,
    tutorial_other_patient,
    tutorial_stack,
)
