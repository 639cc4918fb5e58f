"""The recipes that come with recfold."""

from recfold.recipes.recipe import Recipe, SynthSettings
from recfold.train import RunSettings

RECIPES: dict[str, Recipe] = {
    "demo": Recipe(
        about="200,000 generated samples with four user groups, DLRM",
        synth=SynthSettings(workload="pooled", samples=200_000),
        run=RunSettings.parse(
            {"model": {"name": "dlrm"}, "train": {"batch_size": 1024}, "tables": {"dim": 16}}, "recipe demo"
        ),
    ),
    "sequence": Recipe(
        about="200,000 generated samples with two moving histories, transformer over histories then DLRM",
        synth=SynthSettings(workload="sequence", samples=200_000),
        run=RunSettings.parse(
            {"model": {"name": "sequence"}, "train": {"batch_size": 1024}, "tables": {"dim": 16}}, "recipe sequence"
        ),
    ),
    "ebnerd": Recipe(
        about="EB-NeRD news impressions (--logs DIR): histories kept once per user, as-of counts",
        adapter="ebnerd",
        run=RunSettings.parse({"model": {"name": "sequence"}}, "recipe ebnerd"),
    ),
    "mind": Recipe(
        about="MIND news impressions (--logs DIR)",
        adapter="mind",
        run=RunSettings.parse({"model": {"name": "sequence"}, "train": {"batch_size": 1024}}, "recipe mind"),
    ),
    "movielens": Recipe(
        about="MovieLens ratings (--logs DIR): histories as windows of each user's ratings",
        adapter="movielens",
        # chosen on the last tenths of the training split. What a user did so far in a visit falls with every like that
        # is used up: it tells users apart and misleads inside a visit.
        run=RunSettings.parse(
            {
                "model": {"name": "sequence", "without": ["user_like_odds", "user_ratings", "history_rating"]},
                "train": {"batch_size": 1024},
                "tables": {"dim": 4, "learning_rate": 0.003},
            },
            "recipe movielens",
        ),
    ),
    "own": Recipe(about="your logs with a features.toml (--logs DIR), DLRM"),
}
