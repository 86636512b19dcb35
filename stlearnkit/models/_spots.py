"""What models of whole sections know of a spot, and what they say of it at first."""

__all__ = [
    "SpotInputs",
    "disc_means",
    "features",
    "head",
    "line",
    "patches",
    "sections",
]

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from stlearnkit.batches import SectionBatch
from stlearnkit.graphs import radius
from stlearnkit.models._components import PrincipalComponents


def features(batch: SectionBatch) -> Float[torch.Tensor, "spots features"]:
    """Return the features of all spots.

    Raises
    ------
    ValueError
        If there are none.
    """
    if batch.features is None:
        raise ValueError(
            f"the batch of section {batch.sections[0]!r} has no features, by which the "
            "model knows the spots of the section. Make it by recipes.ViewsRecipe or "
            "recipes.GraphRecipe."
        )
    return batch.features


def patches(batch: SectionBatch) -> UInt8[torch.Tensor, "queries 3 side side"]:
    """Return the pictures of the queries.

    Raises
    ------
    ValueError
        If there are none.
    """
    if batch.patches is None:
        raise ValueError(
            f"the batch of section {batch.sections[0]!r} has no patches, which the "
            "backbone is trained on: give recipes.ViewsRecipe or GraphRecipe "
            "patches_px=112."
        )
    return batch.patches


def sections(batch: SectionBatch) -> Iterator[Bool[torch.Tensor, " spots"]]:
    """Yield for each section of a batch which spots are its own."""
    for number in range(len(batch.sections)):
        yield batch.section_index == number


class SpotInputs(torch.nn.Module):
    """What is known of each spot: features at several scales, and those around it.

    Beside the components of the features of a spot stand their means over discs, as in
    the linear baseline.

    Parameters
    ----------
    n_components
        How many to keep of the features.
    radii_um
        Radii of the discs; may be none.
    """

    def __init__(self, n_components: int, radii_um: Sequence[float]) -> None:
        super().__init__()
        self.radii_um = radii_um
        self.components = PrincipalComponents(n_components)

    def fit(self, train: Sequence[SectionBatch]) -> None:
        """Learn the components from the features of the training spots."""
        self.components.fit(torch.cat([features(batch) for batch in train]))

    def forward(self, batch: SectionBatch) -> Float[torch.Tensor, "spots _"]:
        """Return the numbers of all spots; each section has its own discs."""
        own = self.components(features(batch))
        parts = own.new_empty(len(own), 1 + len(self.radii_um), own.shape[1])
        parts[:, 0] = own
        for those in sections(batch):
            places = batch.coords_um[those, :2]
            for number, radius_um in enumerate(self.radii_um, start=1):
                parts[those, number] = disc_means(own[those], places, radius_um)
        return parts.flatten(1)


@torch.no_grad()
def disc_means(
    tokens: Float[torch.Tensor, "spots features"],
    coords_um: Float[torch.Tensor, "spots 2"],
    radius_um: float,
) -> Float[torch.Tensor, "spots features"]:
    """Average tokens over all spots of a disc around each spot, itself included.

    Of one section, in full precision: sparse matrices have no other everywhere.
    """
    places = coords_um.detach().cpu().double().numpy()
    graph = radius(places, radius_um, self_loops=True)
    counts = torch.from_numpy(graph.n_neighbours).to(tokens)
    adjacency = torch.sparse_coo_tensor(
        torch.from_numpy(graph.edge_index).flip(0).to(tokens.device),
        torch.ones(graph.edge_index.shape[1], device=tokens.device),
        (graph.n_spots, graph.n_spots),
        is_coalesced=True,
        check_invariants=False,
    )
    with torch.autocast(tokens.device.type, enabled=False):
        return (adjacency @ tokens) / counts[:, None]


def head(width: int, profile: Float[np.ndarray, " genes"]) -> torch.nn.Linear:
    """Return a linear layer that predicts the profile until it has learnt."""
    layer = torch.nn.Linear(width, len(profile))
    torch.nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(torch.from_numpy(profile))
    return layer


def line(n_inputs: int, n_genes: int, *, dropout: float) -> torch.nn.Sequential:
    """Return a linear map from what is known of spots to expression, at first 0."""
    layer = torch.nn.Linear(n_inputs, n_genes, bias=False)
    torch.nn.init.zeros_(layer.weight)
    return torch.nn.Sequential(torch.nn.Dropout(dropout), layer)
