"""Batches in which spots are joined to each other and to tiles of tissue."""

__all__ = ["GraphRecipe"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from stlearnkit.batches import SectionBatch
from stlearnkit.encoders import Encoder, default_encoder, features
from stlearnkit.graphs import ScaleGraph, SpotGraph, knn
from stlearnkit.patches import Scale, extract
from stlearnkit.sections import Section

_SPOT_SCALES = (Scale("spot", 112.0), Scale("near", 224.0), Scale("wide", 560.0))
_EIGHT = partial(knn, k=8, self_loops=True)  # on a square array, all that touch
_TILES = (Scale("region", 350.0), Scale("district", 700.0))


@dataclass(frozen=True)
class GraphRecipe:
    """How to make the batch of any section as a graph of spots and tiles.

    `features` joins several scales around each spot; `edges` are those of a graph, and
    `levels` the tiles that hold the spots, each with frozen features of its own tissue.
    Features are kept on disk.

    Parameters
    ----------
    encoder
        Called without arguments, returns the encoder; see `predictors.RidgePredictor`.
    spot
        Scales joined for each spot.
    graph
        From spot centres in µm to a graph, such as a `functools.partial` of one of the
        functions of `graphs`. Each spot should be its own neighbour: one that is not
        sees itself only beside the graph.
    tiles
        Scales of the tiles, each side a whole multiple of the one before it; may be
        none.
    n_nearest
        Number of tiles of each scale that a spot looks at.
    patches
        Square of a patch of the spot, for a model that trains a network on it.
    patches_px
        Pixels along its side; None for no patches.

    Raises
    ------
    ValueError
        If `spot` is empty, or `patches_px` is below 1.

    Examples
    --------
    >>> import stlearnkit as stk
    >>> section = stk.synthetic.section(n_spots=9, seed=0).section
    >>> recipe = GraphRecipe(stk.encoders.tutorial_encoder)
    >>> batch = recipe(section, ["TUMOUR01"])
    >>> batch.features.shape, batch.edges.index.shape
    (torch.Size([9, 3840]), torch.Size([2, 81]))
    >>> [(level.name, level.n_tiles) for level in batch.levels]
    [('region', 9), ('district', 4)]
    """

    encoder: Callable[[], Encoder] = default_encoder
    spot: tuple[Scale, ...] = _SPOT_SCALES
    graph: Callable[[Float[np.ndarray, "spots 2"]], SpotGraph] = _EIGHT
    tiles: tuple[Scale, ...] = _TILES
    n_nearest: int = 9
    patches: Scale = _SPOT_SCALES[1]
    patches_px: int | None = None

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant.

        Raises
        ------
        ValueError
            See the class.
        """
        if not self.spot:
            raise ValueError(
                "spot is empty, expected at least one patches.Scale to look at."
            )
        if self.patches_px is not None and self.patches_px < 1:
            raise ValueError(
                f"patches_px is {self.patches_px}, expected 1 or more, or None."
            )

    def __call__(self, section: Section, genes: Sequence[str]) -> SectionBatch:
        """Encode and join the spots of a section; there are no targets yet.

        Raises
        ------
        SectionError
            If the section has no slide.
        ValueError
            If tiles do not lie within each other, or there are too few to look at.
        """
        slide = section.require_slide("to look at")
        encoder = self.encoder()
        scales = self._scales(section)
        patches = None
        if self.patches_px is not None:
            side_um, side_px = self.patches.side_um, self.patches_px
            patches = extract(slide, section.coords_px, side_um, output_px=side_px)
        batch = SectionBatch.of_section(
            section,
            genes,
            features=np.hstack(
                [features(section, encoder, scale) for scale in self.spot]
            ),
            patches=patches,
        )
        of_tiles = {
            tiles.name: features(
                section, encoder, scale, centres_um=_on_image(section, tiles.centres_um)
            )
            for tiles, scale in zip(
                scales.scales if scales else (), self.tiles, strict=True
            )
        }
        return batch.with_graph(self.graph(section.coords_um), scales, of_tiles)

    def _scales(self, section: Section) -> ScaleGraph | None:
        """Return the tiles that hold the spots, if any are asked for.

        Raises
        ------
        ValueError
            As for `ScaleGraph.build`.
        """
        if not self.tiles:
            return None
        sides_um = {scale.name: scale.side_um for scale in self.tiles}
        return ScaleGraph.build(
            section.coords_um, sides_um, n_nearest=self.n_nearest, self_loops=True
        )


def _on_image(
    section: Section, centres_um: Float[np.ndarray, "tiles 2"]
) -> Float[np.ndarray, "tiles 2"]:
    """Return centres of tiles; where one lies beyond the image, its nearest pixel.

    A tile at the border can hold a spot and have its centre outside.
    """
    slide = section.require_slide("to look at")
    last = np.array([slide.width - 1, slide.height - 1]) * section.mpp
    return np.clip(centres_um, 0, last)
