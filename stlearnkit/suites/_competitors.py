"""The competitors of the book by name, each with all its settings."""

__all__ = ["COMPETITORS", "competitor"]

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stlearnkit.predictors import (
    BestOf,
    KrigingPredictor,
    MeanOf,
    MeanPredictor,
    NetworkPredictor,
    Predictor,
    RidgePredictor,
)
from stlearnkit.predictors._blocks import ImagePredictor

if TYPE_CHECKING:  # networks are slow to import
    from stlearnkit.recipes import GuideRecipe

COMPETITORS = (
    "mean profile",
    "ridge",
    "kriging",
    "ST-Net, short",
    "TRIPLEX",
    "BG-TRIPLEX",
    "ASIGN",
    "TRIPLEX and ASIGN",
    "ST-Net",
    "TRIPLEX, means",
    "TRIPLEX, no line",
    "TRIPLEX, varied",
    "BG-TRIPLEX, empty maps",
    "BG-TRIPLEX, others' maps",
    "BG-TRIPLEX, grey for edges",
    "ASIGN, means",
    "ASIGN, with line",
    "ASIGN, no tiles",
    "ASIGN, no graph",
    "ASIGN, no consistency",
)
"""Names that `competitor` knows."""

_ST_NET_CHOICES = tuple(product((64, 112), (1e-4, 3e-4)))  # px, learning rate
_N_NETWORKS = 4  # one for each section that can be set aside of five
_LOOKS = ImagePredictor()


def competitor(
    name: str, runs: Path | None = None, looks: ImagePredictor = _LOOKS
) -> Predictor:
    """Return a competitor of the book by the name that tables print.

    ST-Net is there twice: with the library's settings and eight epochs, and with
    settings chosen anew in every fold. TRIPLEX, BG-TRIPLEX and ASIGN are the mean of
    four networks, each with another training section set aside; beside them stand
    what is left without their parts, and controls of what they are told.

    Parameters
    ----------
    name
        One of `COMPETITORS`.
    runs
        Where networks are kept, so that training that was interrupted goes on.
    looks
        Encoder, scales and radii of ridge and kriging; networks take its encoder.

    Raises
    ------
    ValueError
        If there is no such competitor.

    Examples
    --------
    >>> competitor("ridge").radii_um
    (250.0, 480.0)
    """
    if name not in _BUILDERS:
        raise ValueError(f"name is {name!r}, expected one of {'; '.join(_BUILDERS)}.")
    return replace(_BUILDERS[name](runs, looks), name=name)  # type: ignore[type-var]


def _ridge(runs: Path | None, looks: ImagePredictor) -> RidgePredictor:
    """Return ridge regression on what the study looks at."""
    return RidgePredictor(**vars(looks))


def _kriging(runs: Path | None, looks: ImagePredictor) -> KrigingPredictor:
    """Return kriging on the same."""
    return KrigingPredictor(**vars(looks))


def _short_st_net(runs: Path | None, looks: ImagePredictor) -> NetworkPredictor:
    """Return ST-Net as a laptop trains it in half a minute a fold."""
    return _st_net_of(runs, n_frozen_stages=4, side_px=64, max_epochs=8)


def _st_net(runs: Path | None, looks: ImagePredictor) -> BestOf:
    """Return ST-Net with the settings that each fold may choose from.

    All pairs of two sizes of the picture, as large as a CPU affords, and two learning
    rates, the library's and a third of it.
    """
    candidates = tuple(
        replace(
            _st_net_of(
                runs,
                n_frozen_stages=2,
                side_px=side_px,
                max_epochs=15,
                learning_rate=rate,
            ),
            name=f"ST-Net, {side_px} px, {rate:g}",
        )
        for side_px, rate in _ST_NET_CHOICES
    )
    return BestOf(candidates)


def _st_net_of(
    runs: Path | None, *, n_frozen_stages: int, side_px: int, **fit: Any
) -> NetworkPredictor:
    """Return ST-Net with some settings."""
    from stlearnkit.models.cnn import STNet, STNetConfig
    from stlearnkit.recipes import PatchRecipe
    from stlearnkit.training import FitConfig

    model = partial(STNet, config=STNetConfig(n_frozen_stages=n_frozen_stages))
    batch = PatchRecipe(224.0, side_px)
    return NetworkPredictor(model, batch, FitConfig(**fit), folder=runs)


def _triplex(
    runs: Path | None,
    looks: ImagePredictor,
    guides: "GuideRecipe | None" = None,
    **config: Any,
) -> NetworkPredictor:
    """Return TRIPLEX, one network for each section set aside; with other settings."""
    from stlearnkit.models.triplex import Triplex, TriplexConfig
    from stlearnkit.recipes import ViewsRecipe
    from stlearnkit.training import FitConfig

    return NetworkPredictor(
        partial(Triplex, config=TriplexConfig(**config)),
        ViewsRecipe(looks.encoder, guides=guides),
        FitConfig(choose_by="pcc"),
        folder=runs,
        n_networks=_N_NETWORKS,
        name="TRIPLEX",
    )


def _guided(
    runs: Path | None, looks: ImagePredictor, control: Any = None
) -> NetworkPredictor:
    """Return BG-TRIPLEX, guided by maps or by what is to control for them."""
    from stlearnkit.recipes import GuideRecipe

    return _triplex(runs, looks, GuideRecipe(control=control), guided=True)


def _varied(runs: Path | None, looks: ImagePredictor) -> MeanOf:
    """Return the mean of TRIPLEX, with plain means for attention, and without line."""
    others = _triplex(runs, looks, asks=False), _triplex(runs, looks, line=False)
    return MeanOf((_triplex(runs, looks), *others))


def _asign(runs: Path | None, looks: ImagePredictor, **config: Any) -> NetworkPredictor:
    """Return ASIGN, one network for each section set aside; with other settings."""
    from stlearnkit.models.asign import Asign, AsignConfig
    from stlearnkit.recipes import GraphRecipe
    from stlearnkit.training import FitConfig

    return NetworkPredictor(
        partial(Asign, config=AsignConfig(**config)),
        GraphRecipe(looks.encoder),
        FitConfig(choose_by="pcc", augment=False, max_epochs=30, patience=8),
        folder=runs,
        n_networks=_N_NETWORKS,
        name="ASIGN",
    )


def _both(runs: Path | None, looks: ImagePredictor) -> MeanOf:
    """Return the mean of TRIPLEX and ASIGN."""
    return MeanOf((_triplex(runs, looks), _asign(runs, looks)))


_BUILDERS: dict[str, Callable[[Path | None, ImagePredictor], Predictor]] = {
    "mean profile": lambda runs, looks: MeanPredictor(),
    "ridge": _ridge,
    "kriging": _kriging,
    "ST-Net, short": _short_st_net,
    "TRIPLEX": _triplex,
    "BG-TRIPLEX": _guided,
    "ASIGN": _asign,
    "TRIPLEX and ASIGN": _both,
    "ST-Net": _st_net,
    "TRIPLEX, means": partial(_triplex, asks=False),
    "TRIPLEX, no line": partial(_triplex, line=False),
    "TRIPLEX, varied": _varied,
    "BG-TRIPLEX, empty maps": partial(_guided, control="blank"),
    "BG-TRIPLEX, others' maps": partial(_guided, control="shuffled"),
    "BG-TRIPLEX, grey for edges": partial(_guided, control="grey"),
    "ASIGN, means": partial(_asign, asks=False),
    "ASIGN, with line": partial(_asign, line=True),
    "ASIGN, no tiles": partial(_asign, levels=()),
    "ASIGN, no graph": partial(_asign, depth=0, tile_depth=0),
    "ASIGN, no consistency": partial(_asign, consistency_weight=0.0),
}
