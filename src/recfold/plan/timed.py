"""A found plan on a stopwatch: what each rank's pieces take on this machine, beside what was predicted."""

from collections.abc import Callable

from recfold.plan.cost import MeasuredCost, Stopwatch
from recfold.plan.cost.as_trained import AsTrained
from recfold.plan.piece import Piece
from recfold.plan.task import Assignment, Task

LEAST_BYTES = 1_500_000_000
"""For weights while they are timed; tables that need more together share memory."""


class TimedPlans:
    """Times the plans of one task, each rank as if it was alone, on one thread; the ranks of a plan in turns.

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
        """Milliseconds of lookup, backward and update of each rank; a set is timed once, whatever plan it is in."""
        held = assignment.by_rank(self.task.tables, self.task.ranks)
        new = {frozenset(own): own for own in held if frozenset(own) not in self._known}
        fused = [[piece for piece in own if not self.as_trained.on_torch(piece)] for own in new.values()]
        for key, timing in zip(new, self._cost.stopwatch.measure_in_turns(fused), strict=True):
            on_torch = [piece for piece in new[key] if self.as_trained.on_torch(piece)]
            slow_ms = float(self._cost.rows(on_torch)[:, 0] @ self.as_trained.ratio.of(on_torch)) if on_torch else 0.0
            self._known[key] = timing.ms + slow_ms
        return tuple(self._known[frozenset(own)] for own in held)
