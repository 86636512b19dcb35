"""Write the registry of public files that ships with the package.

Usage: python .ci/make_registry.py MANIFEST

MANIFEST is a tab-separated table with the columns of the registry. Rows whose licence
only points at other rows get the licence of their dataset.
"""

import sys
from pathlib import Path

import pandas as pd

REGISTRY = Path(__file__).parents[1] / "stlearnkit" / "registry.tsv"


def main(manifest: Path) -> None:
    """Read `manifest`, put the licences right and write the registry."""
    table = pd.read_csv(manifest, sep="\t", dtype=str, keep_default_na=False)
    by_reference = table["licence"].str.startswith("as above")
    licences = table[~by_reference].groupby("dataset")["licence"].first()
    table.loc[by_reference, "licence"] = table["dataset"].map(licences)
    table.sort_values(["dataset", "path"]).to_csv(
        REGISTRY, sep="\t", index=False, lineterminator="\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
