"""Whole runs under a name: logs in, an evaluated model out."""

from recfold.recipes.known import RECIPES
from recfold.recipes.recipe import Recipe
from recfold.recipes.run import Outcome, run_recipe

__all__ = ["RECIPES", "Outcome", "Recipe", "run_recipe"]
