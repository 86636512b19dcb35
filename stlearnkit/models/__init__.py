"""Models, one room each: every file holds the whole of its model.

The first is taught in the chapter "Features and the linear baseline".
"""

__all__ = ["baselines"]

from stlearnkit.models import baselines
