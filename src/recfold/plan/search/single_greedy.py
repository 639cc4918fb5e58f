"""Greedy on a number for each piece: dearest first, on the least loaded rank where it fits.

These are the baselines of AutoShard and DreamShard. Their pooling factor is that of a batch in which every table is
read by equally many lists; here lookups of a step stand in its place, which is the same up to that number and knows
of dedup.
"""

import math
from collections.abc import Callable

import numpy as np

from recfold.plan.cost import Cost
from recfold.plan.piece import Piece
from recfold.plan.search.board import Board, prepared
from recfold.plan.task import Assignment, Task


def size(task: Task, cost: Cost, *, seed: int = 0, seconds: float | None = None) -> Assignment:
    """By rows x dim."""
    return _by(lambda piece: piece.num_rows * piece.dim, task, cost)


def dim(task: Task, cost: Cost, *, seed: int = 0, seconds: float | None = None) -> Assignment:
    """By dim."""
    return _by(lambda piece: piece.dim, task, cost)


def lookup(task: Task, cost: Cost, *, seed: int = 0, seconds: float | None = None) -> Assignment:
    """By dim x lookups."""
    return _by(lambda piece: piece.dim * piece.lookups, task, cost)


def size_lookup(task: Task, cost: Cost, *, seed: int = 0, seconds: float | None = None) -> Assignment:
    """By dim x lookups x log10(rows)."""
    return _by(lambda piece: piece.dim * piece.lookups * math.log10(max(piece.num_rows, 1)), task, cost)


def _by(weight: Callable[[Piece], float], task: Task, cost: Cost) -> Assignment:
    board = prepared(task, cost)
    return board.assignment(least_loaded(board, np.array([weight(piece) for piece in board.pieces])))


def least_loaded(board: Board, weight_P: np.ndarray) -> np.ndarray:
    """Heaviest piece first, on the rank with the least weight among those with room; where there is none, on that with
    the most room left, which is mended in the end."""
    ranks_P = np.zeros(len(board.pieces), np.int64)
    load, left = np.zeros(board.ranks), np.full(board.ranks, board.room)
    for piece in np.lexsort((-board.num_bytes_P, -weight_P)).tolist():
        open_to = left >= board.num_bytes_P[piece]
        rank = int(np.argmin(np.where(open_to, load, np.inf)) if open_to.any() else np.argmax(left))
        ranks_P[piece] = rank
        load[rank] += weight_P[piece]
        left[rank] -= board.num_bytes_P[piece]
    return board.fitting(ranks_P)
