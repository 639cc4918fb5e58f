"""The tasks: tables that the cost network has never seen, with random dims, on 4 to 8 devices."""

from recfold.plan.cost import shipped_cost
from recfold.plan.pool import draw_task, table_pool, train_and_test
from recfold.plan.task import Split, Task

CASES: dict[str, frozenset[Split]] = {"no-splits": frozenset(), "splits": frozenset({"columns", "rows"})}
"""Case -> what may be done to a table. The tasks of both are the same otherwise."""

SEEDS_A_SEED = 10_000
"""Tasks that `--seed` keeps apart."""


def bench_task(case: str, number: int, seed: int, num_tables: tuple[int, int] = (20, 200)) -> Task:
    """Task `number` of a seed: 20 to 200 tables of the half of the pool that the shipped cost and policies were not
    fitted on, at most 8 GB, on devices with room for 1.5 times an even share."""
    pool_seed = int(shipped_cost().facts["hardware"]["seed"])
    _, unseen = train_and_test(table_pool(pool_seed), pool_seed)
    return draw_task(unseen, SEEDS_A_SEED * seed + number, num_tables=num_tables, splits=CASES[case])
