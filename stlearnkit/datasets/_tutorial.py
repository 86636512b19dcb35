"""The sections that the chapters work on, and what stands in without them."""

__all__ = ["is_real", "tutorial_other_patient", "tutorial_stack"]

import logging
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from stlearnkit import synthetic
from stlearnkit._arrays import PROVENANCE
from stlearnkit.datasets._her2st import files_of, her2st
from stlearnkit.downloads import data_dir, fetch
from stlearnkit.sections import Section

_log = logging.getLogger(__name__)

_TUTORIAL_STACK = ("C2", "C3", "C4", "C5", "C6")
_TUTORIAL_OTHER = "B4"


def tutorial_stack() -> tuple[Section, ...]:
    """Return the five serial sections the chapters work on.

    They are C2 to C6 of `her2st`. Where these, or B4, are neither on this machine nor
    can be downloaded, one warning says so, and the sections are synthetic tissue;
    `is_real` tells which. It is tried once per process and `data_dir()`.
    """
    if _tutorial_is_at_hand(data_dir()):
        return tuple(her2st(name) for name in _TUTORIAL_STACK)
    return synthetic.stack(n_sections=len(_TUTORIAL_STACK), seed=0).stack.sections


def tutorial_other_patient() -> Section:
    """Return the section of another patient that the chapters test on.

    It is B4 of `her2st`, or synthetic exactly where `tutorial_stack` is, so that
    both always have genes in common. The synthetic one is another tissue, stained a
    little differently.
    """
    if _tutorial_is_at_hand(data_dir()):
        return her2st(_TUTORIAL_OTHER)
    simulated = synthetic.section("S6", seed=1, patient="SIM2", stain_shift=0.15)
    return simulated.section


def is_real(section: Section) -> bool:
    """Tell whether a section was loaded from published data by this room."""
    return "dataset" in section.adata.uns.get(PROVENANCE, {})


@cache
def _tutorial_is_at_hand(folder: Path) -> bool:
    """Fetch all files of the tutorial sections; say so loudly where that fails.

    Asked once for each data folder, so that all chapters' calls agree, the waiting
    is done once and the warning stands once.
    """
    sections = (*_TUTORIAL_STACK, _TUTORIAL_OTHER)
    files = [file for name in sections for file in files_of(name).values()]
    try:
        for remote in files:
            fetch(remote)
    except (ConnectionError, PermissionError) as error:
        host = urlsplit(remote.url).hostname
        reason = (
            f"no whole copy could be had from {host}"
            if isinstance(error, ConnectionError)
            else "no folder to keep them in can be written to"
        )
        _log.warning(
            "SYNTHETIC TISSUE, NOT REAL DATA: sections C2-C6 and B4 of HER2ST are not "
            "in %s and %s, so every number and picture below is of simulated sections. "
            "Set STLEARNKIT_DATA to a folder with the real ones.",
            folder,
            reason,
        )
        _log.debug("The tutorial's files cannot be had.", exc_info=error)
        return False
    return True
