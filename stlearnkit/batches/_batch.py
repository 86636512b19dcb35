"""One section, or one stack, as tensors."""

__all__ = ["SectionBatch", "check_same_genes"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Num, UInt8

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
    targets: Float[torch.Tensor, "queries genes"] | None = None
    """Measured expression of the queries; None where it is to be predicted."""
    condensed: bool = False
    """Whether features and grids are no longer the encoder's, but what
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
        _check_rows(section, rows)
        _check_grids(maps)
        _check_targets(genes, targets)
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
            patches=_joined("patches", [batch.patches for batch in batches], names),
            features=_joined("features", [batch.features for batch in batches], names),
            grids=_joined_grids(batches, names),
            targets=_joined("targets", [batch.targets for batch in batches], names),
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

        The tissue is turned about the middle of its spots. Distances, z, features and
        targets stay as they are.
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
        grids = {name: grid.to(device) for name, grid in self.grids.items()}
        return replace(self, **moved, grids=grids)


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


def _check_rows(
    section: Section, parts: Mapping[str, Num[np.ndarray, "..."] | None]
) -> None:
    """Refuse arrays that do not belong to these spots.

    Raises
    ------
    ValueError
        If a part has not one row per spot, or an entry is not finite.
    """
    for name, values in parts.items():
        if values is not None and len(values) != section.n_spots:
            raise ValueError(
                f"{name} has {len(values)} rows, but section {section.name!r} has "
                f"{section.n_spots} spots. Make it from this very section."
            )
        if values is not None and not np.isfinite(values).all():
            raise ValueError(
                f"{name} of section {section.name!r} has entries that are not finite. "
                "Find out why before training on them."
            )


def _check_grids(grids: Mapping[str, Num[np.ndarray, "spots _ _ _"]]) -> None:
    """Refuse maps that could not be turned by a quarter.

    Raises
    ------
    ValueError
        If a grid is not square.
    """
    for name, grid in grids.items():
        if grid.ndim != 4 or grid.shape[2] != grid.shape[3]:
            raise ValueError(
                f"grids[{name!r}] has shape {grid.shape}, expected (spots, channels, "
                "side, side)."
            )


def _check_targets(
    genes: Sequence[str], targets: Num[np.ndarray, "spots _"] | None
) -> None:
    """Refuse targets of other genes.

    Raises
    ------
    ValueError
        If there is not one column per gene.
    """
    if targets is not None and targets.shape[1] != len(genes):
        raise ValueError(
            f"targets has {targets.shape[1]} columns, but genes has {len(genes)}. Use "
            "expression.log_normalised(section, genes)."
        )


def _channels_first(
    patches: UInt8[np.ndarray, "spots side side 3"],
) -> UInt8[torch.Tensor, "spots 3 side side"]:
    """Return patches as torch wants them: colours before rows and columns."""
    return torch.from_numpy(np.ascontiguousarray(patches)).permute(0, 3, 1, 2)


def _joined(
    name: str, parts: Sequence[torch.Tensor | None], sections: Sequence[str]
) -> torch.Tensor | None:
    """Put one part of several batches below each other.

    Raises
    ------
    ValueError
        If some have it and some do not.
    """
    there = [part for part in parts if part is not None]
    if not there:
        return None
    if len(there) < len(parts):
        pairs = zip(sections, parts, strict=True)
        lacking = [section for section, part in pairs if part is None]
        raise ValueError(
            f"sections {lacking} have no {name}, the others have. Give every section "
            "of a stack the same parts; leave out queries by subset."
        )
    return torch.cat(there)


def _joined_grids(
    batches: Sequence[SectionBatch], sections: Sequence[str]
) -> dict[str, torch.Tensor]:
    """Put the grids of several batches below each other, name by name."""
    names = dict.fromkeys(name for batch in batches for name in batch.grids)
    joined = {
        name: _joined(name, [batch.grids.get(name) for batch in batches], sections)
        for name in names
    }
    return {name: grid for name, grid in joined.items() if grid is not None}
