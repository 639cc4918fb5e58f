"""The default: greedy starts, then a local search with restarts of a part."""

import time
from dataclasses import dataclass

import numpy as np

from recfold.plan.cost import Cost
from recfold.plan.piece import Piece
from recfold.plan.search.board import Board, prepared
from recfold.plan.search.cut import halves, merged
from recfold.plan.search.layout import Layout, Rated
from recfold.plan.search.ldm import differenced
from recfold.plan.search.neighbours import better, replicated_instead
from recfold.plan.search.place import place_in_order
from recfold.plan.task import Assignment, Task

SETS = 3_000_000
"""Sets of pieces that are rated where no time is given; at most, small tasks take fewer."""

SETS_A_CELL = 2_500
"""The same for each (table, rank)."""

ORDERS = 8
NOISE = 0.3
WORSE = 0.01


@dataclass
class _Budget:
    rated: Rated
    seconds: float | None
    sets: int
    start: float

    def left(self) -> float:
        """The share that is left."""
        if self.seconds is not None:
            return 1 - (time.monotonic() - self.start) / max(self.seconds, 1e-9)
        return 1 - self.rated.num_sets / self.sets


def best(task: Task, cost: Cost, *, seed: int = 0, seconds: float | None = None) -> Assignment:
    """Starts: pieces as the other searches get them, and tables left whole as far as they fit, each placed greedily
    in several orders and by differencing. From the best of each, changes that help the slowest rank are made until
    there is none (see `neighbours`). Then, until the time is over: the pieces of the slowest rank and a few others
    are taken up, put together where they were cut, perhaps cut anew, placed again in random orders, and improved
    again; the result is kept unless it is worse by more than a share that falls to nothing (Schrimpf et al. 2000,
    "ruin and recreate", with the record-to-record rule of Dueck 1993).

    Never worse than the best start.
    """
    start = time.monotonic()
    rated = Rated(cost)
    rng = np.random.default_rng(seed)
    budget = _Budget(rated, seconds, min(SETS, SETS_A_CELL * len(task.tables) * task.ranks), start)
    boards = [prepared(task, rated)]
    if task.splits and task.ranks > 1:
        whole = prepared(task, rated, even=False)
        boards += [whole] if whole.pieces != boards[0].pieces else []
    layouts = [Layout.of(board, ranks_P, rated) for board in boards for ranks_P in [_started(board, rng)]]
    if task.ranks == 1:
        return layouts[0].assignment()
    for number, layout in enumerate(layouts):
        layouts[number] = _descended(layout, budget, at_least=0.5)
    current = min(layouts, key=lambda layout: layout.slowest_ms)
    record = current
    while budget.left() > 0 and not _stuck(record):
        tried = _recreated(current, rng)
        if tried is None:
            continue
        tried = _descended(tried, budget)
        if tried.slowest_ms <= record.slowest_ms * (1 + WORSE * max(budget.left(), 0)):
            current = tried
        if tried.slowest_ms < record.slowest_ms:
            record = tried
    return record.assignment()


def _started(board: Board, rng: np.random.Generator) -> np.ndarray:
    """The best of the greedy orders and of differencing."""
    num_pieces = len(board.pieces)
    size = np.array([piece.num_rows * piece.dim for piece in board.pieces])
    load = np.array([piece.lookups * piece.dim for piece in board.pieces])
    orders = [board.dearest_first, np.lexsort((-board.single_ms_P, -load)), np.lexsort((-board.single_ms_P, -size))]
    for _ in range(ORDERS - len(orders)):
        orders.append(np.argsort(-board.single_ms_P * np.exp(NOISE * rng.standard_normal(num_pieces)), kind="stable"))
    most = max(400_000 // max(num_pieces * board.ranks, 1), 2)  # no piece is left where every table is replicated
    greedy = board.greedy(np.stack(orders[:most]))
    apart = differenced(board.single_ms_P, board.ranks)
    found = [greedy] + ([apart] if board.fits(apart) else [])
    return min(found, key=board.slowest_ms)


def _descended(layout: Layout, budget: _Budget, at_least: float = 0.0) -> Layout:
    """Changed in place until no change helps, or only a share of the budget is left."""
    splits = layout.task.splits
    while budget.left() > at_least:
        change = better(layout, splits)
        if change is not None:
            layout.change_(change)
            continue
        instead = replicated_instead(layout) if "replicate" in splits else None
        if instead is None:
            break
        layout = instead
    return layout


def _stuck(layout: Layout) -> bool:
    """Nothing can be taken from the slowest rank: it has one piece, which may not be cut."""
    own = layout.on(layout.slowest)
    return len(own) <= 1 and not layout.task.splits and not layout.replicated


def _recreated(layout: Layout, rng: np.random.Generator) -> Layout | None:
    """A copy in which some ranks are placed anew; None where no order of their pieces fits."""
    layout = layout.copy()
    splits = layout.task.splits
    slowest, ranks = layout.slowest, layout.task.ranks
    weight = layout.ms_N.max() - np.delete(layout.ms_N, slowest) + 0.05 * layout.ms_N.max() + 1e-9
    others = np.delete(np.arange(ranks), slowest)
    count = min(int(rng.integers(1, 4)), ranks - 1)
    chosen = np.concatenate([[slowest], rng.choice(others, size=count, replace=False, p=weight / weight.sum())])
    if layout.replicated and rng.random() < 0.3:
        name = str(rng.choice(sorted(layout.replicated)))
        layout.gather_(next(table for table in layout.task.tables if table.name == name), slowest)
    numbers = np.flatnonzero(np.isin(layout.ranks_P, chosen))
    pieces = merged([layout.pieces[n] for n in numbers.tolist()])
    if splits and pieces and rng.random() < 0.5:
        pieces = _cut_one(pieces, layout, rng)
    rows = layout.rated.rows(pieces) if pieces else layout.rows_PK[:0]
    num_bytes = np.array([piece.num_bytes for piece in pieces], np.int64)
    single = layout.rated.ms(rows)
    noise = np.exp(NOISE * rng.standard_normal((ORDERS, len(pieces))))
    orders = np.argsort(-single[None] * noise, axis=1, kind="stable")
    layout.change_((numbers.tolist(), []))
    placed = place_in_order(
        layout.rated,
        rows[orders],
        num_bytes[orders],
        layout.room - layout.held_N[chosen],
        layout.sums_NK[chosen],
    )
    if not placed.fits_B.any():
        return None
    order = int(np.argmin(np.where(placed.fits_B, placed.ms_BN.max(1), np.inf)))
    to = chosen[placed.ranks_BP[order]]
    layout.change_(([], [(pieces[n], int(rank)) for n, rank in zip(orders[order].tolist(), to.tolist(), strict=True)]))
    return layout


def _cut_one(pieces: list[Piece], layout: Layout, rng: np.random.Generator) -> list[Piece]:
    """One of the pieces in two, where one may be cut; dear ones more often."""
    single = layout.rated.ms(layout.rated.rows(pieces))
    number = int(rng.choice(len(pieces), p=single / single.sum())) if single.min() > 0 else int(np.argmax(single))
    ways = halves(pieces[number], layout.task.splits)
    if not ways:
        return pieces
    return [*pieces[:number], *ways[int(rng.integers(len(ways)))], *pieces[number + 1 :]]
