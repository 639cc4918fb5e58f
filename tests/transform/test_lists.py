import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.transform import Lists, buffer_of, spans, windows_of

rows = st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(-9, 9)), max_size=4)), max_size=6)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=8))
def test_spans_lists_every_position_of_every_window(windows):
    start = np.array([s for s, _ in windows], dtype=np.int64)
    length = np.array([n for _, n in windows], dtype=np.int64)
    index, offsets = spans(start, length)
    assert index.tolist() == [p for s, n in windows for p in range(s, s + n)]
    assert offsets.tolist() == [0, *np.cumsum(length).tolist()]


@given(rows, st.data())
def test_packed_keeps_the_lists_and_drops_the_rest(lists, data):
    made = Lists.from_pylists(lists, [[0.5 * i for i in range(len(row or ()))] for row in lists])
    picks = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=6)) if lists else []
    taken = made.take(np.array(picks, dtype=np.int64))
    packed = taken.packed()
    assert packed.to_pylists() == taken.to_pylists() == [lists[i] or [] for i in picks]
    assert packed.weight_pylists() == taken.weight_pylists()
    assert len(packed.values) == sum(len(lists[i] or ()) for i in picks)
    values, offsets = taken.compact()
    assert len(values) == offsets[-1]
    assert np.diff(offsets).tolist() == [len(lists[i] or ()) for i in picks]


def test_packed_strings():
    lists = Lists.from_pylists([["a", None], ["b"], []])
    assert lists.take(np.array([1, 0])).packed().values.to_pylist() == ["b", "a", None]


@given(rows, st.sampled_from([pa.list_, pa.large_list]), st.integers(0, 3))
def test_windows_of_an_arrow_array_or_a_slice_of_one(lists, list_type, skip):
    array = pa.array(lists, list_type(pa.int64())).slice(skip)
    child, start, length, valid = windows_of(array)
    values, elements_valid = buffer_of(child)
    made = Lists(values, elements_valid, None, start, length)
    assert made.to_pylists() == [row or [] for row in lists[skip:]]
    assert [row is not None for row in lists[skip:]] == (valid.tolist() if valid is not None else [True] * len(array))


def test_windows_of_fixed_size_lists():
    array = pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)).slice(1)
    child, start, length, _ = windows_of(array)
    values, valid = buffer_of(child)
    assert Lists(values, valid, None, start, length).to_pylists() == [[], [3.0, 4.0]]


def test_windows_of_something_else_is_a_programmers_error():
    with pytest.raises(TypeError, match="expected an Arrow array of lists, got int64"):
        windows_of(pa.array([1]))


def test_buffer_of_booleans_and_nulls():
    values, valid = buffer_of(pa.array([True, None, False]))
    assert (values.tolist(), valid.tolist()) == ([1, 0, 0], [True, False, True])
