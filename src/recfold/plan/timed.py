"""A found plan on a stopwatch: what each rank's pieces take on this machine, beside what was predicted."""

from collections.abc import Callable

from recfold.plan.cost import MeasuredCost, Stopwatch
from recfold.plan.cost.as_trained import AsTrained
from recfold.plan.piece import Piece
from recfold.plan.task import Assignment, Task

LEAST_BYTES = 1_500_000_000
"""For weights while they are timed; tables that need more together share memory."""


class TimedPlans:
    """Times the plans of one task, one rank after the other, on one thread.

    What the fused kernel serves of a rank is timed together; a piece that training gives to torch is timed alone, and
    scaled as for a search (see `AsTrained`). The exchange is not timed.

    Args:
        task: that is planned.
        as_trained: which pieces training gives to torch, and how much dearer they are.
        make_clock: given the bytes for weights.
    """

    def __init__(
        self,
        task: Task,
        as_trained: AsTrained,
        make_clock: Callable[[int], Stopwatch] = lambda memory_bytes: Stopwatch(memory_bytes=memory_bytes),
    ) -> None:
        self.task, self.as_trained = task, as_trained
        largest = max((4 * own.rows * own.dim for own in task.tables), default=0)
        self._cost = MeasuredCost(make_clock(max(LEAST_BYTES, largest)))
        self._known: dict[frozenset[Piece], float] = {}

    def ranks_ms(self, assignment: Assignment) -> tuple[float, ...]:
        """Milliseconds of lookup, backward and update of each rank."""
        return tuple(self._ms(pieces) for pieces in assignment.by_rank(self.task.tables, self.task.ranks))

    def _ms(self, pieces: list[Piece]) -> float:
        """A set is timed once, whatever plan it is in."""
        key = frozenset(pieces)
        if key not in self._known:
            on_torch = [piece for piece in pieces if self.as_trained.on_torch(piece)]
            ms = self._cost.set_ms([piece for piece in pieces if not self.as_trained.on_torch(piece)])
            if on_torch:
                ms += float(self._cost.rows(on_torch)[:, 0] @ self.as_trained.ratio.of(on_torch))
            self._known[key] = ms
        return self._known[key]
