"""Columns in canonical form."""

import datetime
import decimal
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.logs.canonical import as_json, is_list, parse_numbers, plain, plain_type, reject_rows
from recfold.logs.source import REJECTED
from recfold.spec import InputError

LISTS = [[1, None], None, [], [3]]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int32(), pa.int64(), pa.uint64()])
def test_every_integer_becomes_int64(kind: pa.DataType) -> None:
    found = plain(pa.array([1, None, 7], kind), "column 'x'")
    assert found.type == pa.int64()
    assert found.to_pylist() == [1, None, 7]


def test_bools_strings_floats_and_decimals_take_their_plain_type() -> None:
    cases = [
        (pa.array([True, None, False]), pa.int64(), [1, None, 0]),
        (pa.array(["a", None], pa.large_string()), pa.string(), ["a", None]),
        (pa.array(["a", None], pa.string_view()), pa.string(), ["a", None]),
        (pa.array(["a", None, "a"]).dictionary_encode(), pa.string(), ["a", None, "a"]),
        (pa.array(np.array([1.5, 2.0], np.float16)), pa.float32(), [1.5, 2.0]),
        (pa.array([1.5, math.inf], pa.float32()), pa.float32(), [1.5, math.inf]),
        (pa.array([decimal.Decimal("1.25"), None]), pa.float64(), [1.25, None]),
        (pa.nulls(2), pa.null(), [None, None]),
    ]
    for column, kind, values in cases:
        found = plain(column, "column 'x'")
        assert (found.type, found.to_pylist()) == (kind, values)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int16()), pa.large_list(pa.uint32()), pa.list_view(pa.int64()), pa.large_list_view(pa.int8())]
)
def test_null_list_empty_list_and_null_element_stay_apart(kind: pa.DataType) -> None:
    column = pa.array(LISTS, kind)
    for begin in range(4):
        found = plain(column.slice(begin), "column 'x'")
        assert found.type == pa.list_(pa.int64())
        assert found.to_pylist() == LISTS[begin:]


def test_lists_of_dictionary_text_are_decoded() -> None:
    column = pa.array([["a", None], None, []], pa.list_(pa.dictionary(pa.int8(), pa.large_string())))
    found = plain(column, "column 'x'")
    assert (found.type, found.to_pylist()) == (pa.list_(pa.string()), [["a", None], None, []])


def test_vectors_keep_their_width_when_sliced() -> None:
    column = pa.array([[1, 2], None, [3, None], [5, 6]], pa.list_(pa.float16(), 2))
    found = plain(column.slice(1), "column 'x'")
    assert found.type == pa.list_(pa.float32(), 2)
    assert found.to_pylist() == [None, [3.0, None], [5.0, 6.0]]


@pytest.mark.parametrize("column", [pa.array([1, 1 << 63], pa.uint64()), pa.array([[1 << 63]], pa.list_(pa.uint64()))])
def test_unsigned_above_int64_is_an_error_that_names_the_column(column: pa.Array) -> None:
    with pytest.raises(InputError) as error:
        plain(column, "column 'x' of a.parquet")
    assert str(error.value) == (
        "column 'x' of a.parquet holds integers above 2**63 - 1; write them as signed integers or as strings"
    )


@given(st.lists(st.none() | st.lists(st.none() | st.integers(-128, 127), max_size=4), max_size=6), st.integers(0, 6))
def test_plain_lists_hold_what_python_holds(lists: list, begin: int) -> None:
    for kind in (pa.list_(pa.int8()), pa.large_list(pa.int16())):
        assert plain(pa.array(lists, kind).slice(begin), "column 'x'").to_pylist() == lists[begin:]


def test_types_without_a_plain_form_stay() -> None:
    for kind in (pa.timestamp("us"), pa.binary(), pa.struct([("a", pa.int8())])):
        assert plain_type(kind) == kind
        assert not is_list(kind)


def test_numbers_from_any_scalar() -> None:
    cases = [
        (pa.array([1, None, 3], pa.uint64()), [1, None, 3], [0, 0, 0]),
        (pa.array([True, False]), [1, 0], [0, 0]),
        (pa.array([0.5, math.nan, math.inf, None], pa.float32()), [0.5, None, None, None], [0, 1, 1, 0]),
        (pa.array(["7", " 1e3 ", "TRUE", None]), [7, 1e3, 1, None], [0, 0, 0, 0]),
        (pa.array(["", "1,5", "nan"]), [None, None, None], [1, 1, 1]),
        (pa.array(["7", "x", None]).dictionary_encode(), [7, None, None], [0, 1, 0]),
        (pa.array([decimal.Decimal("2.5")]), [2.5], [0]),
        (pa.array(np.array([1.5], np.float16)), [1.5], [0]),
        (pa.nulls(1), [None], [0]),
        (pa.array([[1], None]), [None, None], [1, 0]),
        (pa.array([datetime.date(2024, 1, 1)]), [None], [1]),
    ]  # fmt: skip
    for column, values, wrong in cases:
        numbers, found = parse_numbers(column)
        assert [None if math.isnan(x) else x for x in numbers.tolist()] == values, column
        assert found.tolist() == [bool(x) for x in wrong], column


def test_rejected_rows_are_readable_json() -> None:
    rows = pa.table(
        {
            "n": pa.array([1, None]),
            "x": pa.array([math.nan, 0.5]),
            "ids": pa.array([["a", None], None]),
            "at": pa.array([1, 1 << 62], pa.timestamp("ns", "Europe/Paris")),
            "far": pa.array([1 << 62, 0], pa.timestamp("s")),
            "day": pa.array([0, 2**31 - 1], pa.date32()),
            "raw": pa.array([b"\xff", None]),
        }
    )
    found = reject_rows("impressions", "part-0.parquet", np.array([3, 9]), ["why", "because"], rows)
    assert found.schema == REJECTED
    assert found.drop(["content"]).to_pylist() == [
        {"source": "impressions", "file": "part-0.parquet", "row": 3, "reason": "why"},
        {"source": "impressions", "file": "part-0.parquet", "row": 9, "reason": "because"},
    ]
    first, second = (json.loads(text) for text in found["content"].to_pylist())
    assert first["x"] == "nan"
    assert first["ids"] == ["a", None]
    assert first["at"] == "1970-01-01 00:00:00.000000001Z"
    assert "out of range" in first["far"]
    assert first["day"] == "1970-01-01"
    assert second["n"] is None
    assert "out of range" in second["day"]


def test_json_of_nested_values_that_json_lacks() -> None:
    assert json.loads(as_json({"a": [math.inf, {"b": -math.inf}], "t": datetime.date(2024, 1, 2)})) == {
        "a": ["inf", {"b": "-inf"}],
        "t": "2024-01-02",
    }
