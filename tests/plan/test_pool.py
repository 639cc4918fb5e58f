"""The synthetic pool has the public pool's statistics, where a batch of 4,096 lists can have them."""

import numpy as np
import pytest

from recfold.plan.pool import (
    MAX_POOLING,
    MAX_ROWS,
    MAX_TASK_BYTES,
    MEAN_POOLING,
    MEAN_REUSE,
    MEAN_ROWS,
    NUM_TABLES,
    ROW_SHARES,
    PoolTable,
    draw_task,
    table_pool,
    target_shares,
    train_and_test,
)
from recfold.spec import InputError


@pytest.fixture(scope="module", params=[0, 3])
def pool(request: pytest.FixtureRequest) -> tuple[PoolTable, ...]:
    return table_pool(request.param)


def test_rows_and_pooling_are_the_published_ones(pool: tuple[PoolTable, ...]) -> None:
    rows = 20 * np.array([table.rows for table in pool])
    pooling = np.array([table.lookups / table.lists for table in pool])
    assert len(pool) == NUM_TABLES
    assert (rows.max(), rows.mean(), rows.min()) == pytest.approx((MAX_ROWS, MEAN_ROWS, 20), rel=0.01)
    assert (pooling.max(), pooling.mean()) == pytest.approx((MAX_POOLING, MEAN_POOLING), rel=0.02)
    assert round(pooling.min()) == 0


def test_accesses_are_the_published_ones_below_the_batch_size(pool: tuple[PoolTable, ...]) -> None:
    lookups = np.array([table.lookups for table in pool])
    shares = np.array([table.accesses for table in pool])
    found = (shares * lookups[:, None]).sum(0) / lookups.sum()
    target = target_shares()
    assert np.abs(found[:12] - target[:12]).max() < 0.004
    # small tables with many lookups have rows that are read more than once a list
    assert found[12:].sum() == pytest.approx(target[12:].sum(), abs=0.01)


def test_distinct_rows_and_reuse_follow(pool: tuple[PoolTable, ...]) -> None:
    from recfold.plan.piece import mean_counts

    lookups = np.array([table.lookups for table in pool])
    rows = (np.array([table.accesses for table in pool]) / mean_counts() * lookups[:, None]).sum(0)
    assert lookups.sum() / rows.sum() == pytest.approx(MEAN_REUSE, rel=0.03)
    assert np.abs(rows[:10] / rows.sum() - ROW_SHARES).max() < 0.015


def test_same_seed_same_pool() -> None:
    assert table_pool(5, num_tables=40) == table_pool(5, num_tables=40)
    assert table_pool(5, num_tables=40) != table_pool(6, num_tables=40)
    with pytest.raises(InputError, match="at least 2 tables"):
        table_pool(num_tables=1)


def test_train_and_test_tables_are_disjoint(pool: tuple[PoolTable, ...]) -> None:
    train, test = train_and_test(pool)
    names = [{table.name for table in part} for part in (train, test)]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == NUM_TABLES


@pytest.mark.parametrize("seed", range(6))
def test_tasks_keep_to_their_bounds(pool: tuple[PoolTable, ...], seed: int) -> None:
    task = draw_task(train_and_test(pool)[0], seed)
    assert task == draw_task(train_and_test(pool)[0], seed)
    assert 20 <= len(task.tables) <= 200
    assert 4 <= task.ranks <= 8
    assert {table.dim for table in task.tables} <= {16, 32, 64, 128}
    assert all(table.row_bytes == 4 * table.dim + 4 and table.lists == 4096 for table in task.tables)
    total = sum(table.num_bytes for table in task.tables)
    assert total <= MAX_TASK_BYTES
    assert task.memory_bytes is not None
    assert task.memory_bytes * task.ranks >= total
    assert task.memory_bytes >= max(table.num_bytes for table in task.tables)


def test_a_task_of_too_many_tables_is_refused(pool: tuple[PoolTable, ...]) -> None:
    with pytest.raises(InputError, match="too few tables"):
        draw_task(pool[:10], 0)
    assert draw_task(pool[:30], 0, num_tables=(5, 5), memory_slack=None).memory_bytes is None
