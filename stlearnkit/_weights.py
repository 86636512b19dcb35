"""Where pretrained networks come from: timm's hub, or a folder on this machine."""

__all__ = ["default_name", "last_map", "load_network"]

import difflib
import math
import os
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float

_FOLDER_VARIABLE = "STLEARNKIT_WEIGHTS"
_FOLDER_NAME = "mobilenetv2_100.coral_in1k"
_HUB_NAME = "mobilenetv2_100.ra_in1k"


def default_name() -> str:
    """Return the name of the book's encoder: the folder's if it is there."""
    weights = os.environ.get(_FOLDER_VARIABLE)
    if weights and (Path(weights) / _FOLDER_NAME).is_dir():
        return f"local-dir:{Path(weights) / _FOLDER_NAME}"
    return _HUB_NAME


def load_network(name: str, *, pretrained: bool = True) -> torch.nn.Module:
    """Load a timm network without its classifier.

    Parameters
    ----------
    name
        As for `encoders.Encoder.load`. A folder that has moved is looked for, by its
        own name, in `STLEARNKIT_WEIGHTS`.
    pretrained
        Load its weights; without them only the architecture is built.

    Raises
    ------
    ValueError
        If timm knows no such network, or the folder's is damaged.
    """
    import timm

    if name.startswith("local-dir:"):
        folder = _find_folder(Path(name.removeprefix("local-dir:")))
        _check_folder(folder)
        return _load_folder(folder, pretrained=pretrained)
    if not name.startswith("hf-hub:"):
        if not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models())
            raise ValueError(
                f"name is {name!r}, which timm does not know. Nearest: {near}. See "
                "timm.list_pretrained() for all, or give 'local-dir:<folder>'."
            )
        if pretrained:
            _check_reachable(name)
    return timm.create_model(name, pretrained=pretrained, num_classes=0)


def last_map(
    network: torch.nn.Module, images: Float[torch.Tensor, "spots 3 side side"]
) -> Float[torch.Tensor, "spots features height width"]:
    """Return the features of each place of each image, before they are averaged.

    The last map of a convolutional network; the tokens of a transformer, laid back on
    their grid.

    Raises
    ------
    ValueError
        If the network is not timm's, or returns no square map.
    """
    timms: Any = network
    if not hasattr(timms, "forward_features"):
        raise ValueError(
            f"a {type(network).__name__} has no forward_features, so its maps cannot "
            "be had. Use a timm network, by name."
        )
    found = timms.forward_features(images)
    if found.ndim == 3:  # tokens, the first of them of no place
        found = found[:, getattr(timms, "num_prefix_tokens", 0) :].mT
        side = math.isqrt(found.shape[-1])
        if side * side == found.shape[-1]:
            found = found.unflatten(-1, (side, side))
    elif found.ndim == 4 and found.shape[1] != timms.num_features:
        found = found.movedim(-1, 1)  # some networks keep features last
    if found.ndim != 4:
        raise ValueError(
            f"a {type(network).__name__} returns features of shape "
            f"{tuple(found.shape)}, not a square map of places. Use another network."
        )
    return found


def _load_folder(folder: Path, *, pretrained: bool) -> torch.nn.Module:
    """Load the network of a folder.

    Raises
    ------
    ValueError
        If its configuration or its weights are no such thing.
    """
    import timm

    try:
        return timm.create_model(
            f"local-dir:{folder}", pretrained=pretrained, num_classes=0
        )
    except Exception as error:
        raise ValueError(
            f"{folder} cannot be loaded as a network: {type(error).__name__}: {error}. "
            "Expected timm's config.json, and weights of that architecture as "
            "model.safetensors. Fetch both again."
        ) from error


def _find_folder(folder: Path) -> Path:
    """Return the folder, or the one of its name among this machine's weights."""
    moved = Path(os.environ.get(_FOLDER_VARIABLE, "")) / folder.name
    return moved if not folder.is_dir() and moved.is_dir() else folder


def _check_folder(folder: Path) -> None:
    """Refuse folders that timm cannot read, or only by unpickling.

    Raises
    ------
    FileNotFoundError
        If the configuration or the weights are missing.
    """
    for wanted in ("config.json", "*.safetensors"):
        if not any(folder.glob(wanted)):
            raise FileNotFoundError(
                f"{folder} holds no {wanted}. Expected a folder with timm's "
                "config.json and weights as .safetensors; convert pickled weights "
                "with safetensors.torch.save_file."
            )


def _check_reachable(name: str) -> None:
    """Ask the hub once for weights that are not here; timm would ask for a minute.

    Raises
    ------
    ConnectionError
        If there is no answer.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    repository = None if config is None else config.hf_hub_id
    if not repository or try_to_load_from_cache(repository, "model.safetensors"):
        return
    try:
        HfApi().model_info(repository, timeout=10)
    except Exception as error:
        raise ConnectionError(
            f"the weights of {name!r} are not on this machine and the hub cannot be "
            f"reached: {error}. Run once with a network; or set {_FOLDER_VARIABLE} "
            f"to a folder that holds the folder {_FOLDER_NAME} with config.json and "
            "model.safetensors; or use encoders.random_encoder(seed=0)."
        ) from error
