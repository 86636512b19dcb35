"""Maps kept on disk: one file for each section and setting."""

__all__ = ["key", "load", "save"]

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from stlearnkit._store import read, user_folder, write
from stlearnkit.boundaries._maps import BoundaryMaps
from stlearnkit.stains import StainProfile

# Raise it when maps of the same inputs come out differently.
_CACHE_VERSION = 1


def key(*inputs: Any) -> str:
    """Return a hash of all that decides the maps."""
    content = repr((_CACHE_VERSION, *inputs)).encode()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def load(name: str, folder: Path | None) -> BoundaryMaps | None:
    """Return what `save` kept, or None."""
    packed = read(_file(name, folder))
    if packed is None:
        return None
    with np.load(io.BytesIO(packed.data), allow_pickle=False) as parts:
        return BoundaryMaps(
            parts["edges"],
            parts["nuclei"],
            float(parts["mpp"]),
            float(parts["downsample"]),
            StainProfile(parts["vectors"], parts["strength"]),
            str(parts["source"]),
        )


def save(name: str, maps: BoundaryMaps, folder: Path | None) -> None:
    """Keep maps, packed: most of a label image is zeros, or the number before."""
    packed = io.BytesIO()
    np.savez_compressed(
        packed,
        edges=maps.edges,
        nuclei=maps.nuclei,
        mpp=np.array(maps.mpp),
        downsample=np.array(maps.downsample),
        vectors=maps.profile.vectors,
        strength=maps.profile.strength,
        source=np.array(maps.source),
    )
    write(_file(name, folder), np.frombuffer(packed.getbuffer(), np.uint8))


def _file(name: str, folder: Path | None) -> Path:
    """Return where maps are kept."""
    return (folder or user_folder("boundaries")) / f"{name}.npy"
