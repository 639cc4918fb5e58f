"""Steps are timed in turns; a batch is prepared anew for every side and step."""

from typing import Any

import torch

from recfold.bench.training.timing import step_seconds


class Recorded:
    def __init__(self, name: str, log: list[tuple[str, int]]) -> None:
        self.name, self.log = name, log

    def prepare(self, batch: Any) -> Any:
        return batch

    def step(self, prepared: Any) -> float:
        self.log.append((self.name, prepared))
        return 0.0

    def state(self) -> dict[str, torch.Tensor]:
        return {}


def test_every_turn_has_one_batch_and_begins_with_another_side() -> None:
    log: list[tuple[str, int]] = []
    told: list[tuple[object, ...]] = []
    batches: Any = [10, 20]
    sides = {name: Recorded(name, log) for name in "abc"}
    seconds = step_seconds(sides, batches, 3, "steps of", lambda *what: told.append(what))
    assert log == [("a", 10), ("b", 10), ("c", 10), ("b", 20), ("c", 20), ("a", 20), ("c", 10), ("a", 10), ("b", 10)]
    assert {name: len(found) for name, found in seconds.items()} == {"a": 3, "b": 3, "c": 3}
    assert told[-1] == ("steps of: steps", 3, 3)
