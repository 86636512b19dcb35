"""Sections of one block as one batch: some known, one hidden, and what joins them."""

__all__ = ["VolumeBatch"]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch.nn import functional

from stlearnkit.batches import SectionBatch, check_same_genes
from stlearnkit.batches._joins import joined_edges, joined_levels
from stlearnkit.graphs import SpotGraph, StackGraph
from stlearnkit.models._spots import features
from stlearnkit.models.propagation import Propagated, harmonic


@dataclass(frozen=True, eq=False)
class VolumeBatch(SectionBatch):
    """Known sections of a block and one that is hidden, whose spots are the queries.

    `VolumeBatch.join` makes one. What was measured of the known sections enters by
    label propagation alone, and only its result is kept, for the hidden spots: there is
    no place in a batch from which a label could leak into features or graph.
    """

    cross_index: Int[torch.Tensor, "2 edges"] | None = None
    """Edges between sections: row 1 looks at row 0."""
    cross_features: Float[torch.Tensor, "edges 3"] | None = None
    """Of each: overlap of footprints, cosine of what both ends look like, and how much
    higher the neighbour lies, in steps of 100 µm."""
    propagated: Float[torch.Tensor, "queries genes"] | None = None
    """What came to each query from the known spots."""
    reached: Bool[torch.Tensor, " queries"] | None = None
    """Whether anything came; if not, `propagated` is the mean of the known spots."""
    spot_weights: Float[torch.Tensor, " queries"] | None = None
    """How much each query counts in training; None if all count alike."""

    @classmethod
    def join(
        cls,
        known: Sequence[SectionBatch],
        hidden: SectionBatch,
        *,
        diameter_um: float,
        likeness: float,
        weights: Sequence[Float[np.ndarray, " _"]] | None = None,
    ) -> "VolumeBatch":
        """Join sections whose places are those of one frame.

        Parameters
        ----------
        known
            Batches with targets, condensed by the model that will look at them.
        hidden
            A batch of another section; or, to train with a single known one, of one of
            these. None of its spots is then joined to itself, so that nothing comes to
            a spot from its own label. Its targets, if any, are for the loss alone.
        diameter_um
            Of the footprints that make neighbours; see `graphs.StackGraph`.
        likeness
            Labels are propagated by the overlap of footprints times the cosine of what
            the spots look like, to this power: 0 goes by place alone.
        weights
            For each known section how much each spot tells; all the same without.

        Raises
        ------
        ValueError
            If no section is known, a known one has no targets for some spot, genes
            differ, a batch has no features or no graph, or `likeness` is below 0.
        """
        _check(known, hidden, likeness)
        parts = [*known, hidden]
        names = tuple(part.sections[0] for part in parts)
        graph = _across(parts, diameter_um)
        looks = torch.cat([features(part) for part in parts])
        index = torch.from_numpy(graph.graph.edge_index)
        unit = functional.normalize(looks, dim=1)
        alike = (unit[index[0]] * unit[index[1]]).sum(dim=1)
        overlap = torch.from_numpy(graph.graph.weights)
        rises = torch.from_numpy(graph.dz_um) / 100
        strength = overlap.numpy() * alike.clamp(min=0).double().numpy() ** likeness
        found = _propagated(known, replace(graph.graph, weights=strength), weights)
        own = sum(part.n_spots for part in known) + hidden.queries
        return cls(
            sections=names,
            patients=tuple(part.patients[0] for part in parts),
            genes=hidden.genes,
            section_index=torch.from_numpy(graph.section_index),
            coords_um=torch.cat([part.coords_um for part in parts]),
            queries=own,
            features=looks,
            edges=joined_edges(parts, names),
            levels=joined_levels(parts, names),
            targets=hidden.targets,
            condensed=all(part.condensed for part in parts),
            cross_index=index,
            cross_features=torch.stack([overlap, alike, rises], dim=1).float(),
            propagated=torch.from_numpy(found.values)[own].float(),
            reached=torch.from_numpy(found.reached)[own],
        )

    def subset(
        self,
        rows: Int[torch.Tensor, " _"] | Bool[torch.Tensor, " queries"] | Sequence[int],
    ) -> "VolumeBatch":
        """Return the volume with only some of its queries; the context stays whole.

        Parameters
        ----------
        rows
            Positions among the queries, or which of them.
        """
        chosen = torch.as_tensor(rows, device=self.queries.device)
        if chosen.dtype == torch.bool:
            chosen = chosen.nonzero().flatten()
        parts = {
            name: getattr(self, name)[chosen]
            for name in ("propagated", "reached", "spot_weights")
            if getattr(self, name) is not None
        }
        bare = replace(self, propagated=None, reached=None, spot_weights=None)
        some = SectionBatch.subset(bare, chosen)
        return cast(VolumeBatch, replace(some, **parts))


def _across(parts: Sequence[SectionBatch], diameter_um: float) -> StackGraph:
    """Return the edges between sections; none joins a spot to itself.

    The last section may be one of the others, come again.
    """
    places = [part.coords_um.double().numpy() for part in parts]
    found = StackGraph.build(
        [place[:, :2] for place in places],
        [float(place[0, 2]) for place in places],
        diameter_um,
    )
    starts = np.cumsum([0, *(part.n_spots for part in parts)])
    hidden = parts[-1].sections[0]
    kept = np.ones(found.graph.n_edges, bool)
    for number, part in enumerate(parts[:-1]):
        if part.sections[0] == hidden:
            ends = found.graph.edge_index
            step = starts[-2] - starts[number]
            of_pair = np.sort(found.section_index[ends], axis=0)
            both = (of_pair == [[number], [len(parts) - 1]]).all(axis=0)
            kept &= ~(both & (np.abs(ends[0] - ends[1]) == step))
    assert found.graph.weights is not None
    graph = SpotGraph(
        found.graph.edge_index[:, kept],
        found.graph.n_spots,
        found.graph.weights[kept],
    )
    return StackGraph(
        graph, found.section_index, found.distances_um[kept], found.dz_um[kept]
    )


def _propagated(
    known: Sequence[SectionBatch],
    graph: SpotGraph,
    weights: Sequence[Float[np.ndarray, " _"]] | None,
) -> Propagated:
    """Carry what was measured of the known sections, which come first, to the last."""
    targets = [part.targets for part in known if part.targets is not None]  # all
    labels = torch.cat(targets).double().numpy()
    if weights is not None and graph.weights is not None:
        each = np.ones(graph.n_spots)
        each[: len(labels)] = np.concatenate(weights)
        graph = replace(graph, weights=graph.weights * each[graph.edge_index[0]])
    return harmonic(graph, np.arange(len(labels)), labels)


def _check(
    known: Sequence[SectionBatch], hidden: SectionBatch, likeness: float
) -> None:
    """Refuse sections that cannot be joined.

    Raises
    ------
    ValueError
        See `VolumeBatch.join`.
    """
    if not known:
        raise ValueError("known is empty: give one measured section or more.")
    for part in known:
        if part.targets is None or part.n_queries != part.n_spots:
            raise ValueError(
                f"known section {part.sections[0]!r} has targets of "
                f"{0 if part.targets is None else part.n_queries} of {part.n_spots} "
                "spots, expected all. A section is known or hidden as a whole."
            )
    if not 0 <= likeness < np.inf:
        raise ValueError(f"likeness is {likeness}, expected 0 or more.")
    check_same_genes([*known, hidden])
