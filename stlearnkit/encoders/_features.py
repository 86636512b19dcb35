"""Features of the spots of a section, kept on disk so that they are computed once."""

__all__ = ["feature_maps", "features", "surroundings"]

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from stlearnkit._store import read, user_folder, write
from stlearnkit.encoders._encoder import Encoder
from stlearnkit.patches import Scale, extract
from stlearnkit.sections import Section

# Raise it when patches or features of the same inputs come out differently.
_CACHE_VERSION = 1
_CHUNK_SPOTS = 256  # one cache file each: bounds memory and what a kill can lose


def features(
    section: Section,
    encoder: Encoder,
    scale: Scale,
    *,
    centres_um: Float[np.ndarray, "points 2"] | None = None,
    batch_size: int | None = None,
    cache_folder: Path | None = None,
) -> Float[np.ndarray, "points features"]:
    """Return the features of the patch around each spot, computed at most once.

    Results are kept on disk under a hash of the encoder, the image and its µm scale,
    the centres and the size of the patch; when one of them changes, features are
    computed anew. Work is stored every 256 spots, whole or not at all, so that it can
    be killed at any time and goes on where it was.

    Parameters
    ----------
    section
        Spots and the slide they lie on.
    encoder
        The network.
    scale
        Side of the patches in µm.
    centres_um
        Centres (x, y) of the patches in the frame of the section, one or more, where
        they are not the spots': of the tiles of a `graphs.ScaleGraph`, say.
    batch_size
        As for `Encoder.encode`.
    cache_folder
        Where to keep them; without it ``features`` in `STLEARNKIT_CACHE`, else in the
        user's cache folder.

    Returns
    -------
    One row per spot, or centre, float32.

    Raises
    ------
    SectionError
        If the section has no slide.
    ValueError
        If there is no centre, or one is not finite.
    OSError
        If the folder cannot be written.
    """

    def encode(
        patches: UInt8[np.ndarray, "spots side side 3"],
    ) -> Float[np.ndarray, "spots features"]:
        return encoder.encode(patches, batch_size=batch_size)

    source = (encoder.fingerprint, float(scale.side_um))
    return _kept(
        section,
        scale,
        encode,
        centres_um=centres_um,
        output_px=encoder.input_px,
        source=source,
        cache_folder=cache_folder,
    )


def feature_maps(
    section: Section,
    encoder: Encoder,
    scale: Scale,
    *,
    batch_size: int | None = None,
    cache_folder: Path | None = None,
) -> Float[np.ndarray, "spots features height width"]:
    """Return the feature map of the patch around each spot, computed at most once.

    Other than `features`, it keeps apart what lies where in the patch; see
    `Encoder.encode_maps`. 180 spots of 1280 features on 7 × 7 places take 23 MB.

    Parameters
    ----------
    section, encoder, scale, batch_size, cache_folder
        As for `features`.

    Returns
    -------
    One map per spot, in half precision.

    Raises
    ------
    SectionError
        If the section has no slide.
    ValueError
        If the network has no maps.
    OSError
        If the folder cannot be written.
    """

    def encode(
        patches: UInt8[np.ndarray, "spots side side 3"],
    ) -> Float[np.ndarray, "spots features height width"]:
        maps = encoder.encode_maps(patches, batch_size=batch_size)
        return maps.astype(np.float16)

    source = (encoder.fingerprint, float(scale.side_um), "maps")
    return _kept(
        section,
        scale,
        encode,
        output_px=encoder.input_px,
        source=source,
        cache_folder=cache_folder,
    )


def surroundings(
    section: Section,
    encoder: Encoder,
    scale: Scale,
    *,
    n_cells: int = 5,
    batch_size: int | None = None,
    cache_folder: Path | None = None,
) -> Float[np.ndarray, "spots features height width"]:
    """Return the features of a grid of patches around each spot, computed once.

    The square around the spot is cut into `n_cells` × `n_cells` patches, and each is
    encoded on its own: a map of the neighbourhood, with the spot in its middle. It is
    `n_cells` squared times the work of `features`; with an encoder that takes smaller
    pictures, ``dataclasses.replace(encoder, input_px=112)``, a quarter of that.

    Parameters
    ----------
    section, encoder, batch_size, cache_folder
        As for `features`.
    scale
        The whole square.
    n_cells
        Patches along its side; odd, so that one lies on the spot.

    Returns
    -------
    One map per spot, in half precision. Beyond the image there is white glass; which
    cells lie there, `patches.coverage` tells.

    Raises
    ------
    SectionError
        If the section has no slide.
    ValueError
        If `n_cells` is not odd and positive.
    OSError
        If the folder cannot be written.
    """
    if n_cells < 1 or n_cells % 2 == 0:
        raise ValueError(f"n_cells is {n_cells}, expected an odd number, such as 5.")
    side = encoder.input_px

    def encode(
        squares: UInt8[np.ndarray, "spots width width 3"],
    ) -> Float[np.ndarray, "spots features height height"]:
        cells = squares.reshape(len(squares), n_cells, side, n_cells, side, 3)
        cells = cells.swapaxes(2, 3).reshape(-1, side, side, 3)
        rows = encoder.encode(cells, batch_size=batch_size)
        maps = rows.reshape(len(squares), n_cells, n_cells, -1).transpose(0, 3, 1, 2)
        return maps.astype(np.float16)

    source = (encoder.fingerprint, float(scale.side_um), n_cells)
    return _kept(
        section,
        scale,
        encode,
        output_px=n_cells * side,
        source=source,
        cache_folder=cache_folder,
    )


def _kept(
    section: Section,
    scale: Scale,
    encode: Callable[[np.ndarray], np.ndarray],
    *,
    centres_um: Float[np.ndarray, "points 2"] | None = None,
    output_px: int,
    source: tuple[Any, ...],
    cache_folder: Path | None,
) -> Float[np.ndarray, "points ..."]:
    """Return what `encode` makes of the patches of a section, from disk if it is there.

    `source` is all that decides the result beside the slide and the centres.
    """
    slide = section.require_slide("to cut patches from")
    folder = user_folder("features") if cache_folder is None else cache_folder
    decides = (_CACHE_VERSION, *source, slide.fingerprint(), section.mpp)
    parts = []
    places = section.coords_px if centres_um is None else _px(section, centres_um)
    for start in range(0, len(places), _CHUNK_SPOTS):
        centres_px = places[start : start + _CHUNK_SPOTS]
        file = folder / f"{_key(decides, centres_px)}.npy"
        found = read(file)
        if found is None:
            patches = extract(slide, centres_px, scale.side_um, output_px=output_px)
            found = encode(patches)
            write(file, found)
        parts.append(found)
    return np.concatenate(parts)


def _px(
    section: Section, centres_um: Float[np.ndarray, "points 2"]
) -> Float[np.ndarray, "points 2"]:
    """Return centres in pixels of the slide.

    Raises
    ------
    ValueError
        If there is none, or one is not finite.
    """
    if len(centres_um) == 0 or not np.isfinite(centres_um).all():
        n_finite = int(np.isfinite(centres_um).all(axis=1).sum())
        raise ValueError(
            f"centres_um has {len(centres_um)} rows, {n_finite} of them finite, "
            "expected one or more finite places (x, y)."
        )
    return centres_um / section.mpp


def _key(decides: tuple[Any, ...], centres_px: Float[np.ndarray, "spots 2"]) -> str:
    """Hash all that decides the features of these spots."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr(decides).encode())
    digest.update(np.ascontiguousarray(centres_px, "<f8").tobytes())
    return digest.hexdigest()
