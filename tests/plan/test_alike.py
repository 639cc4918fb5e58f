"""Ranks that are alike: quantities, the exchanges that make them so, and what they must not break."""

from dataclasses import replace

import numpy as np

from recfold.plan.cost import Cost, rank_ms
from recfold.plan.pool import draw_task, table_pool, train_and_test
from recfold.plan.search.alike import make_alike_, quantities, spread
from recfold.plan.search.board import prepared
from recfold.plan.search.layout import Layout, Rated
from recfold.plan.task import Task


def drawn(seed: int, *, slack: float = 1.5) -> Task:
    pool = train_and_test(table_pool(num_tables=120))[1]
    return draw_task(pool, seed, num_tables=(30, 50), memory_slack=slack)


def greedy(task: Task, cost: Cost) -> Layout:
    board = prepared(task, cost)
    return Layout.of(board, board.greedy(board.dearest_first[None]), Rated(cost))


def spread_of(layout: Layout) -> float:
    own = quantities(layout.pieces, layout.task.ranks)
    return spread(np.stack([own[layout.on(rank)].sum(0) for rank in range(layout.task.ranks)]))


def test_ranks_get_alike_within_time_and_memory(cost: Cost) -> None:
    for seed in range(4):
        task = drawn(seed, slack=1.1)
        layout = greedy(task, cost)
        before, limit = spread_of(layout), layout.slowest_ms * 1.005
        make_alike_(layout, limit, np.random.default_rng(0), lambda: True)
        assert spread_of(layout) < 0.8 * before
        found = layout.assignment()
        # the fast path keeps sums as the slow one finds them
        np.testing.assert_allclose(layout.ms_N, rank_ms(found, task, cost), rtol=1e-9)
        assert layout.held_N.tolist() == found.rank_bytes(task).tolist()
        assert layout.slowest_ms <= limit
        assert found.rank_bytes(task).max() <= (task.memory_bytes or 0)
        found.plan(task)


def test_nothing_changes_without_time_or_with_one_rank(cost: Cost) -> None:
    task = drawn(0)
    layout = greedy(task, cost)
    before = layout.ranks_P.copy()
    make_alike_(layout, np.inf, np.random.default_rng(0), lambda: False)
    assert layout.ranks_P.tolist() == before.tolist()
    alone = greedy(replace(task, topology=task.topology.model_copy(update={"ranks": 1}), memory_bytes=None), cost)
    make_alike_(alone, np.inf, np.random.default_rng(0), lambda: True)
    assert set(alone.ranks_P.tolist()) == {0}


def test_quantities_add_up_and_count_by_an_even_share(cost: Cost) -> None:
    task = drawn(1)
    pieces = [table.whole() for table in task.tables]
    own = quantities(pieces, task.ranks).sum(0)
    np.testing.assert_allclose(own[:5], task.ranks)
    np.testing.assert_allclose(own[5:].sum(), task.ranks)
