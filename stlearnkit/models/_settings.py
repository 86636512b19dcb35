"""What settings of models may be."""

__all__ = ["check_least", "check_radii", "check_shares", "check_speeds"]

from collections.abc import Sequence


def check_least(settings: object, least: int, *names: str) -> None:
    """Refuse settings that are too small, or no number at all.

    Raises
    ------
    ValueError
        At the first.
    """
    for name in names:
        value = getattr(settings, name)
        if not least <= value < float("inf"):
            raise ValueError(f"{name} is {value}, expected {least} or more.")


def check_shares(settings: object, *names: str) -> None:
    """Refuse shares to hide in training that are below 0, or hide all.

    Raises
    ------
    ValueError
        At the first.
    """
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value < 1:
            raise ValueError(f"{name} is {value}, expected 0 to below 1.")


def check_speeds(settings: object, *names: str) -> None:
    """Refuse multiples of a learning rate that are not above 0.

    Raises
    ------
    ValueError
        At the first.
    """
    for name in names:
        value = getattr(settings, name)
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} is {value}, expected above 0.")


def check_radii(radii_um: Sequence[float]) -> None:
    """Refuse radii that are not above 0.

    Raises
    ------
    ValueError
        If any is not.
    """
    if not all(0 < radius < float("inf") for radius in radii_um):
        raise ValueError(
            f"radii_um is {radii_um}, expected micrometres above 0, such as 1.25 times "
            "the spot pitch."
        )
