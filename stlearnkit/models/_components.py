"""Frozen features brought to few numbers of one size, before a network learns."""

__all__ = ["PrincipalComponents"]

from typing import Any

import torch
from jaxtyping import Float

_MAX_ROWS = 20_000  # of those that components are computed from; more change little
_MAPS_AT_A_TIME = 256
_ROUNDING = 1e-6  # of a feature's size; what varies less does so by rounding alone
_NEGLIGIBLE = 1e-6  # of the largest variance; single precision tells no less from 0


class PrincipalComponents(torch.nn.Module):
    """Standardise features and keep the directions in which they vary most.

    Encoders give a thousand numbers on scales of their own, a few hundred spots cannot
    teach a layer that wide. What is kept here is learnt from the features of the
    training spots alone, without expression and without gradients, by `fit`.

    Parameters
    ----------
    n_components
        How many to keep. Where there are fewer, the rest is 0.
    """

    mean: torch.Tensor
    std: torch.Tensor
    basis: torch.Tensor

    def __init__(self, n_components: int) -> None:
        super().__init__()
        self.n_components = n_components
        self.register_buffer("mean", torch.zeros(0))
        self.register_buffer("std", torch.zeros(0))
        self.register_buffer("basis", torch.zeros(0, n_components))

    @torch.no_grad()
    def fit(self, rows: Float[torch.Tensor, "_ features"]) -> None:
        """Learn mean, scale and directions from rows of training spots.

        The components of these rows have a mean of 0 and a mean square of 1, averaged
        over components; between them they keep their ratios. A feature that is the same
        in all rows does not count.

        Raises
        ------
        ValueError
            If there are no rows.
        """
        if len(rows) == 0:
            raise ValueError(
                "there are no rows to learn components from: no training spot has a "
                "place that lies on its image. Check coordinates and µm per pixel."
            )
        step = -(-len(rows) // _MAX_ROWS)
        rows = rows[::step].float()
        std, self.mean = torch.std_mean(rows, dim=0, correction=0)
        varies = std > _ROUNDING * rows.abs().amax(dim=0)
        self.std = torch.where(varies, std, 1.0)
        standard = (rows - self.mean) / self.std * varies
        spectrum, basis = _directions(standard, self.n_components)
        basis = basis * (self.n_components / spectrum.sum().clamp(min=1e-12)).sqrt()
        missing = self.n_components - basis.shape[1]
        self.basis = torch.nn.functional.pad(basis, (0, missing)).float()

    def forward(
        self, features: Float[torch.Tensor, "... features"]
    ) -> Float[torch.Tensor, "... _"]:
        """Return the components of features, in full precision even among half.

        Raises
        ------
        ValueError
            If nothing was fitted, or something else's features.
        """
        if features.shape[-1] != len(self.mean):
            raise ValueError(
                f"features have {features.shape[-1]} columns, but the model was "
                f"prepared for {len(self.mean)}. Use the encoder and the scales of "
                "its training; a new model first takes model.prepare(train)."
            )
        with torch.autocast(features.device.type, enabled=False):
            return ((features.float() - self.mean) / self.std) @ self.basis

    def of_maps(
        self, maps: Float[torch.Tensor, "queries features side side"]
    ) -> Float[torch.Tensor, "queries _ side side"]:
        """Return the components at each place of square maps.

        Parameters
        ----------
        maps
            Some are worked on at a time, as in full precision they need much room.
        """
        parts = maps.split(_MAPS_AT_A_TIME)
        return torch.cat([self(part.movedim(1, -1)).movedim(-1, 1) for part in parts])

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any
    ) -> None:
        """Make room for as many features as the state to be loaded has."""
        for name in ("mean", "std", "basis"):
            if prefix + name in state_dict:
                device = getattr(self, name).device
                room = torch.empty_like(state_dict[prefix + name], device=device)
                setattr(self, name, room)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _directions(
    standard: Float[torch.Tensor, "_ features"], n_components: int
) -> tuple[Float[torch.Tensor, " _"], Float[torch.Tensor, "features _"]]:
    """Return the largest variances, and the directions that have them.

    From the smaller of the two matrices of products, rows × rows or features ×
    features, as in ridge regression. Its entries need no more than single precision;
    what is made of them does.
    """
    n_rows, n_features = standard.shape
    few = n_rows < n_features
    products = standard @ standard.T if few else standard.T @ standard
    spectrum, vectors = torch.linalg.eigh(products.double() / n_rows)
    if few:
        lengths = (n_rows * spectrum.clamp(min=1e-12)).sqrt()
        vectors = standard.T.double() @ vectors / lengths
    kept = int((spectrum > _NEGLIGIBLE * spectrum[-1]).sum())
    kept = min(kept, n_components)
    spectrum, vectors = spectrum.flip(0)[:kept], vectors.flip(1)[:, :kept]
    # The sign of a direction is chance: let its largest entry be positive.
    largest = vectors.abs().argmax(dim=0)
    signs = vectors[largest, torch.arange(kept)].sign()
    return spectrum, vectors * signs
