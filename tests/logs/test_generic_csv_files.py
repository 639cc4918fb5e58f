"""CSV: types by all values, lists in fields."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recfold.logs.generic import csv_files, open_generic
from recfold.logs.generic.csv_lists import integer_lists, list_column, list_column_reference, list_element
from recfold.spec import InputError, Schema


@pytest.mark.parametrize(
    ("fields", "kind", "values"),
    [
        (["1", "-20", ""], "id", [1, -20, None]),
        (["9223372036854775807", "-9223372036854775808"], "id", [(1 << 63) - 1, -(1 << 63)]),
        (["1", "9223372036854775808"], "id", ["1", "9223372036854775808"]),
        (["007", "7"], "id", ["007", "7"]),
        (["1", "x", ""], "id", ["1", "x", None]),
        (["true", "false"], "id", ["true", "false"]),
        (["1", "2.5", "", "-1e3", ".5", "3.", "+4", "inf"], "dense", [1, 2.5, None, -1e3, 0.5, 3, 4, math.inf]),
        (["9223372036854775808", "0.5"], "dense", [2.0**63, 0.5]),
        (["2024-01-01", "1"], "id", ["2024-01-01", "1"]),
        ([" 1", "2"], "id", [" 1", "2"]),
        (['"[1,2]"', "[]", "", "[null]"], "ids", [[1, 2], [], None, [None]]),
        (['"[""a"",1]"', "[2]"], "ids", [["a", "1"], ["2"]]),
        (['"[1.5,2]"', "[2]"], "dense_sequence", [[1.5, 2.0], [2.0]]),
        (["[1]", "[deleted]"], "id", ["[1]", "[deleted]"]),
        (["[1]", "2"], "id", ["[1]", "2"]),
        (["a|b", "c"], "id", ["a|b", "c"]),
        (['""', "x", ""], "id", ["", "x", None]),
    ],
)
@pytest.mark.parametrize("rows_a_file", [1, 100])
def test_a_type_is_what_all_values_of_all_files_are(logs, joined, read, fields, kind, values, rows_a_file: int) -> None:
    for begin in range(0, len(fields), rows_a_file):
        lines = [f"1,2,3,0,{field}" for field in fields[begin : begin + rows_a_file]]
        logs.text(f"{begin}.csv", "\n".join(["r,u,t,y,x", *lines]) + "\n")
    source = open_generic(logs.path, joined())
    assert source.schema.features["x"].kind == kind
    assert [row["feature.x"] for row in read(source.impressions)[0]] == values


@pytest.mark.parametrize(
    ("kind", "fields", "values"),
    [
        ("ids", ["a|b", "c", "", "||", '""', "[]"], [["a", "b"], ["c"], None, [None, None, None], [], []]),
        ("sequence", ["1|2|", "3", '"[4, 5]"'], [[1, 2, None], [3], [4, 5]]),
        ("ids", ["01|2", "3"], [["01", "2"], ["3"]]),
        ("ids", ["1|9223372036854775808"], [["1", "9223372036854775808"]]),
        ("dense_sequence", ["0.5|1", "2", "nan"], [[0.5, 1.0], [2.0], [math.nan]]),
        ("vector", ["1|2", "3|4"], [[1.0, 2.0], [3.0, 4.0]]),
        ("ids", ["", '"[true, false]"'], [None, [1, 0]]),
    ],
)
def test_declared_lists_take_bars_and_json(logs, joined, read, kind: str, fields, values) -> None:
    logs.text("a.csv", "\n".join(["r,u,t,y,x", *(f"1,2,3,0,{field}" for field in fields)]))
    source = open_generic(logs.path, joined(features={"x": {"kind": kind}}))
    assert str([row["feature.x"] for row in read(source.impressions)[0]]) == str(values)


def test_a_field_that_is_no_list_is_rejected_where_a_list_is_declared(logs, joined, read) -> None:
    logs.text("a.csv", 'r,u,t,y,x\n1,2,3,0,[1\n1,2,3,0,[[1]]\n1,2,3,0,"[3]"\n1,2,3,0,"{""a"":1}"\n')
    kept, rejected = read(open_generic(logs.path, joined(features={"x": {"kind": "ids"}})).impressions)
    assert [row["feature.x"] for row in kept] == [["3"], ['{"a":1}']]
    assert [(row["row"], row["reason"]) for row in rejected] == [(0, "not a list"), (1, "not a list")]


def test_a_kind_that_contradicts_the_values(logs, joined) -> None:
    path = logs.text("a.csv", "r,u,t,y,x\n1,2,3,0,cheap\n")
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined(features={"x": {"kind": "dense"}}))
    assert str(error.value) == (
        f"column 'x' of {path} is text, which features.x cannot be read from; expected numbers; "
        "name another column, or another kind of feature"
    )


def test_labels_and_times_are_read_from_text(logs, joined, read) -> None:
    logs.text("a.csv", "r,u,t,y\n1,2,2024-01-01,1\n1,2,2024-01-01T00:00:01Z,no\n1,2,5,true\n1,2,never,0\n")
    kept, rejected = read(open_generic(logs.path, joined(keys={"time_unit": "s"})).impressions)
    assert [(row["time"], row["label.y"]) for row in kept] == [(1_704_067_200_000_000, 1.0), (5_000_000, 1.0)]
    assert [row["reason"] for row in rejected] == ["not a number", "unparsable time"]


def test_tabs_byte_order_marks_and_columns_without_values(logs, joined, read) -> None:
    logs.text("a.tsv", b"\xef\xbb\xbfr\tu\tt\ty\tnone\n1\t2\t3\t0\t\n")
    source = open_generic(logs.path, joined())
    assert source.inferred == ("column 'none' (null) is left out: it holds no values",)
    assert read(source.impressions)[0] == [{"request": 1, "user": 2, "time": 3, "label.y": 0.0}]
    for kind, type in (("id", pa.int64()), ("ids", pa.list_(pa.int64())), ("dense", pa.float64())):
        (chunk,) = open_generic(logs.path, joined(features={"none": {"kind": kind}})).impressions()
        assert (chunk.rows["feature.none"].type, chunk.rows["feature.none"].to_pylist()) == (type, [None])


def test_text_that_is_not_utf8_names_its_file(logs, joined) -> None:
    path = logs.text("a.csv", b"r,u,t,y\n\xff,2,3,0\n")
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    assert str(error.value) == f"{path} is not UTF-8; got byte 0xff in line 2; save it as UTF-8"


def test_an_empty_file_has_no_header(logs, joined) -> None:
    path = logs.text("a.csv", "")
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    assert str(error.value) == f"{path} is empty; expected a first line with the names of the columns"


def test_row_numbers_count_bad_lines_in_any_block(logs, joined, read, monkeypatch) -> None:
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", 64)
    bad = {0, 3, 4, 17, 40, 41, 99}
    null = {1, 5, 39, 42, 98}
    lines = ["bad" if n in bad else f"{'' if n in null else n},2,3,0" for n in range(100)]
    logs.text("a.csv", "\n".join(["r,u,t,y", *lines]) + "\n")
    kept, rejected = read(open_generic(logs.path, joined()).impressions)
    assert [row["request"] for row in kept] == [n for n in range(100) if n not in bad | null]
    reasons = {row["row"]: row["reason"] for row in rejected}
    assert reasons == dict.fromkeys(bad, "unparsable row") | dict.fromkeys(null, "null request")
    assert len(rejected) == len(reasons)


INTEGERS = st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-9, 9)
LISTS = st.lists(INTEGERS, max_size=4)
CELLS = LISTS.map(json.dumps) | LISTS.map(lambda row: "|".join("" if x is None else str(x) for x in row))


@given(st.lists(st.none() | CELLS, max_size=5), st.integers(0, 5))
@example(["", "[]", "[ ]", "|", "[null]", None], 0)
def test_integer_lists_are_those_of_the_slow_twin(cells: list[str | None], begin: int) -> None:
    column = pa.array(cells, pa.string()).slice(begin)
    quick = integer_lists(column)
    assert quick is not None
    slow, wrong = list_column_reference(column, "integer")
    assert (quick.type, quick.to_pylist()) == (slow.type, slow.to_pylist())
    assert not wrong.any()
    elements = [x for row in slow.to_pylist() for x in row or [] if x is not None]
    assert list_element(column) == ("integer" if elements else "null", True)


@given(st.lists(st.text("[]0123456789-|, nul", max_size=8), max_size=3))
def test_integer_lists_are_taken_only_from_what_the_slow_twin_takes(cells: list[str]) -> None:
    quick = integer_lists(pa.array(cells, pa.string()))
    if quick is not None:
        assert quick.to_pylist() == list_column_reference(pa.array(cells, pa.string()), "integer")[0].to_pylist()


@pytest.mark.parametrize("cell", ["[1,,2]", "[01]", "1|02", "[1", "1]", "[1]|2", "[1.5]", '["1"]', "a", str(1 << 63)])
def test_integer_lists_decline_what_is_no_list_of_integers(cell: str) -> None:
    assert integer_lists(pa.array(["[1]", cell])) is None


def test_a_field_that_is_no_list_is_marked() -> None:
    column, wrong = list_column(pa.array(["1|2", None, "1|2", "[x"]), "integer")
    assert column.to_pylist() == [[1, 2], None, [1, 2], None]
    assert wrong.tolist() == [False, False, False, True]


SCHEMA = Schema.parse(
    {
        "logs": {"impressions": "*.csv"},
        "keys": {"request": "r", "user": "u", "time": "t", "time_unit": "us"},
        "labels": {"y": {"column": "y"}},
        "infer": True,
    },
    "test",
)


def write(folder: Path, lines: list[bytes]) -> Path:
    (folder / "a.csv").write_bytes(b"\n".join([b"r,u,t,y,word", *lines, b""]))
    return folder


@pytest.mark.parametrize("after", [b"2,2,2,0,b", b'2,2,2,0,"b"', b"2,2,2,0,b,too many"])
def test_a_quote_that_is_not_closed_is_an_error(tmp_path: Path, after: bytes) -> None:
    logs = write(tmp_path, [b'1,1,1,0,"open', *[after] * 50])
    with pytest.raises(InputError, match=r"a.csv has a quote that is not closed; got an odd number of quotes"):
        open_generic(logs, SCHEMA)


def test_quotes_inside_fields_are_text(tmp_path: Path, read: Any) -> None:
    logs = write(tmp_path, [b'1,1,1,0,5" x 7" pipe', b'2,2,2,0,"two ""quotes"""', b'3,3,3,0,"a\nline"'])
    rows, _ = read(open_generic(logs, SCHEMA).impressions)
    assert [row["feature.word"] for row in rows] == ['5" x 7" pipe', 'two "quotes"', "a\nline"]
    logs = write(tmp_path, [b'1,1,1,0,5" pipe', b"2,2,2,0,b", b""])
    rows, _ = read(open_generic(logs, SCHEMA).impressions)
    assert [row["feature.word"] for row in rows] == ['5" pipe', "b"]


@pytest.mark.parametrize("line", [b"2,2,2,0,caf\xe9", b"2,caf\xe9,x"])
def test_text_that_is_not_utf8_is_named_with_its_line(tmp_path: Path, line: bytes) -> None:
    logs = write(tmp_path, [b"1,1,1,0,a", line])
    with pytest.raises(InputError, match=r"a.csv is not UTF-8; got byte 0xe9 in line 3; save it as UTF-8"):
        open_generic(logs, SCHEMA)
