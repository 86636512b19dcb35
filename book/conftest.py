"""How the chapters are tested as notebooks.

Cells tagged `nbval-check-output` must give the text that is committed. That text comes
from real sections; where they are not to be had every cell still runs, but on synthetic
tissue, so nothing is compared, and the header says so.
"""

from typing import Any

import pytest

from stlearnkit import datasets

NOT_COMPARED = ("stderr", "text/html", "image/svg+xml")
REAL = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Find out once, in the process that starts the others, which data there are."""
    told = getattr(config, "workerinput", None)
    config.stash[REAL] = (
        told["real"] if told else datasets.is_real(datasets.tutorial_other_patient())
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker."""
    node.workerinput["real"] = node.config.stash[REAL]


def pytest_report_header(config: pytest.Config) -> str:
    """Say whether outputs are compared."""
    if config.stash[REAL]:
        return "chapters: real sections, checked outputs are compared"
    return (
        "chapters: NO REAL SECTIONS, here or to be downloaded: every cell runs, on "
        "synthetic tissue; outputs are NOT compared"
    )


def pytest_collectstart(collector: Any) -> None:
    """Compare neither warnings nor HTML nor SVG, which differ between machines."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += NOT_COMPARED


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Compare nothing where the outputs cannot be those of real sections."""
    for item in items:
        if hasattr(item, "options") and not config.stash[REAL]:
            item.options["check"] = False
