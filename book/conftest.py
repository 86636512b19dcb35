"""How the chapters are tested as notebooks.

Cells tagged `nbval-check-output` must give the text that is committed. That text comes
from real sections and, where a chapter uses one, from the book's encoder. Where these
are not to be had every cell still runs, on synthetic tissue or with another encoder, so
nothing is compared, and the header says so.
"""

from collections.abc import Callable
from typing import Any

import pytest
from nbval.plugin import coalesce_streams
from rounding import agree

from stlearnkit import datasets
from stlearnkit._weights import default_name

NOT_COMPARED = ("stderr", "text/html", "image/svg+xml")
AT_HAND = pytest.StashKey[dict[str, bool]]()
KEY = "at_hand"  # of what a worker is told


def pytest_configure(config: pytest.Config) -> None:
    """Find out once, in the process that starts the others, what there is."""
    told = getattr(config, "workerinput", None)
    config.stash[AT_HAND] = (
        told[KEY]
        if told
        else {
            "sections": datasets.is_real(datasets.tutorial_other_patient()),
            "encoder": default_name().startswith("local-dir:"),
        }
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker."""
    node.workerinput[KEY] = node.config.stash[AT_HAND]


def pytest_report_header(config: pytest.Config) -> str:
    """Say whether outputs are compared."""
    at_hand = config.stash[AT_HAND]
    if not at_hand["sections"]:
        return (
            "chapters: NO REAL SECTIONS, here or to be downloaded: every cell runs, on "
            "synthetic tissue; outputs are NOT compared"
        )
    if not at_hand["encoder"]:
        return (
            "chapters: real sections, checked outputs are compared, but NOT those of "
            "chapters with an encoder: the book's is not in STLEARNKIT_WEIGHTS"
        )
    return "chapters: real sections, checked outputs are compared"


def pytest_collectstart(collector: Any) -> None:
    """Compare neither warnings nor HTML nor SVG, which differ between machines."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += NOT_COMPARED


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Compare nothing where the outputs cannot be those that are committed."""
    at_hand = config.stash[AT_HAND]
    for item in items:
        uses_encoder = "tutorial_encoder" in item.path.read_text(encoding="utf-8")
        comparable = at_hand["sections"] and (at_hand["encoder"] or not uses_encoder)
        if hasattr(item, "options"):
            item.options["check"] = item.options["check"] and comparable
            item.compare_outputs = _allowing_for_rounding(item.compare_outputs)


def _allowing_for_rounding(compare: Callable[..., bool]) -> Callable[..., bool]:
    """Let a comparison pass where only rounding made a difference."""

    def compare_outputs(test: Any, ref: Any, skip_compare: Any = None) -> bool:
        found = coalesce_streams(test)
        if len(found) == len(ref):
            for output, committed in zip(found, ref, strict=True):
                texts = (output.get("text"), committed.get("text"))
                if None not in texts and agree(*texts):
                    output["text"] = texts[1]
        return compare(found, ref, skip_compare)

    return compare_outputs
