"""Pieces of tables, and assignments of them to ranks."""

import numpy as np
import pytest

from recfold.plan.cost import rank_ms
from recfold.plan.piece import NUM_BINS, Piece, TableLoad, features_of
from recfold.plan.task import Assignment, Task
from recfold.spec import InputError, Topology


def load(name: str, rows: int = 100, dim: int = 16, lists: float = 10.0, lookups: float = 40.0) -> TableLoad:
    return TableLoad(name, rows, dim, 4 * dim + 4, lists, lookups, (1.0,) + (0.0,) * (NUM_BINS - 1))


class Lookups:
    """A cost that is easy to add up by hand."""

    name = "lookups"

    def rows(self, pieces: list[Piece]) -> np.ndarray:
        return np.array([[piece.lookups * piece.dim] for piece in pieces]).reshape(-1, 1)

    def ms(self, sums: np.ndarray) -> np.ndarray:
        return sums[:, 0]


def test_halves_tile_their_piece() -> None:
    whole = load("a").whole()
    for halves in (whole.halves_by_columns(), whole.halves_by_rows()):
        assert halves is not None
        assert sum(half.num_rows * half.dim for half in halves) == 1600
        assert sum(half.num_bytes for half in halves) == whole.num_bytes
    left, right = whole.halves_by_columns() or ()
    assert (left.columns, right.columns, left.lookups, left.lists) == ((0, 8), (8, 16), 40.0, 10.0)
    upper, lower = whole.halves_by_rows() or ()
    assert (upper.rows, lower.rows, upper.lookups) == ((0, 50), (50, 100), 20.0)
    assert upper.lists == pytest.approx(10 * (1 - 0.5**4))


def test_what_is_too_small_is_not_cut() -> None:
    assert load("a", dim=4).whole().halves_by_columns() is None
    assert load("a", dim=12).whole().halves_by_columns() is None
    assert load("a", rows=1).whole().halves_by_rows() is None


def test_features_are_dim_rows_pooling_bytes_and_bins() -> None:
    piece = load("a").whole()
    assert features_of([piece]).tolist() == [[16, 100, 4.0, piece.num_bytes / 1e9, 1.0, *[0.0] * 16]]
    assert features_of([]).shape == (0, 21)


def test_an_assignment_becomes_a_plan() -> None:
    tables = (load("a"), load("b"), load("c", rows=7))
    task = Task(tables, Topology(ranks=2))
    halves = tables[0].whole().halves_by_columns()
    assert halves is not None
    own = Assignment((*halves, tables[1].whole()), np.array([0, 1, 1]), ("c",))
    plan = own.plan(task)
    assert {name: placed.kind for name, placed in plan.tables.items()} == {
        "a": "column_wise",
        "b": "table_wise",
        "c": "replicated",
    }
    row_bytes = {table.name: table.row_bytes for table in tables}
    assert own.rank_bytes(task).tolist() == list(plan.rank_bytes(row_bytes))
    # each rank looks up half the lists of "c"
    assert rank_ms(own, task, Lookups()).tolist() == [40 * 8 + 20 * 16, 40 * 8 + 40 * 16 + 20 * 16]


def test_pieces_that_do_not_tile_are_refused() -> None:
    table = load("a")
    task = Task((table,), Topology(ranks=1))
    upper, _ = table.whole().halves_by_rows() or ()
    with pytest.raises(InputError, match=r"rows \[50, 100\).* are on no rank"):
        Assignment((upper,), np.array([0])).plan(task)


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"lists": -1.0}, {"lookups": float("nan")}])
def test_a_load_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="table 'a'"):
        load("a", **wrong)  # type: ignore[arg-type]
