"""How pieces may be cut.

A table's columns are cut into blocks, and each block at rows of its own (see `recfold.spec.Placement`), so that a
piece is cut at columns only while it has all rows. Columns are halved, as NeuroShard does; rows are cut into any
number of parts.
"""

import itertools
from collections.abc import Callable, Collection, Sequence

from recfold.plan.piece import Piece, TableLoad
from recfold.plan.task import Split


def halves(piece: Piece, splits: Collection[Split]) -> list[tuple[Piece, Piece]]:
    """Every way to cut it in two: at columns, at rows."""
    found = []
    if "columns" in splits and piece.num_rows == piece.table.rows:
        found.append(piece.halves_by_columns())
    if "rows" in splits:
        found.append(piece.halves_by_rows())
    return [pair for pair in found if pair is not None]


def rows_into(piece: Piece, parts: int) -> tuple[Piece, ...]:
    """Equally many rows each, up to one; `parts` is at most its number of rows."""
    first = piece.rows[0]
    bounds = [first + piece.num_rows * part // parts for part in range(parts + 1)]
    return tuple(Piece(piece.table, rows, piece.columns) for rows in itertools.pairwise(bounds))


def columns_until(piece: Piece, is_small: Callable[[Piece], bool]) -> tuple[Piece, ...]:
    """Halved again and again at columns, all alike, until the parts are small or cannot be halved."""
    parts: tuple[Piece, ...] = (piece,)
    while not is_small(parts[0]):
        cut = [part.halves_by_columns() for part in parts]
        if any(pair is None for pair in cut):
            break
        parts = tuple(half for pair in cut if pair is not None for half in pair)
    return parts


def rows_until(piece: Piece, is_small: Callable[[Piece], bool], most: int) -> tuple[Piece, ...]:
    """Cut at rows into as few equal parts as make them small, and at most `most`."""
    most = min(most, piece.num_rows)
    for parts in range(1, most):
        stop = piece.rows[1]
        largest = Piece(piece.table, (stop - -(-piece.num_rows // parts), stop), piece.columns)
        if is_small(largest):
            return rows_into(piece, parts)
    return rows_into(piece, most)


def ways_below(
    piece: Piece, splits: Collection[Split], is_small: Callable[[Piece], bool], most: int
) -> list[tuple[Piece, ...]]:
    """Ways to cut a piece until its parts are small; those that get there, or else the finest.

    Args:
        most: parts that rows are cut into at most.
    """
    ways = []
    by_columns: tuple[Piece, ...] = (piece,)
    if "columns" in splits and piece.num_rows == piece.table.rows:
        by_columns = columns_until(piece, is_small)
        ways.append(by_columns)
    if "rows" in splits:
        ways.append(rows_until(piece, is_small, most))
        ways.append(tuple(part for block in by_columns for part in rows_until(block, is_small, most)))
    small = [way for way in ways if all(is_small(part) for part in way)]
    return small or ways[-1:]


def smallest(table: TableLoad, splits: Collection[Split]) -> Piece:
    """The smallest piece that a table may be cut to."""
    piece = table.whole()
    if "columns" in splits:
        piece = columns_until(piece, lambda _: False)[0]
    if "rows" in splits:
        piece = Piece(table, (0, 1), piece.columns)
    return piece


def merged(pieces: Sequence[Piece]) -> list[Piece]:
    """Neighbours put together again: rows of one block, then blocks that have all rows.

    >>> table = TableLoad("a", 10, 8, 36, 1, 1, (0,) * 17)
    >>> [(one.rows, one.columns) for one in merged(rows_into(table.whole(), 3))]
    [((0, 10), (0, 8))]
    """
    by_rows = _joined(sorted(pieces, key=lambda one: (one.table.name, one.columns, one.rows)), below)
    return _joined(by_rows, beside)


def _joined(pieces: Sequence[Piece], joins: Callable[[Piece, Piece], bool]) -> list[Piece]:
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if last is None or last.table.name != piece.table.name or not joins(last, piece):
            found.append(piece)
        else:
            found[-1] = Piece(piece.table, (last.rows[0], piece.rows[1]), (last.columns[0], piece.columns[1]))
    return found


def below(one: Piece, other: Piece) -> bool:
    """Whether `other` is the rest of the rows, or some of them, under `one` in the same block of columns."""
    return one.columns == other.columns and one.rows[1] == other.rows[0]


def beside(one: Piece, other: Piece) -> bool:
    """Whether both have all rows, and `other` begins where `one` ends."""
    return one.rows == other.rows == (0, one.table.rows) and one.columns[1] == other.columns[0]
