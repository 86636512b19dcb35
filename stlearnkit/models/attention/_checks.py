"""What is checked of tokens before they attend to each other."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float


def check_sizes(**sizes: int) -> None:
    """Refuse numbers of things below one.

    Raises
    ------
    ValueError
        If a size is below 1.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}, expected 1 or more.")


def check_share(name: str, share: float) -> float:
    """Return a share of dropout that makes sense.

    Raises
    ------
    ValueError
        If it is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"{name} is {share}, expected 0 to below 1.")
    return share


def check_width(name: str, tokens: Float[torch.Tensor, "..."], width: int) -> None:
    """Refuse tokens of another width than the layer was built for.

    Raises
    ------
    ValueError
        If there are fewer than two axes, or the last is not `width` long.
    """
    if tokens.ndim < 2 or tokens.shape[-1] != width:
        raise ValueError(
            f"{name} has shape {tuple(tokens.shape)}, expected (..., tokens, {width}): "
            "the width that the layer was built with."
        )


def check_leading(
    queries: Float[torch.Tensor, "..."], context: Float[torch.Tensor, "..."]
) -> None:
    """Refuse a context that is not one for each set of queries.

    Raises
    ------
    ValueError
        If the leading axes differ.
    """
    if queries.shape[:-2] != context.shape[:-2]:
        raise ValueError(
            f"context has leading axes {tuple(context.shape[:-2])}, expected those of "
            f"queries, {tuple(queries.shape[:-2])}. One context for all: "
            "context.expand(len(queries), -1, -1)."
        )


def check_rows(
    queries: Float[torch.Tensor, "..."],
    keys: Float[torch.Tensor, "..."],
    values: Float[torch.Tensor, "..."],
) -> None:
    """Refuse keys that cannot be compared with queries, or have no value each.

    Raises
    ------
    ValueError
        If keys and queries differ in width, or keys and values in number.
    """
    if keys.shape[-1] != queries.shape[-1]:
        raise ValueError(
            f"keys have {keys.shape[-1]} features, expected the {queries.shape[-1]} of "
            "queries: a score is their dot product."
        )
    if values.shape[-2] != keys.shape[-2]:
        raise ValueError(
            f"there are {values.shape[-2]} values, expected one for each of the "
            f"{keys.shape[-2]} keys."
        )


def check_mask(mask: Bool[torch.Tensor, "..."] | None, wanted: Sequence[int]) -> None:
    """Refuse a mask that is not of booleans or of another shape.

    Raises
    ------
    ValueError
        If it is not boolean, or does not broadcast.
    """
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(
            f"mask has dtype {mask.dtype}, expected torch.bool: True where a query may "
            "see a key. Use mask.bool()."
        )
    check_extra("mask", mask, wanted)


def check_extra(name: str, extra: torch.Tensor | None, wanted: Sequence[int]) -> None:
    """Refuse a bias or mask that does not broadcast to the scores.

    Raises
    ------
    ValueError
        If it does not.
    """
    if extra is None:
        return
    fits = extra.ndim <= len(wanted) and all(
        found in (1, length)
        for found, length in zip(reversed(extra.shape), reversed(wanted), strict=False)
    )
    if not fits:
        raise ValueError(
            f"{name} has shape {tuple(extra.shape)}, expected one that broadcasts to "
            f"{tuple(wanted)}, of which the last two are queries and keys."
        )
