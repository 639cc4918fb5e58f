"""Cutting pieces, and putting them together again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recfold.plan.piece import NUM_BINS, Piece, TableLoad
from recfold.plan.search.cut import columns_until, halves, merged, rows_into, rows_until, smallest, ways_below
from recfold.plan.task import Assignment, Task
from recfold.spec import Topology

TABLE = TableLoad("a", 100, 16, 68, 10.0, 40.0, (1.0,) + (0.0,) * (NUM_BINS - 1))


def test_a_piece_without_all_rows_is_not_cut_at_columns() -> None:
    upper, _ = halves(TABLE.whole(), {"rows"})[0]
    assert len(halves(TABLE.whole(), {"rows", "columns"})) == 2
    assert [half.columns for pair in halves(upper, {"rows", "columns"}) for half in pair] == [(0, 16), (0, 16)]


def test_parts_are_small_enough_and_as_few_as_that_takes() -> None:
    assert [part.num_rows for part in rows_until(TABLE.whole(), lambda piece: piece.num_rows <= 34, 8)] == [33, 33, 34]
    assert [part.num_rows for part in rows_until(TABLE.whole(), lambda _: False, 3)] == [33, 33, 34]
    assert [part.dim for part in columns_until(TABLE.whole(), lambda piece: piece.dim <= 8)] == [8, 8]
    assert [part.dim for part in columns_until(TABLE.whole(), lambda _: False)] == [4] * 4


def test_columns_alone_are_not_a_way_where_they_do_not_suffice() -> None:
    ways = ways_below(TABLE.whole(), {"rows", "columns"}, lambda piece: piece.num_bytes <= 500, 100)
    assert all(part.num_bytes <= 500 for way in ways for part in way)
    assert ways
    assert {len(way) for way in ways_below(TABLE.whole(), {"columns"}, lambda _: False, 100)} == {4}


def test_the_smallest_piece_is_a_row_of_four_columns() -> None:
    piece = smallest(TABLE, {"rows", "columns"})
    assert (piece.num_rows, piece.dim) == (1, 4)
    assert smallest(TABLE, {"replicate"}).is_whole


@given(st.data())
def test_whatever_was_cut_is_put_together_again(data: st.DataObject) -> None:
    pieces = [TABLE.whole()]
    for _ in range(data.draw(st.integers(0, 6))):
        number = data.draw(st.integers(0, len(pieces) - 1))
        ways = halves(pieces[number], {"rows", "columns"})
        if ways:
            pieces[number : number + 1] = data.draw(st.sampled_from(ways))
    task = Task((TABLE,), Topology(ranks=1))
    Assignment(tuple(pieces), np.zeros(len(pieces), np.int64)).plan(task)
    assert merged(data.draw(st.permutations(pieces))) == [TABLE.whole()]
    some = data.draw(st.lists(st.sampled_from(pieces), unique_by=id))
    cells = sum(piece.num_rows * piece.dim for piece in some)
    together = merged(some)
    assert sum(piece.num_rows * piece.dim for piece in together) == cells
    rest = [piece for piece in pieces if piece not in some]
    Assignment((*together, *rest), np.zeros(len(together) + len(rest), np.int64)).plan(task)


def test_rows_are_cut_evenly() -> None:
    piece = Piece(TABLE, (10, 20), (0, 8))
    assert [part.rows for part in rows_into(piece, 3)] == [(10, 13), (13, 16), (16, 20)]
