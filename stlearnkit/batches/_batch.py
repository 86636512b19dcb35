"""One section, or one stack, as tensors."""

__all__ = ["SectionBatch", "check_same_genes"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Num, UInt8

from stlearnkit.batches._blocks import blocks
from stlearnkit.batches._checks import check_grids, check_rows, check_targets
from stlearnkit.batches._graph import Edges, Level, levels_of
from stlearnkit.batches._joins import (
    joined,
    joined_edges,
    joined_grids,
    joined_levels,
)
from stlearnkit.graphs import ScaleGraph, SpotGraph
from stlearnkit.sections import Section
from stlearnkit.stacks import Stack
from stlearnkit.symmetries import Symmetry


@dataclass(frozen=True, eq=False)
class SectionBatch:
    """One section, or the sections of one stack, as a network takes it.

    `SectionBatch.of_section` and `SectionBatch.of_stack` build one. Everything is held
    in memory, patches as bytes: 27 MB for 180 patches of side 224.
    """

    sections: tuple[str, ...]
    """Names of the sections."""
    patients: tuple[str, ...]
    """Donor of each section."""
    genes: tuple[str, ...]
    """What the columns of targets and predictions are."""
    section_index: Int[torch.Tensor, " spots"]
    """For each spot the position of its section in `sections`."""
    coords_um: Float[torch.Tensor, "spots 3"]
    """Centres (x, y, z) in the frame of the section, z = 0, or of the stack's
    reference."""
    queries: Int[torch.Tensor, " queries"]
    """Rows of the spots to predict; all others are context."""
    patches: UInt8[torch.Tensor, "queries 3 side side"] | None = None
    """Picture of each query, colours first, as torch wants them."""
    features: Float[torch.Tensor, "spots features"] | None = None
    """Frozen features of every spot, queries or not."""
    grids: Mapping[str, Num[torch.Tensor, "queries _ _ _"]] = field(
        default_factory=dict
    )
    """Further pictures of each query, by name, of the shape [queries channels height
    width]: feature maps, surroundings, maps of boundaries."""
    edges: Edges | None = None
    """Which spots look at which, if a model follows a graph."""
    levels: tuple[Level, ...] = ()
    """Tiles of tissue that hold the spots, from the smallest scale to the largest."""
    targets: Float[torch.Tensor, "queries genes"] | None = None
    """Measured expression of the queries; None where it is to be predicted."""
    condensed: bool = False
    """Whether all features are no longer the encoder's, but what
    `SpotPredictor.condense` of one model made of them."""

    @classmethod
    def of_section(
        cls,
        section: Section,
        genes: Sequence[str],
        *,
        patches: UInt8[np.ndarray, "spots side side 3"] | None = None,
        features: Float[np.ndarray, "spots features"] | None = None,
        grids: Mapping[str, Num[np.ndarray, "spots _ _ _"]] | None = None,
        targets: Float[np.ndarray, "spots genes"] | None = None,
    ) -> "SectionBatch":
        """Make the batch of one section, every spot a query.

        Parameters
        ----------
        section
            Gives names and places.
        genes
            The panel: columns of `targets`, and of what will be predicted.
        patches
            From `patches.extract`, if the model looks at pictures.
        features
            From `encoders.features`, if it looks at frozen features.
        grids
            Square maps around each spot by name, [spots, channels, side, side], such
            as `encoders.feature_maps` and `encoders.surroundings` return, if it looks
            at places within a patch or around it.
        targets
            From `expression.log_normalised`; leave out for a section to predict.

        Raises
        ------
        ValueError
            If a part has not one row per spot, a grid is not square, `targets` has not
            one column per gene, or an entry is not finite.

        Examples
        --------
        >>> import stlearnkit as stk
        >>> section = stk.synthetic.section(n_spots=60, seed=0).section
        >>> genes = list(section.adata.var_names[:5])
        >>> centres = section.coords_px
        >>> batch = SectionBatch.of_section(
        ...     section,
        ...     genes,
        ...     patches=stk.patches.extract(section.slide, centres, 112, output_px=32),
        ...     targets=stk.expression.log_normalised(section, genes),
        ... )
        >>> batch.n_queries == section.n_spots
        True
        >>> batch.subset([0, 7]).patches.shape
        torch.Size([2, 3, 32, 32])
        """
        maps = dict(grids or {})
        rows = {"patches": patches, "features": features, "targets": targets, **maps}
        check_rows(section, rows)
        check_grids(maps)
        check_targets(genes, targets)
        flat = torch.from_numpy(section.coords_um).float()
        return cls(
            sections=(section.name,),
            patients=(section.patient,),
            genes=tuple(genes),
            section_index=torch.zeros(section.n_spots, dtype=torch.int64),
            coords_um=torch.nn.functional.pad(flat, (0, 1)),
            queries=torch.arange(section.n_spots),
            patches=None if patches is None else _channels_first(patches),
            features=None if features is None else torch.from_numpy(features).float(),
            grids={name: torch.from_numpy(grid) for name, grid in maps.items()},
            targets=None if targets is None else torch.from_numpy(targets).float(),
        )

    @classmethod
    def of_stack(
        cls, stack: Stack, batches: Sequence["SectionBatch"]
    ) -> "SectionBatch":
        """Join the batches of a stack's sections, with places in its reference frame.

        Parameters
        ----------
        stack
            Says where the sections lie.
        batches
            One per section, in the order of the stack, with the same parts.

        Raises
        ------
        ValueError
            If sections or genes differ, or only some batches have a part.
        """
        names = tuple(section.name for section in stack.sections)
        found = tuple(batch.sections[0] for batch in batches)
        if found != names:
            raise ValueError(
                f"batches are of sections {list(found)}, but the stack holds "
                f"{list(names)}. Give one batch per section, in that order."
            )
        check_same_genes(batches)
        sizes = [batch.n_spots for batch in batches]
        starts = [0, *accumulate(sizes)][:-1]
        moved = zip(batches, starts, strict=True)
        return cls(
            sections=names,
            patients=tuple(section.patient for section in stack.sections),
            genes=batches[0].genes,
            section_index=torch.repeat_interleave(
                torch.arange(len(sizes)), torch.tensor(sizes)
            ),
            coords_um=torch.from_numpy(np.concatenate(stack.coords_3d_um())).float(),
            queries=torch.cat([batch.queries + start for batch, start in moved]),
            patches=joined("patches", [batch.patches for batch in batches], names),
            features=joined("features", [batch.features for batch in batches], names),
            grids=joined_grids(batches, names),
            edges=joined_edges(batches, names),
            levels=joined_levels(batches, names),
            targets=joined("targets", [batch.targets for batch in batches], names),
        )

    def with_graph(
        self,
        graph: SpotGraph,
        scales: ScaleGraph | None = None,
        tile_features: Mapping[str, Float[np.ndarray, "tiles features"]] | None = None,
    ) -> "SectionBatch":
        """Return the batch of one section with its spots joined, for a graph network.

        Parameters
        ----------
        graph
            Which spots look at which, from `graphs`.
        scales
            Tiles that hold them, from `graphs.ScaleGraph.build`.
        tile_features
            For each scale one row per tile, from `encoders.features` with
            `centres_um`.

        Raises
        ------
        ValueError
            If a part is of other spots or scales, or a feature is not finite.
        """
        for name, n_spots in (
            ("graph", graph.n_spots),
            ("scales", self.n_spots if scales is None else len(scales.coords_um)),
        ):
            if n_spots != self.n_spots:
                raise ValueError(
                    f"{name} joins {n_spots} spots, but the batch of section "
                    f"{self.sections[0]!r} has {self.n_spots}. Build it from the "
                    "coords_um of this very section."
                )
        return replace(
            self,
            edges=Edges.of_graph(graph, self.coords_um[:, :2].double().numpy()),
            levels=levels_of(scales, tile_features or {}) if scales else (),
        )

    @property
    def n_spots(self) -> int:
        """Number of spots, context included."""
        return len(self.coords_um)

    @property
    def n_queries(self) -> int:
        """Number of spots to predict."""
        return len(self.queries)

    def subset(self, rows: Int[torch.Tensor, " _"] | Sequence[int]) -> "SectionBatch":
        """Return the batch with only some of its queries; the context stays whole.

        Parameters
        ----------
        rows
            Positions among the queries: rows of `patches`, `grids` and `targets`.
        """
        chosen = torch.as_tensor(rows, dtype=torch.int64, device=self.queries.device)
        return replace(
            self,
            queries=self.queries[chosen],
            patches=None if self.patches is None else self.patches[chosen],
            grids={name: grid[chosen] for name, grid in self.grids.items()},
            targets=None if self.targets is None else self.targets[chosen],
        )

    def transformed(self, symmetry: Symmetry) -> "SectionBatch":
        """Return the batch with pictures and places mirrored and turned together.

        The tissue is turned about the middle of its spots. Distances, z, features,
        graphs and targets stay as they are.
        """
        xy = self.coords_um[:, :2]
        turned = symmetry.of_points(xy, xy.mean(dim=0))
        patches = self.patches
        return replace(
            self,
            coords_um=torch.cat([turned, self.coords_um[:, 2:]], dim=1),
            patches=None if patches is None else symmetry.of_images(patches),
            grids={name: symmetry.of_images(g) for name, g in self.grids.items()},
        )

    def to(self, device: torch.device | str) -> "SectionBatch":
        """Return the batch with all its tensors on `device`."""
        moved: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, torch.Tensor)
        }
        return replace(
            self,
            **moved,
            grids={name: grid.to(device) for name, grid in self.grids.items()},
            edges=None if self.edges is None else self.edges.to(device),
            levels=tuple(level.to(device) for level in self.levels),
        )

    def blocks(
        self, *, n_hops: int, max_spots: int
    ) -> "list[tuple[Int[torch.Tensor, ' _'], SectionBatch]]":
        """Cut the batch into parts small enough to be computed one after another.

        A part holds spots that lie together and what they see in `n_hops` steps along
        the edges: other spots, and for all of them the tiles they look at and those
        seen from there. A model that follows edges so many times predicts the queries
        of a part as it would in the whole batch.

        Parameters
        ----------
        n_hops
            How many times the model follows the edges.
        max_spots
            Most spots of a part, those that are only looked at not counted.

        Returns
        -------
        For each part which queries of this batch are its own, and the part. One that
        has no query is left out; a batch that is small enough is one part.

        Raises
        ------
        ValueError
            If there are no edges, or a number is too small.
        """
        if self.n_spots <= max_spots:
            return [(torch.arange(self.n_queries), self)]
        return blocks(self, n_hops=n_hops, max_spots=max_spots)


def check_same_genes(batches: Sequence[SectionBatch]) -> None:
    """Refuse batches whose columns are not the same genes.

    Raises
    ------
    ValueError
        If two panels differ.
    """
    first = batches[0]
    for batch in batches[1:]:
        if batch.genes != first.genes:
            pairs = zip(first.genes, batch.genes, strict=False)
            at = next((i for i, (a, b) in enumerate(pairs) if a != b), "the end")
            raise ValueError(
                f"section {batch.sections[0]!r} has another panel than "
                f"{first.sections[0]!r}: {len(batch.genes)} genes against "
                f"{len(first.genes)}, first difference at {at}. Choose one panel on "
                "the training sections and use it for all."
            )


def _channels_first(
    patches: UInt8[np.ndarray, "spots side side 3"],
) -> UInt8[torch.Tensor, "spots 3 side side"]:
    """Return patches as torch wants them: colours before rows and columns."""
    return torch.from_numpy(np.ascontiguousarray(patches)).permute(0, 3, 1, 2)
