"""Recipes: each one is sound, and a folder belongs to one."""

from pathlib import Path

import pytest

from recfold.logs import ADAPTERS
from recfold.model import MODELS
from recfold.recipes import RECIPES, Recipe, run_recipe
from recfold.spec import InputError, apply_overrides


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_names_what_there_is(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.adapter is None or recipe.adapter in ADAPTERS
    assert recipe.run.model.name in MODELS
    assert recipe.about
    assert Recipe.parse(recipe.model_dump(mode="json"), "recipe") == recipe


def test_a_folder_keeps_the_settings_of_its_run(tmp_path: Path) -> None:
    small = ["synth.samples=300", "run.tables.dim=4", "run.train.throughput_steps=0", "run.reader.workers=0"]
    recipe = apply_overrides(RECIPES["demo"], small)
    made = run_recipe(recipe, tmp_path)
    assert made.bayes_auc is not None
    assert made.evaluation is not None
    with pytest.raises(InputError, match="holds a run with other settings"):
        run_recipe(apply_overrides(recipe, ["synth.samples=400"]), tmp_path)
