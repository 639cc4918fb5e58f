"""Sets of pieces that costs are learned from: one to sixty pieces, a millisecond to some hundred, whole and cut.

A search looks for sets that a cost finds cheap, and so for its errors. The sets are therefore not those that a random
plan has, but spread: evenly over the logarithms of number and cost, of alike and of mixed tables.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recfold.plan.cost.analytic import AnalyticCost
from recfold.plan.piece import NUM_BINS, Piece, TableLoad, moved_bins
from recfold.plan.pool import DIMS, PoolTable

MAX_PIECES = 60
COST_MS = (1.0, 200.0)
CANDIDATES = 8
MAX_PIECE_BYTES = 1_000_000_000
UNUSUAL = 0.25
"""Share of sets whose tables have other numbers of lists than the pool's, or more rows."""


@dataclass(frozen=True)
class SetDraw:
    """How sets are drawn.

    Args:
        seed: set `number` depends on it, the number, and nothing else.
        max_bytes: of all pieces of a set.
    """

    seed: int = 0
    max_bytes: int = 1_500_000_000


def draw_set(tables: Sequence[PoolTable], number: int, how: SetDraw) -> tuple[Piece, ...]:
    """One set: a number of pieces and a cost are drawn, and of some sets with as many pieces that is taken whose
    analytic cost is nearest."""
    random = np.random.default_rng([how.seed, number])
    num = round(math.exp(random.uniform(0, math.log(MAX_PIECES))))
    wanted = random.uniform(*np.log(COST_MS))
    cost = AnalyticCost()
    best: tuple[Piece, ...] = ()
    nearest = math.inf
    facts = _facts(tables)
    for _ in range(CANDIDATES):
        pieces = _draw_pieces(tables, facts, num, random)
        if sum(piece.num_bytes for piece in pieces) > how.max_bytes:
            continue
        ms = float(cost.ms(cost.rows(pieces).sum(0, keepdims=True))[0])
        distance = abs(math.log(max(ms, 1e-3)) - wanted)
        if distance < nearest:
            best, nearest = pieces, distance
    return best or draw_set(tables, number, dataclasses.replace(how, seed=how.seed + 1_000_003))


def _facts(tables: Sequence[PoolTable]) -> np.ndarray:
    """What sets lean to: log of lookups, log of rows and mean bin of each table, standardised, [3, T]."""
    lookups = _standard(np.log([table.lookups for table in tables]))
    rows = _standard(np.log([table.rows for table in tables]))
    mean_bin = _standard(np.array([table.accesses for table in tables]) @ np.arange(NUM_BINS))
    return np.stack([lookups, rows, mean_bin])


def _draw_pieces(
    tables: Sequence[PoolTable], facts: np.ndarray, num: int, random: np.random.Generator
) -> tuple[Piece, ...]:
    lean = random.normal(0, [1.0, 0.7, 0.5])
    weights = np.exp(lean @ facts)
    chosen = random.choice(len(tables), num, replace=num > len(tables) // 2, p=weights / weights.sum())
    dims = random.dirichlet(np.full(len(DIMS), 0.7))
    cut = random.uniform(0, 0.6) if random.random() < 0.5 else 0.0
    unusual = random.random() < UNUSUAL
    shared_scale = random.uniform(-5, 1)
    pieces = []
    for place in chosen:
        load = tables[place].load(int(random.choice(np.array(DIMS), p=dims)))
        if unusual:
            scale = shared_scale if random.random() < 0.7 else random.uniform(-5, 1)
            load = scaled(load, 2.0**scale, 2.0 ** random.uniform(0, 3))
        pieces.append(_cut(load.whole(), random) if random.random() < cut else load.whole())
    return tuple(pieces)


def scaled(load: TableLoad, batch: float, rows: float = 1.0) -> TableLoad:
    """The load of a batch with so many times the lists, of a table with so many times the rows (up to 1 GB): the bins
    of accesses move by the logarithm.

    >>> load = TableLoad("a", 10, 4, 20, 64.0, 64.0, (0.0, 0.5, 0.5, *[0.0] * 14))
    >>> half = scaled(load, 0.5)
    >>> half.lists, half.lookups, half.accesses[:3]
    (32.0, 32.0, (0.5, 0.5, 0.0))
    """
    most = max(MAX_PIECE_BYTES // load.row_bytes, load.rows)
    return dataclasses.replace(
        load,
        rows=min(max(round(load.rows * rows), 1), most),
        lists=float(max(round(load.lists * batch), 1)),
        lookups=float(max(round(load.lookups * batch), 1)),
        accesses=moved_bins(load.accesses, batch),
    )


def _cut(piece: Piece, random: np.random.Generator) -> Piece:
    """One of the parts after one to three cuts in two, each by columns or by rows."""
    for _ in range(int(random.integers(1, 4))):
        by_columns = random.random() < 0.6
        halves = piece.halves_by_columns() if by_columns else piece.halves_by_rows()
        if halves is not None and (by_columns or piece.num_rows > 64):
            piece = halves[int(random.integers(2))]
    return piece


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / max(float(values.std()), 1e-9)
