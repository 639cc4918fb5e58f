"""NeuroShard: a beam search over column splits, and inside it a greedy grid over how many columns a rank may hold.

Source: Zha et al., "Pre-train and Search: Efficient Embedding Table Sharding with Pre-trained Neural Cost Models",
MLSys 2023 (arXiv 2305.01868), algorithms 1 and 2, with its settings.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recfold.plan.cost import Cost
from recfold.plan.piece import Piece
from recfold.plan.search.board import Board, prepared
from recfold.plan.search.place import place_in_order
from recfold.plan.task import Assignment, Task

BEAMS, CANDIDATES, DEPTH = 3, 10, 10
CAPS = np.linspace(1.0, 1.5, 11)


@dataclass(frozen=True)
class _State:
    board: Board
    ranks_P: np.ndarray
    slowest_ms: float


def neuroshard(task: Task, cost: Cost, *, seed: int = 0, seconds: float | None = None) -> Assignment:
    """In turn `DEPTH` times, the `CANDIDATES` pieces that cost most or are largest are halved at columns in each of the
    `BEAMS` best states. Where columns may not be split, pieces are cut as for the other searches and the grid is all.

    Args:
        seconds: no further depth is started after them.
    """
    start = time.monotonic()
    own_splits = "columns" in task.splits
    board = prepared(task, cost, even=not own_splits)
    best = _gridded([board])[0]
    beams = [best]
    for _ in range(DEPTH if own_splits and task.ranks > 1 else 0):
        if seconds is not None and time.monotonic() - start > seconds:
            break
        boards = [finer for state in beams for finer in _halvings(state.board)]
        if not boards:
            break
        beams = sorted(_gridded(boards), key=lambda state: state.slowest_ms)[:BEAMS]
        best = min(best, beams[0], key=lambda state: state.slowest_ms)
    return best.board.assignment(best.ranks_P)


def _halvings(board: Board) -> list[Board]:
    """A board with one of its pieces halved: half of the candidates are the dearest, half are the largest."""
    by_bytes = np.argsort(-board.num_bytes_P, kind="stable").tolist()
    found: dict[int, Board] = {}
    for most, order in ((CANDIDATES // 2, board.dearest_first.tolist()), (CANDIDATES, by_bytes)):
        for number in order:
            if len(found) >= most:
                break
            pair = _column_halves(board.pieces[number])
            finer = board.cut(number, pair) if pair is not None and number not in found else None
            if finer is not None:
                found[number] = finer
    return list(found.values())


def _column_halves(piece: Piece) -> tuple[Piece, Piece] | None:
    return piece.halves_by_columns() if piece.num_rows == piece.table.rows else None


def _gridded(boards: Sequence[Board]) -> list[_State]:
    """The best placement of each board over the grid of caps; boards have equally many pieces."""
    cost, ranks = boards[0].cost, boards[0].ranks
    orders = np.stack([board.dearest_first for board in boards])
    widths = np.array([[piece.dim for piece in board.pieces] for board in boards])
    grid = len(CAPS)
    rows = np.stack([board.rows_PK[order] for board, order in zip(boards, orders, strict=True)])
    num_bytes = np.stack([board.num_bytes_P[order] for board, order in zip(boards, orders, strict=True)])
    widths = np.take_along_axis(widths, orders, axis=1)
    caps = (widths.sum(1)[:, None] / ranks * CAPS[None]).reshape(-1)
    placed = place_in_order(
        cost,
        np.repeat(rows, grid, axis=0),
        np.repeat(num_bytes, grid, axis=0),
        np.full(ranks, boards[0].room),
        np.repeat(boards[0].shared_K[None], ranks, axis=0),
        widths_BP=np.repeat(widths, grid, axis=0),
        caps_B=caps,
    )
    slowest = np.where(placed.fits_B, placed.ms_BN.max(1), np.inf).reshape(len(boards), grid)
    states = []
    for number, board in enumerate(boards):
        cap = int(np.argmin(slowest[number]))
        ranks_P = board.fallback_P.copy()
        if np.isfinite(slowest[number, cap]):
            ranks_P[orders[number]] = placed.ranks_BP[number * grid + cap]
        states.append(_State(board, ranks_P, board.slowest_ms(ranks_P)))
    return states
