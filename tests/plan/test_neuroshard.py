"""The beam over column splits."""

import numpy as np

from recfold.plan.cost import Cost, rank_ms
from recfold.plan.piece import NUM_BINS, TableLoad
from recfold.plan.search import find
from recfold.plan.search.board import prepared
from recfold.plan.search.neuroshard import CAPS, _gridded, _halvings
from recfold.plan.search.place import place_in_order
from recfold.plan.task import Task
from recfold.spec import Topology

BINS = (1.0,) + (0.0,) * (NUM_BINS - 1)
TABLES = tuple(TableLoad(f"t{n}", 100 * n, 16, 68, 1000.0, 1e5 * n, BINS) for n in range(1, 6))


def test_candidates_are_the_dearest_and_the_largest_each_halved_once(cost: Cost) -> None:
    tables = (
        *TABLES,
        TableLoad("large", 10**6, 16, 68, 1.0, 1.0, BINS),
        TableLoad("narrow", 10, 4, 20, 1.0, 1.0, BINS),
    )
    boards = _halvings(prepared(Task(tables, Topology(ranks=2)), cost))
    cut = [next(piece.table.name for piece in board.pieces if not piece.is_whole) for board in boards]
    assert cut == ["t5", "t4", "t3", "t2", "t1", "large"]
    for board in boards:
        np.testing.assert_allclose(board.rows_PK, cost.rows(board.pieces))
        assert board.num_bytes_P.tolist() == [piece.num_bytes for piece in board.pieces]


def test_the_grid_is_the_best_of_greedy_under_each_cap(cost: Cost) -> None:
    """The batched grid against one greedy a cap."""
    board = prepared(Task(TABLES, Topology(ranks=2), 60_000), cost)
    order = board.dearest_first
    widths = np.array([piece.dim for piece in board.pieces])[order]
    slowest = []
    for cap in CAPS:
        placed = place_in_order(
            cost,
            board.rows_PK[order][None],
            board.num_bytes_P[order][None],
            np.full(2, board.room),
            np.zeros((2, board.rows_PK.shape[1])),
            widths_BP=widths[None],
            caps_B=np.array([widths.sum() / 2 * cap]),
        )
        if placed.fits_B[0]:
            slowest.append(placed.ms_BN.max())
    assert _gridded([board])[0].slowest_ms == min(slowest)


def test_splitting_columns_helps_where_one_table_is_too_dear(cost: Cost) -> None:
    tables = (TableLoad("big", 1000, 64, 260, 1000.0, 1e6, BINS), *TABLES[:3])
    whole, split = (Task(tables, Topology(ranks=4), None, splits) for splits in (frozenset(), frozenset({"columns"})))
    slow, fast = (rank_ms(find(task, cost, search="neuroshard"), task, cost).max() for task in (whole, split))
    assert fast < 0.5 * slow
