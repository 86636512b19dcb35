"""Predictors that know some sections of a block, by name."""

__all__ = ["IMPUTERS", "imputer"]

from collections.abc import Callable, Mapping

from stlearnkit.imputation import (
    AsignImputer,
    CopyPredictor,
    KrigingImputer,
    ObservedMeanPredictor,
    ObservedRidgePredictor,
    PlaceImputer,
    Placement,
    PropagationPredictor,
)
from stlearnkit.predictors import Predictor
from stlearnkit.predictors._blocks import ImagePredictor

IMPUTERS = (
    "observed mean",
    "aligned copy",
    "kriging, no image",
    "ridge on observed",
    "kriging, image and place",
    "label propagation",
    "ASIGN in 3D",
)
"""Names that `imputer` knows."""

_LOOKS = ImagePredictor()


def imputer(
    name: str, z_um: Mapping[str, float], looks: ImagePredictor = _LOOKS
) -> Predictor:
    """Return a predictor that knows some sections of a block, by its name.

    Parameters
    ----------
    name
        One of `IMPUTERS`.
    z_um
        Height of each section, by name; may be empty.
    looks
        Encoder, scales and radii of those that look at images.

    Raises
    ------
    ValueError
        If there is no such imputer.

    Examples
    --------
    >>> imputer("kriging, no image", {"C2": 0.0, "C3": 48.0}).z_um["C3"]
    48.0
    """
    if name not in IMPUTERS:
        raise ValueError(f"name is {name!r}, expected one of {'; '.join(IMPUTERS)}.")
    placed = {**vars(looks), "placement": Placement(z_um=z_um)}
    builders: dict[str, Callable[[], Predictor]] = {
        "observed mean": ObservedMeanPredictor,
        "aligned copy": lambda: CopyPredictor(placement=Placement(z_um=z_um)),
        "kriging, no image": lambda: PlaceImputer(z_um=z_um),
        "ridge on observed": lambda: ObservedRidgePredictor(**vars(looks)),
        "kriging, image and place": lambda: KrigingImputer(**placed),
        "label propagation": lambda: PropagationPredictor(**placed),
        "ASIGN in 3D": lambda: _asign_in_3d(looks, Placement(z_um=z_um)),
    }
    return builders[name]()


def _asign_in_3d(looks: ImagePredictor, placement: Placement) -> AsignImputer:
    """Return ASIGN across sections."""
    from stlearnkit.recipes import GraphRecipe

    return AsignImputer(GraphRecipe(looks.encoder), placement=placement)
