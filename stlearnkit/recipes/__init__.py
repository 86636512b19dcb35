"""Recipes: how the batch of any section is made, the same way in training and after.

A recipe is called with a section and a panel of genes, and returns a batch without
targets. Which one a model needs is said in its own room: `PatchRecipe` for a network
that looks at pictures, `ViewsRecipe`, perhaps with a `GuideRecipe`, for attention
across scales, `GraphRecipe` for graphs. What takes long, such as frozen features, is
kept on disk.

Taught in the chapter "A first network" and, each with its model, "Attention across
scales", "Boundaries" and "Graphs across scales".
"""

__all__ = ["GraphRecipe", "GuideRecipe", "PatchRecipe", "ViewsRecipe"]

from stlearnkit.recipes._graph import GraphRecipe
from stlearnkit.recipes._patches import PatchRecipe
from stlearnkit.recipes._views import GuideRecipe, ViewsRecipe
