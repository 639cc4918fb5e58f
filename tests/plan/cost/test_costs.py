"""What every cost promises."""

from collections.abc import Callable

import numpy as np
import pytest

from recfold.plan.choose_cost import choose_cost
from recfold.plan.cost import AnalyticCost, Cost, LinkExchange, MeasuredCost, Stopwatch, WithExchange, shipped_cost
from recfold.plan.piece import Piece
from recfold.plan.pool import table_pool
from recfold.spec import Topology

COSTS: dict[str, Callable[[], Cost]] = {
    "analytic": AnalyticCost,
    "measured": lambda: MeasuredCost(Stopwatch(memory_bytes=1 << 22, warm_ups=0, repeats=1)),
    "neural": shipped_cost,
    "analytic+exchange": lambda: WithExchange(AnalyticCost(), LinkExchange(Topology(ranks=4)), 4),
    "neural+exchange": lambda: choose_cost("neural", 4).cost,
}


@pytest.fixture(params=COSTS)
def cost(request: pytest.FixtureRequest) -> Cost:
    return COSTS[request.param]()


def some_pieces() -> list[Piece]:
    tables = [table for table in table_pool(2, num_tables=60) if 100 < table.rows < 10_000][:4]
    whole = [table.load(dim).whole() for table, dim in zip(tables, (16, 32, 64, 128), strict=True)]
    columns, rows = whole[1].halves_by_columns(), whole[2].halves_by_rows()
    assert columns is not None
    assert rows is not None
    return [*whole, columns[0], rows[1]]


def test_sets_cost_what_their_sums_say(cost: Cost) -> None:
    pieces = some_pieces()
    rows = cost.rows(pieces)
    assert len(rows) == len(pieces)
    assert (rows >= 0).all()
    sums = np.stack([rows[0], rows.sum(0)])
    ms = cost.ms(sums)
    assert ms.shape == (2,)
    assert np.isfinite(ms).all()
    assert 0 < ms[0] < ms[1]
    assert cost.name


def test_no_pieces_have_no_rows(cost: Cost) -> None:
    width = cost.rows(some_pieces()[:1]).shape[1]
    assert cost.rows([]).shape in {(0, width), (0, 1)}
    assert (cost.ms(np.zeros((1, width))) >= 0).all()
