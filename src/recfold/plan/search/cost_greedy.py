"""Greedy on what a rank costs with all its pieces: the baseline that is missing in the papers."""

from recfold.plan.cost import Cost
from recfold.plan.search.board import prepared
from recfold.plan.task import Assignment, Task


def cost_greedy(task: Task, cost: Cost, *, seed: int = 0, seconds: float | None = None) -> Assignment:
    """Dearest piece first, on the rank that costs least with it."""
    board = prepared(task, cost)
    return board.assignment(board.greedy(board.dearest_first[None]))
