"""List arrays taken apart and put together."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.table.lists import flatten, list_array, offsets_of, one_array, ranges, to_int64

LISTS = st.lists(st.none() | st.lists(st.none() | st.integers(-5, 5), max_size=4), max_size=6)
TYPES = st.sampled_from([pa.list_(pa.int64()), pa.large_list(pa.int64())])


@given(LISTS, TYPES, st.integers(0, 3))
def test_flatten_and_list_array_are_inverse(lists: list[Any], type: pa.DataType, begin: int) -> None:
    array = pa.array(lists, type).slice(begin)
    flat = flatten(array)
    assert flat.offsets[0] == 0
    assert flat.lengths.tolist() == [len(part or ()) for part in lists[begin:]]
    assert list_array(flat.offsets, flat.values, flat.null).to_pylist() == lists[begin:]


def test_flatten_takes_fixed_size_lists_apart() -> None:
    flat = flatten(pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)))
    assert flat.offsets.tolist() == [0, 2, 2, 4]
    assert flat.values.to_pylist() == [1, 2, 3, 4]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4))))
def test_ranges_lists_every_index(spans: list[tuple[int, int]]) -> None:
    start, length = (np.array([span[i] for span in spans], np.int64) for i in range(2))
    assert ranges(start, length).tolist() == [i for a, n in spans for i in range(a, a + n)]


@pytest.mark.parametrize(
    ("values", "type", "expected"),
    [
        ([1, None], pa.int8(), pa.int64()),
        ([[1], None, [None]], pa.list_(pa.int16()), pa.list_(pa.int64())),
        ([[[1]], [None, []]], pa.list_(pa.list_(pa.int8())), pa.list_(pa.list_(pa.int64()))),
        ([1.5], pa.float32(), pa.float32()),
        ([["a"]], pa.list_(pa.string()), pa.list_(pa.string())),
    ],
)
def test_integers_are_widened_at_any_depth(values: list[Any], type: pa.DataType, expected: pa.DataType) -> None:
    wide = to_int64(pa.array(values, type))
    assert wide.type == expected
    assert wide.to_pylist() == values


def test_one_array_joins_chunks() -> None:
    assert one_array(pa.chunked_array([[1], [2]])).to_pylist() == [1, 2]
    assert one_array(pa.chunked_array([], pa.int64())).to_pylist() == []


def test_too_many_elements_for_one_array_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2147483648 elements in one piece of a column: use more partitions"):
        list_array(offsets_of(np.array([2**31])), pa.array([], pa.int64()))
