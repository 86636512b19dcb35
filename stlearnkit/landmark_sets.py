"""Public sections in which experts marked the same points, to judge alignments by.

`lung_lesion` gives serial sections of one lesion in three stains, with 80 landmarks of
one or two annotators; `olfactory_bulb` gives four sections of mouse olfactory bulb with
14 landmarks. Row *i* of the landmarks of one section is the same place as row *i* of
another of the same set. They are there to judge: what was tuned on them proves nothing.
`tutorial_landmarks` gives the lung lesion, or made-up sections where it cannot be had.

Taught in the chapter "What a section is".
"""

__all__ = [
    "BULB_SECTIONS",
    "LUNG_STAINS",
    "LandmarkedSlide",
    "lung_lesion",
    "olfactory_bulb",
    "tutorial_landmarks",
]

import logging
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Float

from stlearnkit import synthetic
from stlearnkit.conventions import frame_px
from stlearnkit.downloads import fetch, registry
from stlearnkit.slides import Slide

_log = logging.getLogger(__name__)

LUNG_STAINS = MappingProxyType(
    {"H&E": ("JB", "PS"), "CD31": ("PS",), "proSPC": ("JB", "PS")}
)
"""Stains of the lung lesion, and who marked landmarks in each."""

BULB_SECTIONS = ("01", "02", "03", "04")
"""Names of the sections of olfactory bulb."""

_LUNG_FILES = {"H&E": "He", "CD31": "CD31-3", "proSPC": "proSPC-4"}
_LUNG_FACTOR = 0.1  # landmarks are at 50 % of the scan, the images at 5 %
_BULB_FACTOR = 0.25  # landmarks are on images four times as large
_BULB_SPAN_UM = (6400.0, 6800.0)  # 33 x 35 spots, 200 µm apart


@dataclass(frozen=True, eq=False)
class LandmarkedSlide:
    """One section, with points that were found in its neighbours too.

    Parameters
    ----------
    name
        Of the section.
    slide
        Its image. Where nobody published the scale, `slide.mpp` is None: the image can
        be used, whatever asks for micrometres refuses and says so, and errors are given
        relative to `diagonal_px`.
    landmarks_px
        Places (x, y) in pixels of the slide, in the order of the set.
    """

    name: str
    slide: Slide
    landmarks_px: Float[np.ndarray, "points 2"]

    @property
    def frame(self) -> str:
        """Frame of the landmarks."""
        return frame_px(self.name)

    @property
    def diagonal_px(self) -> float:
        """Length of the image's diagonal, which relative errors are shares of."""
        return float(np.hypot(self.slide.width, self.slide.height))


def lung_lesion(stain: str, *, annotator: str = "PS") -> LandmarkedSlide:
    """Load one of three serial sections of a lung lesion.

    Parameters
    ----------
    stain
        ``"H&E"``, ``"CD31"`` or ``"proSPC"``.
    annotator
        ``"PS"``, or, except for CD31, ``"JB"``. The two differ by a median of 7.3 px in
        H&E and 2.5 px in proSPC, of a diagonal of 1,110 px: below that no error of an
        alignment can be told.

    Raises
    ------
    ValueError
        If there is no such section, or this annotator did not mark it.

    Notes
    -----
    The images are published at 5 % of the scan, about 892 x 660 px. The files do not
    state µm per px, so the slide has none.

    References
    ----------
    Borovec et al., "Benchmarking of image registration methods for differently stained
    histological slides", ICIP 2018.
    """
    _require("stain", stain, tuple(LUNG_STAINS), "lung lesion")
    _require("annotator", annotator, LUNG_STAINS[stain], f"{stain} section")
    file = f"29-041-Izd2-w35-{_LUNG_FILES[stain]}-les3"
    lesion = "lung-lesion_3"
    marks = f"cima/annotations/{lesion}/user-{annotator}_scale-50pc/{file}.csv"
    image = f"cima/dataset/{lesion}/scale-5pc/{file}.jpg"
    table = pd.read_csv(fetch(registry()[marks]), index_col=0)
    return LandmarkedSlide(
        f"lung {stain}",
        Slide.open(fetch(registry()[image])),
        table[["X", "Y"]].to_numpy(float) * _LUNG_FACTOR,
    )


def olfactory_bulb(section: str) -> LandmarkedSlide:
    """Load one of four sections of mouse olfactory bulb.

    Parameters
    ----------
    section
        ``"01"``, ``"02"``, ``"03"`` or ``"04"``.

    Raises
    ------
    ValueError
        If there is no such section.

    Notes
    -----
    The images are cut at the outermost spots of the array, 33 along x and 35 along y,
    which stand 200 µm apart. That gives 2.76 µm per px along x and 2.74 along y; the
    slide has the value that keeps areas right, 2.75.

    References
    ----------
    Ståhl et al. (2016), Science 353:78-82, for the sections; the landmarks are those of
    Andersson et al., "A landmark-based common coordinate framework for spatial
    transcriptomics data" (2021).
    """
    _require("section", section, BULB_SECTIONS, "olfactory bulb")
    folder = "mob_landmarks"
    image = f"{folder}/tutorials/olfactory_bulb_st/images/{section}.jpg"
    marks = f"{folder}/data/mob/landmarks/Rep{int(section)}_MOB.tsv"
    slide = Slide.open(fetch(registry()[image]))
    area_um2, area_px2 = np.prod(_BULB_SPAN_UM), slide.width * slide.height
    table = pd.read_csv(fetch(registry()[marks]), sep="\t", index_col=0)
    return LandmarkedSlide(
        f"bulb {section}",
        replace(slide, mpp=float(np.sqrt(area_um2 / area_px2))),
        table[["xcoord", "ycoord"]].to_numpy(float) * _BULB_FACTOR,
    )


def tutorial_landmarks() -> tuple[LandmarkedSlide, ...]:
    """Return the three sections with landmarks that the chapters work on.

    They are those of `lung_lesion`. Where these are neither on this machine nor can be
    downloaded, a warning says so, and the sections are synthetic, with landmarks where
    the truth puts them. Either way, slides have no scale.
    """
    try:
        return tuple(map(lung_lesion, LUNG_STAINS))
    except (ConnectionError, PermissionError) as error:
        _log.warning(
            "SYNTHETIC TISSUE, NOT REAL DATA: the lung lesion could not be had, so "
            "every landmark below is of simulated sections. Set STLEARNKIT_DATA to a "
            "folder with the real ones."
        )
        _log.debug("The landmarks cannot be had.", exc_info=error)
        return _synthetic_landmarks()


def _synthetic_landmarks() -> tuple[LandmarkedSlide, ...]:
    """Return three made-up serial sections; spots of the first are the landmarks."""
    made = synthetic.stack(3, seed=2)
    sections = made.stack.sections
    in_block = made.warps[0](sections[0].coords_um)
    marks_px = np.stack(
        [
            warp.inverse(in_block) / section.mpp
            for warp, section in zip(made.warps, sections, strict=True)
        ]
    )
    slides = [section.require_slide("to look for landmarks") for section in sections]
    sizes = np.array([[slide.width, slide.height] for slide in slides])[:, None]
    inside = ((marks_px >= 0) & (marks_px < sizes)).all(axis=(0, 2))
    return tuple(
        LandmarkedSlide(f"synthetic {section.name}", replace(slide, mpp=None), marks)
        for section, slide, marks in zip(
            sections, slides, marks_px[:, inside], strict=True
        )
    )


def _require(argument: str, value: str, valid: tuple[str, ...], of: str) -> None:
    """Refuse what is not among the valid values.

    Raises
    ------
    ValueError
        If so.
    """
    if value not in valid:
        raise ValueError(
            f"{argument} is {value!r}, which the {of} has not. "
            f"Choose one of: {', '.join(valid)}."
        )
