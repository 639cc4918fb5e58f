"""The default search against the optimum of small tasks, and against its own start."""

import itertools

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recfold.plan.cost import Cost, rank_ms
from recfold.plan.piece import NUM_BINS, TableLoad
from recfold.plan.pool import draw_task, table_pool, train_and_test
from recfold.plan.search import find
from recfold.plan.search.best import best
from recfold.plan.search.board import prepared
from recfold.plan.search.layout import Layout, Rated
from recfold.plan.search.neighbours import better, offcuts
from recfold.plan.task import Task
from recfold.spec import Topology


def tables(loads: list[float]) -> tuple[TableLoad, ...]:
    bins = (1.0,) + (0.0,) * (NUM_BINS - 1)
    return tuple(TableLoad(f"t{n}", 100, 16, 68, 1000.0, 1e5 * load, bins) for n, load in enumerate(loads))


def optimum(task: Task, cost: Cost) -> float:
    """Of all placements of whole tables: the slow, obvious twin."""
    rows = cost.rows([table.whole() for table in task.tables])
    placements = itertools.product(range(task.ranks), repeat=len(task.tables))
    sums = np.array([[rows[np.array(p) == rank].sum(0) for rank in range(task.ranks)] for p in placements])
    return float(cost.ms(sums.reshape(-1, rows.shape[1])).reshape(len(sums), -1).max(1).min())


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loads=st.lists(st.floats(0.1, 3), min_size=2, max_size=7), ranks=st.integers(2, 3))
def test_small_tasks_reach_the_optimum(cost: Cost, loads: list[float], ranks: int) -> None:
    task = Task(tables(loads), Topology(ranks=ranks))
    found = rank_ms(best(task, cost), task, cost).max()
    lowest = optimum(task, cost)
    assert lowest * (1 - 1e-9) <= found <= lowest * 1.001


def test_more_time_is_never_worse_than_the_start(cost: Cost) -> None:
    pool = train_and_test(table_pool(num_tables=120))[1]
    for seed in range(4):
        task = draw_task(pool, seed, num_tables=(20, 60), splits=frozenset({"columns", "rows"}))
        start = rank_ms(best(task, cost, seconds=0), task, cost).max()
        greedy = rank_ms(find(task, cost, search="cost-greedy"), task, cost).max()
        later = rank_ms(best(task, cost, seconds=0.1), task, cost).max()
        assert later <= start <= greedy


def test_sums_that_are_kept_up_to_date_are_those_of_the_pieces(cost: Cost) -> None:
    """The fast path against `rank_ms`, over a whole descent with splits and replication."""
    pool = train_and_test(table_pool(num_tables=120))[1]
    task = draw_task(pool, 0, num_tables=(12, 12), devices=(8, 8), splits=frozenset({"columns", "rows"}))
    board = prepared(task, cost)
    layout = Layout.of(board, np.zeros(len(board.pieces), np.int64), Rated(cost))
    layout.room = float("inf")
    layout.replicate_(task.tables[0])
    layout.replicate_(task.tables[1])
    layout.gather_(task.tables[0], 3)
    for _ in range(60):
        change = better(layout, task.splits)
        if change is None:
            break
        layout.change_(change)
        found = layout.assignment()
        np.testing.assert_allclose(layout.ms_N, rank_ms(found, task, cost), rtol=1e-9)
        assert layout.held_N.tolist() == found.rank_bytes(task).tolist()
        found.plan(task)
    assert len(layout.pieces) > 11, "no piece was cut"


def test_offcuts_tile_their_piece_in_widths_of_four() -> None:
    whole = tables([1.0])[0].whole()
    for kept, cut in offcuts(whole, frozenset({"rows", "columns"})):
        assert kept.num_rows * kept.dim + cut.num_rows * cut.dim == 1600
        assert kept.dim % 4 == cut.dim % 4 == 0
    assert offcuts(whole, frozenset()) == []
