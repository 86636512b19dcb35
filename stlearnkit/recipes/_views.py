"""Batches in which each spot is seen from within, around it, and from afar."""

__all__ = ["GuideRecipe", "ViewsRecipe"]

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from stlearnkit.batches import SectionBatch
from stlearnkit.boundaries import BoundaryMaps, detect
from stlearnkit.conventions import SectionError
from stlearnkit.encoders import (
    Encoder,
    default_encoder,
    feature_maps,
    features,
    surroundings,
)
from stlearnkit.patches import Scale, coverage, extract
from stlearnkit.sections import Section
from stlearnkit.slides import Slide

_SPOT, _AROUND = Scale("spot", 224.0), Scale("around", 1120.0)
_SECTION_SCALES = (Scale("spot", 112.0), Scale("near", 224.0), Scale("wide", 560.0))
_OF_COLOUR = np.array([0.299, 0.587, 0.114])  # brightness, as in ITU-R BT.601


@dataclass(frozen=True)
class GuideRecipe:
    """How to add maps of edges and nuclei to a batch, or what is to control for them.

    Parameters
    ----------
    maps
        From a section to its maps: `boundaries.detect`, or a function that reads maps
        made elsewhere.
    spot_px, surroundings_px
        Pixels along the side of the maps of the spot and of its surroundings.
    control
        None for the maps. ``"shuffled"`` gives every spot the maps of another one of
        its section; ``"grey"`` the brightness of the image in place of the edges;
        ``"blank"`` empty maps, which leaves a guided model its weights and takes all
        they could tell it.

    Raises
    ------
    ValueError
        If `control` is another word, or a size is below 8.
    """

    maps: Callable[[Section], BoundaryMaps] = detect
    spot_px: int = 56
    surroundings_px: int = 80
    control: Literal["shuffled", "grey", "blank"] | None = None

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant.

        Raises
        ------
        ValueError
            See the class.
        """
        if self.control not in (None, "shuffled", "grey", "blank"):
            raise ValueError(
                f"control is {self.control!r}, expected 'shuffled', 'grey', 'blank' or "
                "None."
            )
        for name in ("spot_px", "surroundings_px"):
            if getattr(self, name) < 8:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, expected 8 or more."
                )

    def __call__(
        self, section: Section, spot: Scale, around: Scale
    ) -> dict[str, UInt8[np.ndarray, "spots 2 side side"]]:
        """Cut the maps of all spots, at the sizes of the two squares.

        Parameters
        ----------
        section
            A section with a slide.
        spot, around
            The squares.
        """
        maps = self.maps(section)
        _check_cover(section, maps)
        sizes = {
            "spot_boundaries": (spot.side_um, self.spot_px),
            "surroundings_boundaries": (around.side_um, self.surroundings_px),
        }
        return {
            name: self._controlled(section, maps, side_um, side_px)
            for name, (side_um, side_px) in sizes.items()
        }

    def _controlled(
        self, section: Section, maps: BoundaryMaps, side_um: float, side_px: int
    ) -> UInt8[np.ndarray, "spots 2 side side"]:
        """Return the maps, or what stands in for them."""
        cut = maps.patches(section.coords_px, side_um, output_px=side_px)
        if self.control == "blank":
            return np.zeros_like(cut)
        if self.control == "shuffled":
            return cut[_derangement(section)]
        if self.control == "grey":
            slide = section.require_slide("to look at")
            image = extract(slide, section.coords_px, side_um, output_px=side_px)
            cut[:, 0] = 255 - (image @ _OF_COLOUR).round().astype(np.uint8)
        return cut


@dataclass(frozen=True)
class ViewsRecipe:
    """How to make the batch of any section from three views of each of its spots.

    ``grids["spot"]`` is the feature map of the spot's own patch,
    ``grids["surroundings"]`` the features of a grid of patches around it, and
    ``grids["inside"]`` says which of those lie on the image, by half at least;
    `features` joins several scales, for the view over all spots. All are frozen, and
    kept on disk.

    Parameters
    ----------
    encoder
        Called without arguments, returns the encoder; see `predictors.RidgePredictor`.
    spot
        Square of the spot's own patch.
    around
        Square that is cut into cells.
    n_cells
        Cells along its side, an odd number.
    cell_px
        Pixels along the side of a cell; None for what the encoder was trained with.
        Fewer are faster.
    section
        Scales joined for the view over the section.
    patches_px
        Give the patch of the spot too, with so many pixels a side, for a model that
        trains a network on it; the frozen map is then left out.
    guides
        Add maps of edges and nuclei, for BG-TRIPLEX.

    Raises
    ------
    ValueError
        If `n_cells` is not odd, a number of pixels is below 1, or `section` is empty.

    Examples
    --------
    >>> import stlearnkit as stk
    >>> section = stk.synthetic.section(n_spots=9, seed=0).section
    >>> encoder = stk.encoders.tutorial_encoder
    >>> batch = ViewsRecipe(encoder, cell_px=32)(section, ["TUMOUR01"])
    >>> {name: tuple(grid.shape) for name, grid in batch.grids.items()}
    {'surroundings': (9, 1280, 5, 5), 'inside': (9, 1, 5, 5), 'spot': (9, 1280, 7, 7)}
    """

    encoder: Callable[[], Encoder] = default_encoder
    spot: Scale = _SPOT
    around: Scale = _AROUND
    n_cells: int = 5
    cell_px: int | None = 112
    section: tuple[Scale, ...] = _SECTION_SCALES
    patches_px: int | None = None
    guides: GuideRecipe | None = None

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant.

        Raises
        ------
        ValueError
            See the class.
        """
        if self.n_cells < 1 or self.n_cells % 2 == 0:
            raise ValueError(
                f"n_cells is {self.n_cells}, expected an odd number, such as 5."
            )
        for name in ("cell_px", "patches_px"):
            side = getattr(self, name)
            if side is not None and side < 1:
                raise ValueError(f"{name} is {side}, expected 1 or more, or None.")
        if not self.section:
            raise ValueError(
                "section is empty, expected at least one patches.Scale for the view "
                "over the section."
            )

    def __call__(self, section: Section, genes: Sequence[str]) -> SectionBatch:
        """Encode a section; there are no targets yet.

        Raises
        ------
        SectionError
            If the section has no slide.
        """
        slide = section.require_slide("to look at")
        encoder = self.encoder()
        small = replace(encoder, input_px=self.cell_px or encoder.input_px)
        grids = {
            "surroundings": surroundings(
                section, small, self.around, n_cells=self.n_cells
            ),
            "inside": self._inside(section, slide),
        }
        if self.patches_px is None:
            grids["spot"] = feature_maps(section, encoder, self.spot)
        if self.guides is not None:
            grids |= self.guides(section, self.spot, self.around)
        return SectionBatch.of_section(
            section,
            genes,
            features=np.hstack(
                [features(section, encoder, scale) for scale in self.section]
            ),
            patches=self._patches(section, slide),
            grids=grids,
        )

    def _patches(
        self, section: Section, slide: Slide
    ) -> UInt8[np.ndarray, "spots side side 3"] | None:
        """Return the patches of the spots, if they are asked for."""
        if self.patches_px is None:
            return None
        side_um, side_px = self.spot.side_um, self.patches_px
        return extract(slide, section.coords_px, side_um, output_px=side_px)

    def _inside(
        self, section: Section, slide: Slide
    ) -> Float[np.ndarray, "spots 1 height width"]:
        """Return 1 for each cell of which at least half lies on the image, else 0."""
        cell_um = self.around.side_um / self.n_cells
        steps = (np.arange(self.n_cells) - self.n_cells // 2) * cell_um / section.mpp
        shifts = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        centres = (section.coords_px[:, None] + shifts).reshape(-1, 2)
        size = (slide.width, slide.height)
        seen = ((centres >= 0) & (centres < size)).all(axis=1)
        seen[seen] = coverage(slide, centres[seen], cell_um) >= 0.5
        shape = (section.n_spots, 1, self.n_cells, self.n_cells)
        return seen.reshape(shape).astype(np.float32)


def _check_cover(section: Section, maps: BoundaryMaps) -> None:
    """Refuse maps that are of another slide.

    Raises
    ------
    SectionError
        If they do not have its size, to a pixel of the maps and one in a hundred.
    """
    slide = section.require_slide("to look at")
    size = np.array([slide.width, slide.height])
    found = np.array(maps.edges.shape[::-1]) * maps.downsample
    if (np.abs(found - size) > maps.downsample + size / 100).any():
        raise SectionError(
            f"the maps show {found[0]:.0f} x {found[1]:.0f} px, but the slide of "
            f"section {section.name!r} has {slide.width} x {slide.height}. Give the "
            "maps of this very slide, with their own downsample."
        )


def _derangement(section: Section) -> np.ndarray:
    """Return for each spot another one of its section, drawn from the section's name.

    A turn of a random order by one place: nobody is left with his own, unless alone.
    """
    seed = hashlib.blake2b(section.name.encode(), digest_size=8).digest()
    random = np.random.default_rng(int.from_bytes(seed, "little"))
    order = random.permutation(section.n_spots)
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)
    return other
