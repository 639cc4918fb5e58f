"""Merged windows: what is stored, and that it always expands to the lists that were merged."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.fold.bits import bits_of
from recfold.fold.windows import Merged, merge_windows, overlaps


def merge(windows: list[Any], units: list[int] | None = None) -> tuple[list[list[Any]], Merged]:
    """The merged list of each unit."""
    units = units or [0] * len(windows)
    column = bits_of(pa.array(windows, pa.list_(pa.int64())))
    merged = merge_windows([column], np.array(units), max(units) + 1)
    stored = column.values.take(pa.array(merged.take)).to_pylist()
    return [stored[a:b] for a, b in zip(merged.offsets[:-1], merged.offsets[1:], strict=True)], merged


@pytest.mark.parametrize(
    ("windows", "stored"),
    [
        ([[1], [1, 2], [1, 2, 3]], [1, 2, 3]),  # grows, newest last
        ([[1], [2, 1], [3, 2, 1]], [3, 2, 1]),  # grows, newest first
        ([[1, 2, 3], [2, 3, 4], [4, 9]], [1, 2, 3, 4, 9]),  # moves on
        ([[3, 2, 1], [4, 3, 2], [9, 4]], [9, 4, 3, 2, 1]),
        ([[1, 2], [7, 8], [8, 9]], [1, 2, 7, 8, 9]),  # no overlap: added whole
        ([[1, 2], None, [2, 3]], [1, 2, 3]),  # a null list in between does not matter
        ([[1, 2], [], [2, 3]], [1, 2, 3]),
        ([[1, 2, 3], [2, 3]], [1, 2, 3]),  # shrinks from the old end
        ([[2, 2], [2, 2, 2], [2, 2, 2, 5]], [2, 2, 2, 5]),
        ([None], []),
        ([[]], []),
        ([[1, None, 3], [None, 3, 4]], [1, None, 3, 4]),
    ],
)
def test_merged_list(windows: list[Any], stored: list[Any]) -> None:
    assert merge(windows)[0] == [stored]


def test_units_choose_their_end_by_themselves_and_do_not_share() -> None:
    lists, merged = merge([[1], [1, 2], [2, 1], [3, 2, 1], [1, 2]], [0, 0, 1, 1, 2])
    assert lists == [[1, 2], [3, 2, 1], [1, 2]]
    assert merged.start.tolist() == [0, 0, 1, 0, 0]


def test_features_of_a_group_overlap_only_together() -> None:
    items = bits_of(pa.array([[1, 2], [2, 3]]))
    actions = bits_of(pa.array([[5, 5], [6, 5]]))
    assert merge_windows([items], np.array([0, 0]), 1).offsets.tolist() == [0, 3]
    assert merge_windows([items, actions], np.array([0, 0]), 1).offsets.tolist() == [0, 4]


LISTS = st.none() | st.lists(st.sampled_from([1, 2, None]), max_size=5)


@given(st.lists(st.tuples(LISTS, st.booleans()), min_size=1, max_size=9))
def test_windows_of_the_merged_lists_are_the_lists(drawn: list[tuple[Any, bool]]) -> None:
    units = np.cumsum([0, *(new for _, new in drawn[1:])]).tolist()
    windows = [window for window, _ in drawn]
    lists, merged = merge(windows, units)
    for window, unit, start, length in zip(windows, units, merged.start, merged.length, strict=True):
        assert (None if length < 0 else lists[unit][start : start + length]) == window
    assert sum(map(len, lists)) <= sum(len(window or ()) for window in windows)


def overlap_reference(a: list[Any], b: list[Any]) -> int:
    return next(n for n in range(min(len(a), len(b)), -1, -1) if a[len(a) - n :] == b[:n])


@given(st.lists(st.tuples(*[st.lists(st.sampled_from([1, 2, None]), min_size=1, max_size=6)] * 2), max_size=6))
def test_overlap_is_as_long_as_possible(pairs: list[tuple[Any, Any]]) -> None:
    column = bits_of(pa.array([part for pair in pairs for part in pair], pa.list_(pa.int64())))
    assert column.offsets is not None
    begin, size = column.offsets[:-1], np.diff(column.offsets)
    found = overlaps([column], begin[::2], size[::2], begin[1::2], size[1::2])
    assert found.tolist() == [overlap_reference(a, b) for a, b in pairs]
