"""JSON lines: what values can be, and the quick way against the slow twin."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.logs.generic import open_generic
from recfold.logs.generic.column_type import ColumnType, Element
from recfold.logs.generic.jsonl_files import _column, _column_reference
from recfold.spec import InputError

BASE = {"r": 1, "u": 1, "t": 1, "y": 1}
VALUES: dict[Element, st.SearchStrategy[Any]] = {
    "integer": st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1),
    "float64": st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False) | st.booleans(),
    "string": st.text(st.characters(codec="utf-8")),
    "mixed": st.integers() | st.text("ab") | st.booleans(),
    "null": st.none(),
}


@pytest.mark.parametrize("is_list", [False, True])
@given(st.data(), st.sampled_from(sorted(VALUES)))
def test_columns_are_those_of_the_slow_twin(is_list: bool, data: st.DataObject, element: Element) -> None:
    one = st.none() | VALUES[element]
    values = data.draw(st.lists(st.none() | st.lists(one, max_size=3) if is_list else one, max_size=4))
    found = ColumnType(element, is_list)
    quick, slow = _column(values, found), _column_reference(values, found)
    assert (quick.type, quick.to_pylist()) == (slow.type, slow.to_pylist())


@pytest.mark.parametrize(
    ("values", "kind", "read_as"),
    [
        ([1, True, None], "id", [1, 1, None]),
        ([[1, True], [None], [], None], "ids", [[1, 1], [None], [], None]),
        ([1, 2.5], "dense", [1.0, 2.5]),
        ([1 << 70, 2.5], "dense", [2.0**70, 2.5]),
        ([10**400, -(10**400), 1.7e308], "dense", [float("inf"), float("-inf"), 1.7e308]),
        ([[1], [2.5, None]], "dense_sequence", [[1.0], [2.5, None]]),
        (["", None, "x\n"], "id", ["", None, "x\n"]),
        ([None, [], ["a"]], "ids", [None, [], ["a"]]),
    ],
)
def test_a_type_is_what_all_values_are(logs, joined, read, values, kind: str, read_as) -> None:
    logs.jsonl("a.jsonl", [{**BASE, "x": value} for value in values])
    source = open_generic(logs.path, joined())
    assert source.schema.features["x"].kind == kind
    assert [row["feature.x"] for row in read(source.impressions)[0]] == read_as


def test_the_type_that_is_said_is_not_that_of_nulls_and_empty_lists(logs, joined) -> None:
    logs.jsonl("a.jsonl", [{**BASE, "x": value, "z": None} for value in ([], None)])
    logs.jsonl("b.jsonl", [{**BASE, "x": value, "z": "a"} for value in (None, [], ["a", None])])
    assert open_generic(logs.path, joined()).inferred == (
        "column 'x' (lists of text) -> feature 'x' of kind ids",
        "column 'z' (text) -> feature 'z' of kind id",
    )


def test_a_missing_key_is_a_null(logs, joined, read) -> None:
    logs.jsonl("a.jsonl", [{**BASE, "x": 1}, BASE])
    logs.jsonl("b.jsonl", [BASE])
    rows, _ = read(open_generic(logs.path, joined()).impressions)
    assert [row["feature.x"] for row in rows] == [1, None, None]


@pytest.mark.parametrize("value", [{"a": 1}, [[1]]])
def test_objects_and_lists_of_lists_are_left_out(logs, joined, value) -> None:
    logs.jsonl("a.jsonl", [{**BASE, "x": value}])
    shown = "lists of objects or lists of lists" if isinstance(value, list) else "objects or lists of lists"
    source = open_generic(logs.path, joined())
    assert source.inferred == (f"column 'x' ({shown}) is left out: no kind of feature holds this type",)


@pytest.mark.parametrize(
    ("values", "both"),
    [
        ([1, "a"], "integers and text"),
        ([[1], 1], "integers and lists of integers"),
        ([[], 1], "integers and lists of null"),
        ([[1, "a"]], "lists of integers and lists of text"),
    ],
)
def test_values_that_no_one_type_holds(logs, joined, values, both: str) -> None:
    path = logs.jsonl("a.jsonl", [{**BASE, "x": value} for value in values])
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    assert str(error.value).startswith(f"column 'x' is {both} in {path}; expected")
    assert str(error.value).endswith("write it with one type in all files")


def test_lists_of_integers_beyond_int64(logs, joined) -> None:
    path = logs.jsonl("a.jsonl", [{**BASE, "x": [1 << 63]}])
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    assert str(error.value) == (
        f"column 'x' of {path} holds integers above 2**63 - 1; write them as signed integers or as strings"
    )


def test_a_file_without_any_object(logs, joined) -> None:
    path = logs.text("a.jsonl", "\n[1]\n")
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    assert str(error.value) == f"{path} holds no JSON objects; expected one object a line"


def test_windows_line_ends_and_a_byte_order_mark(logs, joined, read) -> None:
    logs.text("a.jsonl", b'\xef\xbb\xbf{"r": 1, "u": 1, "t": 1, "y": 1}\r\n\r\n{"r": 2, "u": 1, "t": 1, "y": 1}')
    rows, rejected = read(open_generic(logs.path, joined()).impressions)
    assert ([row["request"] for row in rows], rejected) == ([1, 2], [])
