"""What every cost model offers."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from recfold.plan.piece import Piece
from recfold.plan.task import Assignment, Task


class Cost(Protocol):
    """Milliseconds of a step that a set of pieces takes on one rank, exchange included where the model knows it."""

    @property
    def name(self) -> str:
        """What it is called in files and tables."""
        ...

    def rows(self, pieces: Sequence[Piece]) -> np.ndarray:
        """What of each piece adds up, float64 [P, K]."""
        ...

    def ms(self, sums: np.ndarray) -> np.ndarray:
        """Milliseconds [M] of M sets, given the sums [M, K] of their pieces' rows; 0 for a set without pieces is not
        promised: a rank that holds nothing is a sum of zeros, and costs `ms` of it."""
        ...


def rank_ms(assignment: Assignment, task: Task, cost: Cost) -> np.ndarray:
    """Milliseconds of each rank, float64 [N]; of a replicated table every rank looks up an even share of the lists."""
    return cost.ms(rank_sums(assignment, task, cost))


def rank_sums(assignment: Assignment, task: Task, cost: Cost) -> np.ndarray:
    """Rows of each rank's pieces added up, float64 [N, K]."""
    pieces = list(assignment.pieces)
    copies = [table.replica(task.ranks) for table in task.tables if table.name in assignment.replicated]
    rows = cost.rows([*pieces, *copies])
    sums = np.tile(rows[len(pieces) :].sum(0), (task.ranks, 1))
    np.add.at(sums, assignment.ranks, rows[: len(pieces)])
    return sums
