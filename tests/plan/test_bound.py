"""The lower bound is below every plan, and says when it cannot be trusted."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from recfold.plan.bound import check_cost, gap, lower_bound
from recfold.plan.cost import Cost, rank_ms
from recfold.plan.piece import NUM_BINS, Piece, TableLoad
from recfold.plan.pool import draw_task, table_pool
from recfold.plan.search import SEARCHERS, find
from recfold.plan.task import Split, Task
from recfold.spec import Topology

SPLITS: tuple[frozenset[Split], ...] = (frozenset(), frozenset({"columns"}), frozenset({"columns", "rows"}))
TABLES = tuple(
    TableLoad(name, 100, 16, 68, 10.0, lookups, (1.0,) + (0.0,) * (NUM_BINS - 1))
    for name, lookups in (("small", 10.0), ("big", 80.0))
)


class Sum:
    """Lookups x dim to a power: 1 is additive, above it sets cost more than their parts."""

    def __init__(self, power: float) -> None:
        self.name, self.power = "sum", power

    def rows(self, pieces: Sequence[Piece]) -> np.ndarray:
        return np.array([[piece.lookups * piece.dim] for piece in pieces]).reshape(-1, 1)

    def ms(self, sums: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.maximum(sums[:, 0], 0) ** self.power
        return found


@pytest.mark.parametrize(
    "splits, ranks, expected",
    [
        (frozenset(), 2, (80 * 16, 80 * 16, "big")),
        (frozenset({"columns"}), 2, (90 * 8, 80 * 4, "big")),
        (frozenset({"columns"}), 8, (80 * 4, 80 * 4, "big")),
        (frozenset({"rows"}), 8, (90 * 2, 0, None)),
        (frozenset({"replicate"}), 8, (90 * 2, 0, None)),
        (frozenset(), 1, (90 * 16, 0, None)),
    ],
)
def test_the_larger_of_the_dearest_piece_and_an_even_share(
    splits: frozenset[Split], ranks: int, expected: tuple[float, float, str | None]
) -> None:
    bound = lower_bound(Task(TABLES, Topology(ranks=ranks), None, splits), Sum(1))
    assert (bound.ms, bound.dearest_ms) == pytest.approx(expected[:2])
    assert bound.dearest == expected[2]


@pytest.mark.parametrize("splits", SPLITS, ids=["whole", "columns", "both"])
def test_no_search_is_below_the_bound_of_a_cost_that_holds(splits: frozenset[Split], cost: Cost) -> None:
    pool = table_pool(num_tables=60)
    for seed in range(3):
        task = draw_task(pool, seed, num_tables=(10, 30), splits=splits)
        assert check_cost(task, cost).holds()
        for search in SEARCHERS:
            found = find(task, cost, search=search, seconds=0.05)
            own = gap(found, task, cost)
            assert own >= -1e-9
            assert own == pytest.approx(rank_ms(found, task, cost).max() / lower_bound(task, cost).ms - 1)


def test_a_cost_that_breaks_what_the_bound_needs_is_told() -> None:
    task = draw_task(table_pool(num_tables=60), 0, num_tables=(20, 20), splits=frozenset({"columns", "rows"}))
    check = check_cost(task, Sum(1.5))
    assert not check.holds()
    assert check.together.share == check.cut.share == 1.0
    assert check.falling.share == check.apart.share == 0.0
    # two equal parts together: 2 ** 1.5 against 2
    assert check.cut.most == pytest.approx(2**0.5 - 1, rel=1e-3)
    additive = check_cost(task, Sum(1))
    assert additive.holds()
    assert additive.together.share == additive.cut.share == 0.0


def test_sets_that_cost_more_than_their_parts_are_bounded_by_the_parts() -> None:
    task = Task(TABLES, Topology(ranks=2))
    assert check_cost(task, Sum(1.5)).holds()
    bound = lower_bound(task, Sum(1.5))
    assert bound.together_ms == pytest.approx((90 * 16) ** 1.5 / 2)
    assert bound.apart_ms == pytest.approx(((80 * 16) ** 1.5 + (10 * 16) ** 1.5) / 2)
    assert bound.ms == bound.dearest_ms
    pool = table_pool(num_tables=60)
    for seed in range(3):
        drawn = draw_task(pool, seed, num_tables=(10, 20))
        assert gap(find(drawn, Sum(1.5), seconds=0.1), drawn, Sum(1.5)) >= -1e-9


def test_violations_are_those_of_every_pair_of_sets() -> None:
    """The check's share against all pairs of disjoint sets of a small task."""
    cost = Sum(1.2)
    task = draw_task(table_pool(num_tables=60), 0, num_tables=(4, 4))
    rows = cost.rows([table.whole() for table in task.tables])
    broken = total = 0
    for sides in itertools.product((0, 1, 2), repeat=4):
        one, other = (rows[np.array(sides) == side].sum(0)[None] for side in (1, 2))
        if 1 in sides and 2 in sides:
            total += 1
            broken += int(cost.ms(one + other)[0] > cost.ms(one)[0] + cost.ms(other)[0])
    assert broken == total
    assert check_cost(task, cost).together.share == 1.0
