"""The sides of a training bench, by name: each trains the same model from the same weights."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from recfold.batch import Batch
from recfold.bench.training.learner_side import LearnerSide
from recfold.bench.training.peer_sides import PaddedSide, PooledSide
from recfold.spec import Schema, unknown
from recfold.train import RunSettings


class Side(Protocol):
    """Something that trains."""

    def prepare(self, batch: Batch) -> Any:
        """The batch as this side reads it, in memory: not timed."""

    def step(self, prepared: Any) -> float:
        """One whole training step; its loss, before the update. A prepared batch is used once."""

    def state(self) -> dict[str, Tensor]:
        """`<table>.weight` and `<table>.sum` of every embedding table, live."""


SIDES: dict[str, Callable[[Schema, RunSettings], Side]] = {
    "recfold": lambda schema, settings: LearnerSide(schema, settings, "on"),
    "fold-off": lambda schema, settings: LearnerSide(schema, settings, "off"),
    "lookups-only": lambda schema, settings: LearnerSide(schema, settings, "lookups"),
    "encoders-only": lambda schema, settings: LearnerSide(schema, settings, "on", encoders_only=True),
    "torchrec-kjt": PooledSide,
    "torchrec-vbe": lambda schema, settings: PooledSide(schema, settings, variable=True),
    "torchrec-padded": PaddedSide,
}


def build_side(name: str, schema: Schema, settings: RunSettings) -> Side:
    """A side at its first step; first weights depend on the seed only.

    Raises:
        InputError: no such side, or a peer that is not installed.
    """
    if name not in SIDES:
        raise unknown("side", name, SIDES)
    return SIDES[name](schema, settings)
