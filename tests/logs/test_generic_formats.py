"""Every file format gives the same canonical log."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recfold.logs.generic import block, csv_files, jsonl_files, open_generic, parquet_files
from recfold.logs.generic.files import FORMATS
from recfold.spec import InputError

ROWS: list[dict[str, Any]] = [
    {"r": "q1", "u": 7, "t": 1, "y": 1, "age": 30, "price": 1.5, "city": "Oslo", "seen": [1, None, 3], "tags": ["a"]},
    {"r": "q2", "u": 8, "t": 2, "y": 0, "age": None, "price": None, "city": None, "seen": None, "tags": []},
    {"r": "q3", "u": 9, "t": 3, "y": 1, "age": -4, "price": 2.0, "city": "", "seen": [], "tags": ["", None]},
    {"r": 'q"4', "u": 1, "t": 4, "y": 0, "age": 9, "price": 0.1, "city": "a\nb, c", "seen": [-5], "tags": None},
]  # fmt: skip


def write(logs: Any, format: str, name: str, rows: list[dict[str, Any]]) -> Path:
    if format == "parquet":
        return logs.parquet(name, pa.Table.from_pylist(rows))
    if format == "jsonl":
        return logs.jsonl(name, rows)
    path = logs.csv(name, rows)
    # csv.writer cannot tell null from the empty text: an empty city is written quoted
    return logs.text(name, path.read_text().replace("2.0,,", '2.0,"",'))


@pytest.mark.parametrize("rows_a_block", [1, 3, 100])
@pytest.mark.parametrize("format", FORMATS)
def test_values_nulls_and_lists_survive(logs, joined, read, monkeypatch, format: str, rows_a_block: int) -> None:
    monkeypatch.setattr(parquet_files, "_batch_rows", lambda _: rows_a_block)
    monkeypatch.setattr(jsonl_files, "BLOCK_ROWS", rows_a_block)
    # CSV needs a block to hold at least two rows of these
    monkeypatch.setattr(csv_files, "_BLOCK_BYTES", max(64, 100 * rows_a_block))
    write(logs, format, f"b.{format}", ROWS[2:])
    write(logs, format, f"a.{format}", ROWS[:2])
    source = open_generic(logs.path, joined())
    assert {name: spec.kind for name, spec in source.schema.features.items()} == {
        "age": "id",
        "price": "dense",
        "city": "id",
        "seen": "ids",
        "tags": "ids",
    }
    rows, rejected = read(source.impressions)
    assert rejected == []
    assert rows == [
        {
            "request": row["r"],
            "user": row["u"],
            "time": row["t"],
            "label.y": row["y"],
            **{f"feature.{name}": row[name] for name in ("age", "price", "city", "seen", "tags")},
        }
        for row in ROWS
    ]
    assert read(source.impressions)[0] == rows, "it starts over"


@pytest.mark.parametrize("format", FORMATS)
def test_canonical_types_do_not_depend_on_the_format_or_the_block(logs, joined, monkeypatch, format: str) -> None:
    monkeypatch.setattr(parquet_files, "_batch_rows", lambda _: 1)
    monkeypatch.setattr(jsonl_files, "BLOCK_ROWS", 1)
    write(logs, format, f"a.{format}", ROWS)
    features = {
        "seen": {"kind": "dense_sequence"},
        "vector": {"kind": "vector", "column": "seen"},
        "age": {"kind": "dense"},
    }
    for chunk in open_generic(logs.path, joined(features=features)).impressions():
        assert chunk.rows.schema == pa.schema(
            {
                "request": pa.string(),
                "user": pa.int64(),
                "time": pa.int64(),
                "label.y": pa.float32(),
                "feature.seen": pa.list_(pa.float64()),
                "feature.vector": pa.list_(pa.float64()),
                "feature.age": pa.float64(),
                "feature.price": pa.float64(),
                "feature.city": pa.string(),
                "feature.tags": pa.list_(pa.string()),
            }
        )


@pytest.mark.parametrize("format", FORMATS)
def test_rejected_rows_are_numbered_in_their_file(logs, joined, read, format: str) -> None:
    rows = [{**ROWS[0], "r": None if number in (1, 4) else "q"} for number in range(6)]
    write(logs, format, f"sub/a.{format}", rows)
    write(logs, format, f"sub/b.{format}", rows[4:])
    schema = joined(logs={"impressions": "sub/*"})
    kept, rejected = read(open_generic(logs.path, schema).impressions)
    assert len(kept) == 5
    assert [(row["source"], row["file"], row["row"], row["reason"]) for row in rejected] == [
        ("impressions", f"sub/a.{format}", 1, "null request"),
        ("impressions", f"sub/a.{format}", 4, "null request"),
        ("impressions", f"sub/b.{format}", 0, "null request"),
    ]
    assert json.loads(rejected[0]["content"]) == {**rows[1], "r": None}


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_without_rows_is_read(logs, joined, read, format: str) -> None:
    write(logs, format, f"a.{format}", ROWS)
    if format == "parquet":
        logs.parquet("b.parquet", pa.Table.from_pylist(ROWS).slice(0, 0))
    else:
        logs.text(f"b.{format}", ",".join(ROWS[0]) + "\n" if format == "csv" else "")
    rows, rejected = read(open_generic(logs.path, joined()).impressions)
    assert (len(rows), rejected) == (4, [])


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_of_another_kind_is_named(logs, joined, format: str) -> None:
    path = logs.text(f"a.{format}", b"" if format == "csv" else b"no such thing")
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_vanishes_is_named(logs, joined, read, format: str) -> None:
    path = write(logs, format, f"a.{format}", ROWS)
    source = open_generic(logs.path, joined())
    path.unlink()
    with pytest.raises(InputError) as error:
        read(source.impressions)
    assert f"cannot read {path}" in str(error.value)


def test_truncated_parquet_is_named(logs, joined) -> None:
    path = logs.parquet("a.parquet", pa.Table.from_pylist(ROWS))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"cannot read .*a\.parquet as Parquet; got"):
        open_generic(logs.path, joined())


def test_parquet_damaged_inside_is_named(logs, joined, read) -> None:
    path = logs.parquet("a.parquet", pa.Table.from_pylist(ROWS), compression="zstd")
    data = bytearray(path.read_bytes())
    data[4:300] = b"\xff" * 296
    path.write_bytes(data)
    source = open_generic(logs.path, joined())
    with pytest.raises(InputError, match=r"cannot read .*a\.parquet as Parquet; got"):
        read(source.impressions)


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_compressed_text_is_read_and_a_truncated_one_named(logs, joined, read, format: str) -> None:
    path = write(logs, format, f"a.{format}", ROWS)
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    path = logs.text(f"a.{format}.gz", packed)
    assert len(read(open_generic(logs.path, joined()).impressions)[0]) == 4
    path.write_bytes(packed[:-30])
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    assert f"cannot read {path}" in str(error.value)


def test_parquet_batches_hold_fewer_rows_where_rows_are_long(logs) -> None:
    short = logs.parquet("short.parquet", {"x": list(range(100))})
    long = ["a" * 100_000 + str(n) for n in range(100)]
    wide = logs.parquet("wide.parquet", {"x": long}, use_dictionary=False, compression="none")
    assert parquet_files._batch_rows(pq.read_metadata(short)) == block.BLOCK_ROWS
    assert 64 <= parquet_files._batch_rows(pq.read_metadata(wide)) <= 400


def test_json_lines_blocks_are_bounded_in_bytes(logs, joined, monkeypatch) -> None:
    monkeypatch.setattr(jsonl_files, "_BLOCK_BYTES", 1)
    logs.jsonl("a.jsonl", ROWS)
    sizes = [chunk.rows.num_rows for chunk in open_generic(logs.path, joined()).impressions()]
    assert sizes == [1, 1, 1, 1, 0]


def test_parquet_types_are_decoded(logs, joined, read) -> None:
    table = pa.table(
        {
            "r": pa.array([1, 2], pa.uint64()),
            "u": pa.array(["a", "a"]).dictionary_encode(),
            "t": pa.array([1, 2], pa.timestamp("ms", "Europe/Paris")),
            "y": pa.array([True, False]),
            "x": pa.array([0.5, math.nan], pa.float32()),
            "v": pa.array([[1, 2], None], pa.list_(pa.float32(), 2)),
            "w": pa.array([["b"], [None]], pa.large_list(pa.large_string())),
            "b": pa.array([True, None]),
        }
    )
    logs.parquet("a.parquet", table)
    (chunk,) = open_generic(logs.path, joined()).impressions()
    assert [str(field.type) for field in chunk.rows.schema] == [
        "int64", "string", "int64", "float", "float", "fixed_size_list<item: float>[2]", "list<item: string>", "int64",
    ]  # fmt: skip
    assert chunk.rows["feature.v"].to_pylist() == [[1.0, 2.0], None]
    assert chunk.rows["feature.b"].to_pylist() == [1, None]
    assert chunk.rows["time"].to_pylist() == [1000, 2000]


def test_two_columns_of_one_name(logs, joined) -> None:
    path = logs.text("a.csv", "r,r,u,t,y\n1,2,3,4,5\n")
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    assert str(error.value) == f"{path} has two columns called 'r'; rename one of them"
    path.unlink()
    path = logs.parquet("a.parquet", pa.table([pa.array([1])] * 2, names=["r", "r"]))
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    assert str(error.value) == f"{path} has two columns called 'r'; rename one of them"
