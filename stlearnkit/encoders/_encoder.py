"""Encoders themselves: networks, with the preprocessing they were trained with."""

__all__ = ["Encoder", "default_encoder", "random_encoder", "tutorial_encoder"]

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, UInt8

from stlearnkit._weights import default_name, last_map, load_network
from stlearnkit.encoders._folding import fold_normalisation

_ARCHITECTURE = "mobilenetv2_100"
_LARGE_PX = 224

_log = logging.getLogger("stlearnkit")


@dataclass(frozen=True, eq=False)
class Encoder:
    """A frozen network with the preprocessing that it was trained with.

    Build one with `Encoder.load`, `default_encoder` or `random_encoder`; or give any
    `torch.nn.Module` that maps images to rows of features.

    Parameters
    ----------
    name
        For people, and for logs.
    network
        Takes (patches, 3, side, side), returns (patches, features). It is put into
        evaluation mode, on `device`, and its weights no longer take gradients.
    input_px
        Side of the patches it expects.
    mean, std
        Of each colour in [0, 1]; the network sees (colour - mean) / std.
    device
        Where it runs.

    Examples
    --------
    The mean colour is an encoder of three features:

    >>> network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> colour = Encoder("colour", network, input_px=2, mean=(0.0,) * 3, std=(1.0,) * 3)
    >>> colour.encode(np.full((1, 2, 2, 3), [0, 51, 255], np.uint8)).round(6)
    array([[0. , 0.2, 1. ]], dtype=float32)
    """

    name: str
    network: torch.nn.Module
    input_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Freeze the network, its weights in the order in which patches come."""
        self.network.eval().requires_grad_(requires_grad=False)
        self.network.to(self.device)
        self.network.to(memory_format=torch.channels_last)

    @classmethod
    def load(cls, name: str, *, device: str | None = None) -> "Encoder":
        """Load a pretrained timm network, with the preprocessing it was trained with.

        Parameters
        ----------
        name
            A timm name, with or without tag, such as ``"resnet18.a1_in1k"``; or
            ``"local-dir:"`` and a folder that holds timm's ``config.json`` and weights
            as ``.safetensors``. Pickled weights are not read from folders, for
            unpickling can run any code.
        device
            ``"cuda"``, ``"mps"``, ``"cpu"``; without it, the first of them that is
            there.

        Raises
        ------
        ValueError
            If timm knows no such network.
        FileNotFoundError
            If the folder is not such a folder.
        ConnectionError
            If the weights were never downloaded and the hub cannot be reached.
        """
        network = load_network(name)
        return cls._of(name, network, device)

    @classmethod
    def _of(cls, name: str, network: torch.nn.Module, device: str | None) -> "Encoder":
        """Wrap a timm network with the preprocessing of its own configuration."""
        from timm.data import resolve_model_data_config

        config = resolve_model_data_config(network)
        return cls(
            name,
            network,
            input_px=int(config["input_size"][-1]),
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            device=_choose_device(device),
        )

    @property
    def precision(self) -> str:
        """Numbers used inside: half precision on CUDA, full elsewhere."""
        return "float16" if self._device_type == "cuda" else "float32"

    @property
    def _device_type(self) -> str:
        """The device without its number."""
        return torch.device(self.device).type

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that decides the features of a patch.

        Layers, weights, preprocessing and precision; not the name.
        """
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr(self.network).encode())
        preprocessing = (self.input_px, self.mean, self.std, self.precision)
        digest.update(repr(preprocessing).encode())
        for key, tensor in sorted(self.network.state_dict().items()):
            digest.update(key.encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @cached_property
    def _folded(self) -> torch.nn.Module:
        """The network that runs: on a CPU one of fewer steps, that says the same."""
        if self._device_type != "cpu":
            return self.network
        return fold_normalisation(self.network, self.input_px)

    def encode(
        self,
        patches: UInt8[np.ndarray, "spots side side 3"],
        *,
        batch_size: int | None = None,
    ) -> Float[np.ndarray, "spots features"]:
        """Return the features of each patch, float32.

        The same patches on the same device give the same features, up to rounding if
        `batch_size` changes.

        Parameters
        ----------
        patches
            From `patches.extract(..., output_px=encoder.input_px)`.
        batch_size
            Patches in the network at one time; memory grows with it. Without it, 8 of
            224 px on a CPU, whose cache holds what so few need, and 128 elsewhere;
            more of smaller ones.

        Raises
        ------
        ValueError
            If there are no patches, or they are not of side `input_px`.
        """
        return self._in_parts(self._features_of, patches, batch_size)

    def encode_maps(
        self,
        patches: UInt8[np.ndarray, "spots side side 3"],
        *,
        batch_size: int | None = None,
    ) -> Float[np.ndarray, "spots features height width"]:
        """Return the features of each place of each patch, before they are averaged.

        The last map of a convolutional network, and the tokens of a transformer laid
        back on their grid; a 32nd of the patch's side for most networks. For networks
        that end in a mean over places, such as the book's, the mean of a map is what
        `encode` returns.

        Parameters
        ----------
        patches, batch_size
            As for `encode`.

        Raises
        ------
        ValueError
            As for `encode`; or if the network is not timm's, and so has no
            ``forward_features``, or returns no map of places.
        """
        return self._in_parts(self._maps_of, patches, batch_size)

    def _in_parts(
        self,
        network: Callable[[torch.Tensor], torch.Tensor],
        patches: UInt8[np.ndarray, "spots side side 3"],
        batch_size: int | None,
    ) -> Float[np.ndarray, "spots ..."]:
        """Run a network over as many patches at a time as it can hold.

        Raises
        ------
        ValueError
            If there are no patches, or they are not of side `input_px`.
        """
        if len(patches) == 0 or patches.shape[1:3] != (self.input_px, self.input_px):
            raise ValueError(
                f"patches has shape {patches.shape}, but {self.name!r} expects at "
                f"least one patch of side {self.input_px}. Use "
                "patches.extract(..., output_px=encoder.input_px)."
            )
        at_once = 8 if self._device_type == "cpu" else 128
        step = batch_size or max(at_once, at_once * _LARGE_PX**2 // self.input_px**2)
        starts = range(0, len(patches), step)
        return np.concatenate(
            [self._run(network, patches[i : i + step]) for i in starts]
        )

    @torch.inference_mode()
    def _run(
        self,
        network: Callable[[torch.Tensor], torch.Tensor],
        patches: UInt8[np.ndarray, "spots side side 3"],
    ) -> Float[np.ndarray, "spots ..."]:
        """Return what a network makes of patches, all at once."""
        mean, std = (
            torch.tensor(values, device=self.device).view(3, 1, 1)
            for values in (self.mean, self.std)
        )
        # uint8 travels to the device; (height, width, 3) becomes (3, height, width).
        batch = torch.from_numpy(np.ascontiguousarray(patches)).to(self.device)
        batch = (batch.permute(0, 3, 1, 2) / 255 - mean) / std
        with (
            torch.autocast(self._device_type, enabled=self.precision == "float16"),
            torch.backends.cudnn.flags(deterministic=True, benchmark=False),
        ):
            return network(batch).float().cpu().numpy()

    def _features_of(
        self, images: Float[torch.Tensor, "spots 3 side side"]
    ) -> Float[torch.Tensor, "spots features"]:
        """Return one row of features per image."""
        return self._folded(images)

    def _maps_of(
        self, images: Float[torch.Tensor, "spots 3 side side"]
    ) -> Float[torch.Tensor, "spots features height width"]:
        """Return the last map of each image."""
        return last_map(self._folded, images)


def default_encoder(*, device: str | None = None) -> Encoder:
    """Return the encoder of the book: a MobileNetV2 trained on ImageNet.

    Small enough for a laptop, 1280 features. It is taken from the folder
    ``mobilenetv2_100.coral_in1k`` in `STLEARNKIT_WEIGHTS` if there is one, else from
    timm's hub as ``mobilenetv2_100.ra_in1k``, which is downloaded once. The two were
    trained differently, so numbers differ a little between them.

    Parameters
    ----------
    device
        As for `Encoder.load`.

    Raises
    ------
    ConnectionError
        If neither can be had.
    """
    return Encoder.load(default_name(), device=device)


def random_encoder(*, seed: int, device: str | None = None) -> Encoder:
    """Return the architecture of `default_encoder` with weights drawn at random.

    It has seen no image at all: what it predicts is due to colour and texture that
    random filters happen to catch. A control, and a stand-in without a network.

    Parameters
    ----------
    seed
        Of the weights.
    device
        As for `Encoder.load`.
    """
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = timm.create_model(_ARCHITECTURE, pretrained=False, num_classes=0)
    return Encoder._of(f"random mobilenetv2_100, seed {seed}", network, device)


def tutorial_encoder(*, device: str | None = None) -> Encoder:
    """Return `default_encoder`, or a random one, saying so loudly, if it is not there.

    Parameters
    ----------
    device
        As for `Encoder.load`.
    """
    try:
        return default_encoder(device=device)
    except ConnectionError as error:
        _log.warning(
            "NO PRETRAINED ENCODER: features come from RANDOM WEIGHTS, and numbers "
            "will be worse than those printed in the book. %s",
            error,
        )
        return random_encoder(seed=0, device=device)


def _choose_device(device: str | None) -> str:
    """Return the device asked for, or the fastest one at hand."""
    if device is not None:
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
