"""Features: the kinds that columns can be, and those that are inferred."""

import datetime
from typing import Any

import pyarrow as pa
import pytest

from recfold.logs.generic import open_generic
from recfold.spec import InputError

BASE = {"r": [1], "u": [1], "t": [1], "y": [1]}


def test_what_is_not_named_is_inferred_and_said(logs, joined) -> None:
    columns = {
        "age": pa.array([1], pa.int8()),
        "city": pa.array(["a"]).dictionary_encode(),
        "new": pa.array([True]),
        "seen": pa.array([[1]]),
        "tags": pa.array([["a"]], pa.large_list(pa.string())),
        "price": pa.array([1.5], pa.float32()),
        "prices": pa.array([[1.5]]),
        "picture": pa.array([[1.5, 2.5]], pa.list_(pa.float32(), 2)),
        "at": pa.array([0], pa.timestamp("us")),
        "day": pa.array([datetime.date(2024, 1, 1)]),
        "blob": pa.array([b"a"]),
        "deep": pa.array([[[1]]]),
        "empty": pa.nulls(1),
        "secret": pa.array([1]),
        "w": pa.array([[1.5]]),
    }
    logs.parquet("a.parquet", {**BASE, **columns})
    features = {"liked": {"kind": "ids", "column": "seen", "weights": "w"}}
    source = open_generic(logs.path, joined(ignore=["secret"], features=features))
    assert source.inferred == (
        "column 'age' (int8) -> feature 'age' of kind id",
        "column 'city' (dictionary<values=string, indices=int32, ordered=0>) -> feature 'city' of kind id",
        "column 'new' (bool) -> feature 'new' of kind id",
        "column 'tags' (list<string>) -> feature 'tags' of kind ids",
        "column 'price' (float) -> feature 'price' of kind dense",
        "column 'prices' (list<double>) -> feature 'prices' of kind dense_sequence",
        "column 'picture' (list<float, 2>) -> feature 'picture' of kind vector",
        "column 'at' (timestamp[us]) is left out: no kind of feature holds this type",
        "column 'day' (date32[day]) is left out: no kind of feature holds this type",
        "column 'blob' (binary) is left out: no kind of feature holds this type",
        "column 'deep' (list<list<int64>>) is left out: no kind of feature holds this type",
        "column 'empty' (null) is left out: it holds no values",
    )
    assert list(source.schema.features) == ["liked", "age", "city", "new", "tags", "price", "prices", "picture"]
    (chunk,) = source.impressions()
    assert chunk.rows["feature.liked.weights"].type == pa.list_(pa.float32())


def test_nothing_is_inferred_where_the_schema_says_so(logs, joined) -> None:
    logs.parquet("a.parquet", {**BASE, "age": [1], "a.b": [1]})
    source = open_generic(logs.path, joined(infer=False))
    assert (dict(source.schema.features), source.inferred) == ({}, ())


@pytest.mark.parametrize("name", ["a.b", "a/b", ""])
def test_a_column_whose_name_no_feature_can_have(logs, joined, name: str) -> None:
    logs.parquet("a.parquet", {**BASE, name: [1]})
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    assert str(error.value) == (
        f"column {name!r} cannot be a feature of that name; expected no '.', no '/', not empty; "
        f"declare it under another name with column = {name!r}, or add it to ignore"
    )
    if name:
        source = open_generic(logs.path, joined(features={"ab": {"kind": "id", "column": name}}))
        assert next(source.impressions()).rows["feature.ab"].to_pylist() == [1]


def test_an_inferred_name_that_is_taken(logs, joined) -> None:
    logs.parquet("a.parquet", {**BASE, "item": [1], "item_id": [1]})
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined(features={"item": {"kind": "id", "column": "item_id"}}))
    assert str(error.value) == (
        "column 'item' would be a feature of that name, but features.item reads 'item_id'; "
        "declare it under another name with column = 'item', or add it to ignore"
    )


def test_ignore_of_a_column_that_is_not_there(logs, joined) -> None:
    logs.parquet("a.parquet", {**BASE, "read_time": [1]})
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined(ignore=["read_tme"]))
    assert str(error.value) == (
        "ignore names 'read_tme', which is no column of the impressions; did you mean 'read_time'?"
    )


def test_an_inferred_column_that_another_file_lacks(logs, joined) -> None:
    logs.parquet("a.parquet", {**BASE, "age": [1]})
    path = logs.parquet("b.parquet", BASE)
    with pytest.raises(InputError, match=r"has no column 'age', which features\.age names") as error:
        open_generic(logs.path, joined())
    assert str(error.value).startswith(str(path))


NUMBERS, IDS, LISTS = "numbers", "integers or strings", "lists of integers or of strings"


@pytest.mark.parametrize(
    ("kind", "column", "shown", "expected"),
    [
        ("id", pa.array([1.5]), "double", IDS),
        ("id", pa.array([[1]]), "list<int64>", IDS),
        ("id", pa.array([b"a"]), "binary", IDS),
        ("ids", pa.array([1]), "int64", LISTS),
        ("ids", pa.array([[1.5]]), "list<double>", LISTS),
        ("sequence", pa.array(["a"]), "string", LISTS),
        ("dense", pa.array(["a"]), "string", NUMBERS),
        ("dense", pa.array([[1.5]]), "list<double>", NUMBERS),
        ("dense", pa.array([0], pa.timestamp("us")), "timestamp[us]", NUMBERS),
        ("dense_sequence", pa.array([1.5]), "double", "lists of numbers"),
        ("dense_sequence", pa.array([["a"]]), "list<string>", "lists of numbers"),
        ("vector", pa.array([1.5]), "double", "lists of numbers, all of one length"),
    ],
)
def test_a_kind_that_contradicts_the_column(logs, joined, kind: str, column, shown: str, expected: str) -> None:
    path = logs.parquet("a.parquet", {**BASE, "x": column})
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined(features={"x": {"kind": kind}}))
    assert str(error.value) == (
        f"column 'x' of {path} is {shown}, which features.x cannot be read from; expected {expected}; "
        "name another column, or another kind of feature"
    )


@pytest.mark.parametrize(
    ("kind", "column", "target", "values"),
    [
        ("id", pa.array(["a"]), pa.string(), "a"),
        ("id", pa.nulls(1), pa.int64(), None),
        ("dense", pa.array([7], pa.int32()), pa.float64(), 7.0),
        ("dense", pa.array([True]), pa.float64(), 1.0),
        ("dense", pa.nulls(1), pa.float64(), None),
        ("dense_sequence", pa.array([[1, None]]), pa.list_(pa.float64()), [1.0, None]),
        ("dense_sequence", pa.array([[0.5]], pa.list_(pa.float32())), pa.list_(pa.float32()), [0.5]),
        ("sequence", pa.array([[1, 2]], pa.list_(pa.int8(), 2)), pa.list_(pa.int64()), [1, 2]),
        ("ids", pa.array([[]], pa.list_(pa.null())), pa.list_(pa.int64()), []),
        ("ids", pa.nulls(1), pa.list_(pa.int64()), None),
        ("vector", pa.array([[1, 2]], pa.list_(pa.int32(), 2)), pa.list_(pa.float64(), 2), [1.0, 2.0]),
        ("vector", pa.array([[1.5, 2.5]]), pa.list_(pa.float64()), [1.5, 2.5]),
    ],
)
def test_a_kind_that_the_column_allows(logs, joined, kind: str, column, target, values: Any) -> None:
    logs.parquet("a.parquet", {**BASE, "x": column})
    (chunk,) = open_generic(logs.path, joined(features={"x": {"kind": kind}})).impressions()
    assert chunk.rows["feature.x"].type == target
    assert chunk.rows["feature.x"].to_pylist() == [values]


@pytest.mark.parametrize(
    ("columns", "kind", "target"),
    [
        ([pa.array([1], pa.int8()), pa.array([2], pa.int64())], "id", pa.int64()),
        ([pa.array([1]), pa.array([0.5], pa.float32())], "dense", pa.float64()),
        ([pa.array([0.5], pa.float32()), pa.array([0.5])], "dense", pa.float64()),
        ([pa.nulls(1), pa.array(["a"])], "id", pa.string()),
        ([pa.nulls(1), pa.array([[1.5]], pa.list_(pa.float64(), 1))], "vector", pa.list_(pa.float64(), 1)),
        ([pa.array([[0.5]]), pa.array([[None]], pa.list_(pa.null(), 1))], "dense_sequence", pa.list_(pa.float64())),
        ([pa.array([[]], pa.list_(pa.null())), pa.array([["a"]])], "ids", pa.list_(pa.string())),
        ([pa.array([[1]]), pa.array([[0.5]])], "dense_sequence", pa.list_(pa.float64())),
        (
            [pa.array([[0.5]], pa.list_(pa.float32(), 1)), pa.array([[0.5] * 2], pa.list_(pa.float32(), 2))],
            "dense_sequence",
            pa.list_(pa.float32()),
        ),
    ],
)
def test_one_type_over_all_files(logs, joined, columns, kind: str, target) -> None:
    for number, column in enumerate(columns):
        logs.parquet(f"{number}.parquet", {**BASE, "x": column})
    source = open_generic(logs.path, joined())
    assert source.schema.features["x"].kind == kind
    chunks = list(source.impressions())
    assert [chunk.rows["feature.x"].type for chunk in chunks] == [target] * 2
    assert [chunk.rows["feature.x"].to_pylist() for chunk in chunks] == [column.to_pylist() for column in columns]


@pytest.mark.parametrize("second", [["a"], [[1]]])
def test_types_that_no_one_type_holds(logs, joined, second) -> None:
    one = logs.parquet("1.parquet", {**BASE, "x": [1]})
    two = logs.parquet("2.parquet", {**BASE, "x": second})
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    shown = "string" if second == ["a"] else "list<int64>"
    assert str(error.value) == (
        f"column 'x' is int64 in {one} but {shown} in {two}; expected integers or strings (features.x); "
        "write it with one type in all files"
    )
    assert open_generic(logs.path, joined(ignore=["x"])).inferred == ()
