import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.reader.column import Column, Memory, column_of, elements
from recfold.spec import InputError
from recfold.spec.schema import FeatureSpec

rows = st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(-9, 9)), max_size=4)), max_size=6)
IDS = FeatureSpec(kind="ids")


@given(rows, st.integers(0, 2), st.data())
def test_take_and_concat_are_those_of_python_lists(lists, skip, data):
    column = column_of(pa.array(lists, pa.list_(pa.int32())).slice(skip), IDS)
    lists = lists[skip:]
    assert len(column) == len(lists)
    assert column.lists().to_pylists() == [row or [] for row in lists]
    picks = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=5)) if lists else []
    taken = column.take(np.array(picks, dtype=np.int64))
    assert taken.lists().to_pylists() == [lists[i] or [] for i in picks]
    joined = Column.concat([taken, column, taken])
    assert joined.lists().to_pylists() == [
        row or [] for row in [lists[i] for i in picks] + lists + [lists[i] for i in picks]
    ]


def test_values_under_a_null_list_belong_to_no_list():
    offsets, values = pa.array([0, 2, 4, 5], pa.int32()), pa.array([1, 2, 3, 4, 5])
    array = pa.ListArray.from_arrays(offsets, values, mask=pa.array([False, True, False]))
    column = column_of(array, IDS)
    assert column.lists().to_pylists() == [[1, 2], [], [5]]
    assert column.values.tolist() == [1, 2, 5]


@pytest.mark.parametrize(
    "weights, expected",
    [
        ([[0.5, 2.0], [3.0]], [0.5, 2.0, 3.0]),
        ([None, [3.0]], [1.0, 1.0, 3.0]),
        ([[None, 2.0], None], [1.0, 2.0, 1.0]),
    ],
)
def test_a_weight_that_is_not_said_is_one(weights, expected):
    column = column_of(pa.array([[7, 8], [9]]), IDS, pa.array(weights, pa.list_(pa.float32())))
    assert column.weights.tolist() == expected


def test_weights_of_another_length_are_refused():
    with pytest.raises(InputError, match="a list of weights has another length than its list of ids"):
        column_of(pa.array([[7, 8]]), IDS, pa.array([[1.0]], pa.list_(pa.float32())))


@pytest.mark.parametrize("array_type", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.list_(pa.float64())])
def test_vectors_have_one_width_and_a_null_one_is_null_elements(array_type):
    vector = FeatureSpec(kind="vector", width=2)
    for values in ([[1.0, 2.0], None, [3.0, None]], [None], [[1.0, 2.0]], []):
        column = column_of(pa.array(values, array_type), vector)
        assert column.lists().to_pylists() == [row or [None, None] for row in values]


def test_a_vector_of_a_wrong_width_is_refused():
    with pytest.raises(InputError, match="a vector has a wrong width; got 1; expected 2"):
        column_of(pa.array([[1.0, 2.0], [1.0]]), FeatureSpec(kind="vector", width=2))


@pytest.mark.parametrize(
    "array, dtype",
    [
        (pa.array(["a", None]), np.uint64),
        (pa.array(["a", None]).dictionary_encode(), np.uint64),
        (pa.array([True, None]), np.int8),
        (pa.array([1.5, None], pa.float16()), np.float32),
        (pa.array([3, None], pa.int8()), np.int8),
        (pa.array([None, None]), np.int64),
    ],
)
def test_elements_of_every_type_become_numpy(array, dtype):
    values, valid = elements(array)
    assert values.dtype == dtype
    assert valid.tolist() == [array[0].is_valid, False]


def test_integers_of_a_dense_feature_become_floats():
    assert column_of(pa.array([1, 2], pa.int8()), FeatureSpec(kind="dense")).values.dtype == np.float64


@given(rows, st.data())
def test_between_is_a_slice_of_python_lists(lists, data):
    column = column_of(pa.array(lists, pa.list_(pa.int32())), IDS)
    low = data.draw(st.integers(0, len(lists)))
    high = data.draw(st.integers(low, len(lists)))
    part = column.between(low, high)
    assert len(part) == high - low
    assert part.lists().to_pylists() == [row or [] for row in lists[low:high]]
    assert np.shares_memory(part.values, column.values) or not len(part.values)


def test_columns_joined_in_one_room_are_those_joined_alone():
    column = column_of(pa.array([[1, 2], [3]], pa.list_(pa.int32())), IDS)
    room = Memory().room(2 * column.values.nbytes, 1)
    first = Column.concat([column, column], room)
    second = Column.concat([column, column, column], room)  # more than there is room for
    assert first.lists().to_pylists() == [[1, 2], [3]] * 2
    assert second.lists().to_pylists() == [[1, 2], [3]] * 3
    assert not np.shares_memory(first.values, second.values)


def test_memory_is_used_again_only_when_no_array_lies_in_it():
    column = column_of(pa.array([[1, 2], [3]], pa.list_(pa.int32())), IDS)
    memory = Memory()
    first = Column.concat([column, column], memory.room(1000, 1))
    lists = first.lists()
    second = Column.concat([column, column], memory.room(1000, 1))
    assert not np.shares_memory(first.values, second.values)
    place = second.values.ctypes.data
    assert lists.to_pylists() == second.lists().to_pylists() == [[1, 2], [3]] * 2
    del second
    third = Column.concat([column, column], memory.room(900, 1))
    assert third.values.ctypes.data == place
    assert not np.shares_memory(first.values, third.values)
    assert lists.to_pylists() == [[1, 2], [3]] * 2
