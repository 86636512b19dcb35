"""Models, one room each: every file holds the whole of its model."""

__all__ = ["baselines"]

from stlearnkit.models import baselines
