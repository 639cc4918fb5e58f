"""What holds for every search: each cell is placed once, memory is kept to, the same seed gives the same, an
impossible task raises the same error. A new search is tested by being added to `SEARCHERS`."""

import itertools
import re
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from recfold.plan.cost import Cost, rank_ms
from recfold.plan.piece import NUM_BINS, TableLoad
from recfold.plan.pool import draw_task, table_pool, train_and_test
from recfold.plan.search import SEARCHERS, find
from recfold.plan.task import Split, Task
from recfold.spec import InputError, Topology

SPLITS: tuple[frozenset[Split], ...] = tuple(
    frozenset(chosen)
    for count in range(4)
    for chosen in itertools.combinations(("columns", "rows", "replicate"), count)  # type: ignore[arg-type]
)
POOL = train_and_test(table_pool(num_tables=120))[1]

LOADS = st.builds(
    lambda rows, units, lists, pooling: (rows, 4 * units, lists, lists * pooling),
    st.integers(1, 2000),
    st.sampled_from([1, 2, 3, 4, 8, 16]),
    st.floats(0, 5000),
    st.floats(0, 50),
)


def table(name: str, rows: int = 100, dim: int = 16, lists: float = 10.0, lookups: float = 40.0) -> TableLoad:
    return TableLoad(name, rows, dim, 4 * dim + 4, lists, lookups, (1.0,) + (0.0,) * (NUM_BINS - 1))


def task_of(
    loads: list[tuple[int, int, float, float]], ranks: int, memory: int | None, splits: frozenset[Split]
) -> Task:
    tables = tuple(table(f"t{number}", *own) for number, own in enumerate(loads))
    return Task(tables, Topology(ranks=ranks), memory, splits)


@pytest.mark.parametrize("search", SEARCHERS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    loads=st.lists(LOADS, min_size=1, max_size=9),
    ranks=st.integers(1, 4),
    slack=st.sampled_from([None, 1.0, 1.05, 1.3, 3.0]),
    splits=st.sampled_from(SPLITS),
)
@example(loads=[(1, 4, 0.0, 0.0)], ranks=2, slack=None, splits=frozenset({"replicate"}))
def test_each_cell_is_placed_once_within_memory(
    search: str,
    cost: Cost,
    loads: list[tuple[int, int, float, float]],
    ranks: int,
    slack: float | None,
    splits: frozenset[Split],
) -> None:
    total = sum(rows * (4 * dim + 4) for rows, dim, _, _ in loads)
    memory = None if slack is None else int(slack * total / ranks) + 1
    task = task_of(loads, ranks, memory, splits)
    try:
        found = find(task, cost, search=search, seconds=0.02)
    except InputError as error:
        # the same from every search
        with pytest.raises(InputError, match=f"^{re.escape(str(error))}$"):
            find(task, cost, search="random")
        return
    plan = found.plan(task)
    row_bytes = {own.name: own.row_bytes for own in task.tables}
    assert found.rank_bytes(task).tolist() == list(plan.rank_bytes(row_bytes))
    if memory is not None:
        assert found.rank_bytes(task).max() <= memory
    kinds = {placed.kind for placed in plan.tables.values()} - {"table_wise"}
    allowed = {"columns": {"column_wise"}, "rows": {"row_wise"}, "replicate": {"replicated"}}
    may = {kind for split in splits for kind in allowed[split]} | ({"grid"} if {"rows", "columns"} <= splits else set())
    assert kinds <= may


@pytest.mark.parametrize("splits", [frozenset(), frozenset({"columns", "rows"})], ids=["whole", "split"])
@pytest.mark.parametrize("search", SEARCHERS)
def test_the_same_seed_gives_the_same_plan(search: str, splits: frozenset[Split], cost: Cost) -> None:
    task = draw_task(POOL, 1, num_tables=(12, 12), devices=(4, 4), splits=splits)
    plans = [find(task, cost, search=search, seed=seed).plan(task) for seed in (3, 3)]
    assert plans[0] == plans[1]


def too_large(ranks: int) -> tuple[Task, str]:
    task = Task((table("small"), table("big", rows=1000)), Topology(ranks=ranks), 10_000)
    return task, r"table 'big' needs 68,000 bytes on one rank.*58,000 are missing.*split by rows or by columns"


def too_large_cut() -> tuple[Task, str]:
    task = Task((table("big", rows=1000),), Topology(ranks=8), 10_000, frozenset({"columns"}))
    return task, r"table 'big' needs 17,000 bytes on one rank even where it is cut as far as allowed.*split by rows,"


def too_much() -> tuple[Task, str]:
    tables = tuple(table(f"t{number}") for number in range(5))
    return Task(tables, Topology(ranks=2), 14_000), r"need 34,000 bytes.*6,000 are missing.*at least 3 ranks.*float16"


def together() -> tuple[Task, str]:
    tables = tuple(table(f"t{number}") for number in range(3))
    return Task(tables, Topology(ranks=2), 10_200), "do not fit together, however they are placed: 20,400 of 20,400"


@pytest.mark.parametrize("make", [lambda: too_large(2), too_large_cut, too_much, together])
def test_an_impossible_task_raises_the_same_explained_error(make: Callable[[], tuple[Task, str]], cost: Cost) -> None:
    task, expected = make()
    for search in SEARCHERS:
        with pytest.raises(InputError, match=expected):
            find(task, cost, search=search)


@pytest.mark.parametrize("search", SEARCHERS)
def test_a_packing_is_found_where_placing_one_by_one_ends_in_a_dead_end(search: str, byte_cost: Cost) -> None:
    # 6 + 4, 5 + 3 + 2, no other way; the largest first on the emptiest rank ends with 6 + 3, 5 + 4 and no room for
    # the 2
    loads = [(1000 * size, 4, 1.0, 1.0) for size in (6, 5, 4, 3, 2)]
    task = task_of(loads, 2, 10_000 * 20, frozenset())
    found = find(task, byte_cost, search=search)
    assert found.rank_bytes(task).tolist() == [200_000, 200_000]


@pytest.mark.parametrize("search", SEARCHERS)
def test_a_table_that_outweighs_a_rank_is_cut_where_that_is_allowed(search: str, cost: Cost) -> None:
    loads = [(1000, 64, 5000.0, 50_000.0)] + [(100, 16, 100.0, 1000.0)] * 6
    kinds = {}
    for splits in SPLITS[:4]:
        task = task_of(loads, 4, None, splits)
        plan = find(task, cost, search=search, seconds=0.05).plan(task)
        kinds[tuple(splits)] = plan.tables["t0"].kind
    assert kinds == {
        (): "table_wise",
        ("columns",): "column_wise",
        ("rows",): "row_wise",
        ("replicate",): "replicated",
    }


def test_best_is_not_behind_any_search(cost: Cost) -> None:
    for number in range(6):
        splits = SPLITS[(0, 1, 4)[number % 3]]
        task = draw_task(POOL, number, num_tables=(20, 40), splits=splits)
        slowest = {name: rank_ms(find(task, cost, search=name), task, cost).max() for name in SEARCHERS}
        assert min(slowest.values()) == pytest.approx(slowest["best"], rel=1e-9), slowest
