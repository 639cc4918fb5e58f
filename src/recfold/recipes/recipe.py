"""A recipe: the settings of a whole run, from logs to an evaluated model, under one name."""

from typing import Literal

from pydantic import Field, model_validator

from recfold.fold import FoldSettings
from recfold.spec import Settings
from recfold.train import RunSettings


class SynthSettings(Settings):
    """Generated logs: as `recfold synth` takes them."""

    workload: Literal["pooled", "catalog", "sequence", "multihot"] = "pooled"
    samples: int = Field(default=200_000, gt=0)
    seed: int = Field(default=0, ge=0)
    repeat: float | None = Field(default=None, ge=0, le=1)
    skew: float = Field(default=1.05, ge=0)


class Recipe(Settings):
    """A named run.

    Args:
        about: one line for `--help`.
        synth: generated logs; or None, and then `adapter` reads the logs that the user names.
        adapter: of the user's logs; None for logs with a features.toml.
        fold, run: settings of the fold and of the training run.
    """

    about: str
    synth: SynthSettings | None = None
    adapter: str | None = None
    fold: FoldSettings = FoldSettings()
    run: RunSettings = RunSettings()

    @model_validator(mode="after")
    def _one_source(self) -> "Recipe":
        if self.synth is not None and self.adapter is not None:
            raise ValueError("a recipe has generated logs or an adapter, not both")
        return self
