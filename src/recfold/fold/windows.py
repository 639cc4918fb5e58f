"""Windows of one merged list: histories that move are stored once per unit, not once per change.

    windows of a unit        [1,2,3]   [2,3,4]   [4,9]        newest last
    merged list              1 2 3 4 9
    start, length            0,3       1,3       3,2

Legend: W windows, V their elements, M elements of the merged lists.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recfold.fold.bits import Bits
from recfold.table.lists import offsets_of, ranges


@dataclass(frozen=True)
class Merged:
    """Merged lists.

    Attributes:
        take: which elements of the windows make up the merged lists, one unit after the other. [M]
        offsets: unit u owns take[offsets[u]:offsets[u+1]]. [units + 1]
        start: of each window in its unit's merged list. [W]
        length: of each window; -1 for a null list. [W]
    """

    take: np.ndarray
    offsets: np.ndarray
    start: np.ndarray
    length: np.ndarray


def merge_windows(columns: Sequence[Bits], unit: np.ndarray, num_units: int) -> Merged:
    """Merge the windows of each unit, in their order, into one list.

    A window that overlaps the end of the one before adds only what is new, behind it (newest last) or in front of it
    (newest first), whichever saves more in its unit; one that does not overlap is added whole.

    Args:
        columns: aligned list columns with the same lengths and null lists in every row. [W] rows
        unit: which unit a window is of, rising. [W]
    """
    offsets, null_row = columns[0].offsets, columns[0].null_row
    assert offsets is not None
    length = np.diff(offsets)
    live = np.flatnonzero(length > 0)
    begin, size, owner = offsets[live], length[live], unit[live]
    inner = np.flatnonzero(owner[1:] == owner[:-1]) + 1  # windows with one before them in their unit
    last = overlaps(columns, begin[inner - 1], size[inner - 1], begin[inner], size[inner])
    first = overlaps(columns, begin[inner], size[inner], begin[inner - 1], size[inner - 1])
    gain = np.zeros(num_units, np.int64)
    np.add.at(gain, owner[inner], first - last)
    backward = gain[owner] > 0
    shared = np.zeros(len(live), np.int64)
    shared[inner] = np.where(backward[inner], first, last)
    fresh = size - shared
    total = np.zeros(num_units, np.int64)
    np.add.at(total, owner, fresh)
    merged = offsets_of(total)
    through = np.cumsum(fresh) - merged[owner]  # new elements of the unit up to and with this window
    start = np.zeros(len(length), np.int64)
    start[live] = np.where(backward, total[owner] - through, through - size)
    take = np.empty(merged[-1], np.int64)
    target = merged[owner] + np.where(backward, start[live], start[live] + shared)
    source = begin + np.where(backward, 0, shared)
    take[ranges(target, fresh)] = ranges(source, fresh)
    if null_row is not None:
        length = np.where(null_row, -1, length)
    _verify(columns, take, merged[unit], start, length)
    return Merged(take, merged, start, length)


def overlaps(
    columns: Sequence[Bits], begin_a: np.ndarray, size_a: np.ndarray, begin_b: np.ndarray, size_b: np.ndarray
) -> np.ndarray:
    """How many of the last elements of list a[k] are the first of list b[k]: as many as possible. [k]"""
    result = np.zeros(len(begin_a), np.int64)
    shift = np.maximum(size_a - size_b, 0)
    todo = np.flatnonzero(size_a > shift)
    while len(todo):
        a, b = begin_a[todo] + shift[todo], begin_b[todo]
        size = size_a[todo] - shift[todo]
        likely = np.flatnonzero(_same(columns, a, b))
        likely = likely[_same(columns, (a + size - 1)[likely], (b + size - 1)[likely])]
        a, b, size = a[likely], b[likely], size[likely]
        if len(likely):
            same = _same(columns, ranges(a, size), ranges(b, size))
            equal = np.logical_and.reduceat(same, np.cumsum(size) - size)
            result[todo[likely[equal]]] = size[equal]
        todo = todo[result[todo] == 0]
        shift[todo] += 1
        todo = todo[size_a[todo] > shift[todo]]
    return result


def _same(columns: Sequence[Bits], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    equal = np.ones(len(a), bool)
    for column in columns:
        equal &= column.bits[a] == column.bits[b]
        if column.null is not None:
            equal &= column.null[a] == column.null[b]
    return equal


def _verify(columns: Sequence[Bits], take: np.ndarray, base: np.ndarray, start: np.ndarray, length: np.ndarray) -> None:
    offsets = columns[0].offsets
    assert offsets is not None
    stored = take[ranges(base + start, np.maximum(length, 0))]
    if len(stored) != offsets[-1] or not _same(columns, stored, np.arange(offsets[-1])).all():
        raise RuntimeError("a window group does not expand to the lists that were merged")
