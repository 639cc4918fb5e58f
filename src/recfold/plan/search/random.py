"""Pieces in random order, each on any rank where it fits."""

import numpy as np

from recfold.plan.cost import Cost
from recfold.plan.search.board import prepared
from recfold.plan.task import Assignment, Task


def random(task: Task, cost: Cost, *, seed: int = 0, seconds: float | None = None) -> Assignment:
    """Uniform among the ranks with room, mended where there is none: the baseline that published speed-ups are quoted
    over."""
    board = prepared(task, cost)
    rng = np.random.default_rng(seed)
    ranks_P = np.zeros(len(board.pieces), np.int64)
    left = np.full(board.ranks, board.room)
    for piece in rng.permutation(len(board.pieces)).tolist():
        open_to = np.flatnonzero(left >= board.num_bytes_P[piece])
        ranks_P[piece] = rng.choice(open_to) if len(open_to) else np.argmax(left)
        left[ranks_P[piece]] -= board.num_bytes_P[piece]
    return board.assignment(ranks_P)
