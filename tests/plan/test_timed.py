"""Found plans on a stopwatch: sets together, pieces that training gives to torch alone and dearer."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from recfold.plan.cost import AnalyticCost
from recfold.plan.cost.as_trained import AsTrained, shipped_ratio
from recfold.plan.cost.measured import Timing
from recfold.plan.piece import NUM_BINS, Piece, TableLoad
from recfold.plan.task import Assignment, Task
from recfold.plan.timed import LEAST_BYTES, TimedPlans
from recfold.spec import Topology

SPREAD = (1.0,) + (0.0,) * (NUM_BINS - 1)


class Clock:
    """Takes a millisecond a piece."""

    def __init__(self) -> None:
        self.sets: list[tuple[str, ...]] = []

    def measure(self, pieces: Sequence[Piece], seed: int = 0) -> Timing:
        self.sets.append(tuple(piece.table.name for piece in pieces))
        return Timing(float(len(pieces)), 0.0, 0.0, 0.0, (), ())

    def measure_in_turns(self, sets: Sequence[Sequence[Piece]]) -> list[Timing]:
        return [self.measure(pieces) for pieces in sets]


def test_ranks_take_their_sets_and_what_torch_serves() -> None:
    a, b, c, copied = (TableLoad(name, 1000, 16, 68, 100.0, 400.0, SPREAD) for name in ("a", "b", "c", "copied"))
    task = Task((a, b, c, copied), Topology(ranks=2), None, frozenset({"columns", "replicate"}))
    columns = c.whole().halves_by_columns()
    assert columns is not None
    as_trained, clock, asked = AsTrained(AnalyticCost(), frozenset({"c"}), shipped_ratio()), Clock(), []
    timed = TimedPlans(task, as_trained, lambda memory_bytes: asked.append(memory_bytes) or cast(Any, clock))
    pieces = (a.whole(), b.whole(), *columns)
    found = timed.ranks_ms(Assignment(pieces, np.array([0, 0, 1, 1]), ("copied",)))
    replica, left, right = as_trained.ratio.of([copied.replica(2), *columns])
    assert found == pytest.approx((2 + replica, replica + left + right))
    assert min(replica, left) > 1
    assert clock.sets[0] == ("a", "b")
    assert asked == [LEAST_BYTES]
    # another plan with the same ranks times nothing again
    before = len(clock.sets)
    swapped = timed.ranks_ms(Assignment(pieces, np.array([1, 1, 0, 0]), ("copied",)))
    assert swapped == found[::-1]
    assert len(clock.sets) == before
