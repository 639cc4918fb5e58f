"""Makes ranks alike, where the cost says that they take equally long.

A cost errs, and errs most on what a search finds cheapest. How much it errs on a set depends on what the set is made
of, so ranks that are made of the same err alike, and none is much slower than predicted. What a rank is made of: its
pieces, lists, ids, numbers that are read and sent, and numbers that are read by how often their rows are.

    spread = sum over ranks and quantities of ((quantity on the rank - an even share of it) / what it counts by)^2

A quantity counts by an even share of itself; numbers of rows that are read so often by one of all that are read.
"""

from collections.abc import Callable, Sequence

import numpy as np

from recfold.plan.cost.samples import COLUMNS, piece_columns
from recfold.plan.piece import Piece
from recfold.plan.search.layout import Layout

SLACK = 0.005
"""The slowest rank may take so much longer by the cost, which errs by ten times as much."""

EXCHANGES = 4000
"""Exchanges of two pieces that are rated at once; all of them where there are fewer."""

STEPS = 400
FAILURES = 3
"""Draws of exchanges in a row of which none helps."""

BINS = (3, 6, 9, 12)
"""Of accesses, where one quantity ends and the next begins."""


def quantities(pieces: Sequence[Piece], ranks: int) -> np.ndarray:
    """What adds up of each piece, in shares of what an even rank has of what it counts by; float64 [P, Q]."""
    columns = piece_columns(pieces)
    dim, lists, lookups = columns[:, 0], columns[:, 2], columns[:, 3]
    read = lookups * dim
    bins = np.add.reduceat(columns[:, len(COLUMNS) :], [0, *BINS], axis=1)
    whole = np.column_stack([np.ones(len(pieces)), lists, lookups, lists * dim, read])
    counted_by = np.maximum(whole.sum(0) / ranks, 1e-9)
    return np.column_stack([whole / counted_by, read[:, None] * bins / counted_by[-1]])


def spread(shares_NQ: np.ndarray) -> float:
    """How unlike ranks are that hold so much of each quantity."""
    return float(((shares_NQ - shares_NQ.mean(0)) ** 2).sum())


def make_alike_(layout: Layout, limit_ms: float, rng: np.random.Generator, left: Callable[[], bool]) -> None:
    """Move and exchange pieces as long as ranks become more alike.

    Args:
        limit_ms: of the slowest rank.
        left: whether there is time.
    """
    ranks = layout.task.ranks
    if ranks < 2 or len(layout.pieces) < 2:
        return
    own = quantities(layout.pieces, ranks)
    # less what an even rank holds
    above = np.tile(-own.sum(0) / ranks, (ranks, 1))
    np.add.at(above, layout.ranks_P, own)
    failures = 0
    for _ in range(STEPS):
        if failures >= FAILURES or not left():
            return
        one, other = _drawn(layout, rng)
        helped = _exchange_(layout, own, above, one, other, limit_ms)
        failures = 0 if helped else failures + 1


def _drawn(layout: Layout, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of pieces on two ranks; a piece and -1 - rank is a move to that rank."""
    num, ranks = len(layout.pieces), layout.task.ranks
    pairs = rng.integers(0, num, (EXCHANGES, 2))
    one, other = pairs[layout.ranks_P[pairs[:, 0]] != layout.ranks_P[pairs[:, 1]]].T
    moved = rng.integers(0, num, EXCHANGES // 8)
    to = rng.integers(0, ranks, len(moved))
    moves = to != layout.ranks_P[moved]
    return np.concatenate([one, moved[moves]]), np.concatenate([other, -1 - to[moves]])


def _exchange_(
    layout: Layout, own_PQ: np.ndarray, above_NQ: np.ndarray, one: np.ndarray, other: np.ndarray, limit_ms: float
) -> bool:
    """The best of these exchanges that keeps to time and memory is made; whether there is one."""
    is_move = other < 0
    back = np.where(is_move, 0, other)
    from_M, to_M = layout.ranks_P[one], np.where(is_move, -1 - other, layout.ranks_P[back])
    keep = np.where(is_move, 0.0, 1.0)[:, None]
    delta = own_PQ[one] - keep * own_PQ[back]
    before = (above_NQ[from_M] ** 2).sum(1) + (above_NQ[to_M] ** 2).sum(1)
    after = ((above_NQ[from_M] - delta) ** 2).sum(1) + ((above_NQ[to_M] + delta) ** 2).sum(1)
    bytes_M = layout.num_bytes_P[one] - keep[:, 0] * layout.num_bytes_P[back]
    fits = (layout.held_N[to_M] + bytes_M <= layout.room) & (layout.held_N[from_M] - bytes_M <= layout.room)
    gain = np.where(fits, before - after, 0.0)
    chosen = np.argsort(-gain, kind="stable")[:256]
    chosen = chosen[gain[chosen] > 1e-9]
    if not len(chosen):
        return False
    rows = layout.rows_PK[one[chosen]] - keep[chosen] * layout.rows_PK[back[chosen]]
    ms = layout.rated.ms(np.concatenate([layout.sums_NK[from_M[chosen]] - rows, layout.sums_NK[to_M[chosen]] + rows]))
    slower = np.maximum(*ms.reshape(2, -1))
    good = np.flatnonzero(slower <= limit_ms)
    if not len(good):
        return False
    _make_(layout, own_PQ, above_NQ, int(one[chosen[good[0]]]), int(other[chosen[good[0]]]))
    return True


def _make_(layout: Layout, own_PQ: np.ndarray, above_NQ: np.ndarray, one: int, other: int) -> None:
    start, stop = int(layout.ranks_P[one]), -1 - other if other < 0 else int(layout.ranks_P[other])
    for piece, before, after in [(one, start, stop), *([(other, stop, start)] if other >= 0 else [])]:
        layout.ranks_P[piece] = after
        for held, added in (
            (layout.sums_NK, layout.rows_PK),
            (layout.held_N, layout.num_bytes_P),
            (above_NQ, own_PQ),
        ):
            held[before] -= added[piece]
            held[after] += added[piece]
    layout.ms_N[[start, stop]] = layout.rated.ms(layout.sums_NK[[start, stop]])
