"""Logs by a schema: keys, labels, outcomes, side tables, and every row that cannot be used."""

from typing import Any

import pyarrow as pa
import pytest

from recfold.logs import open_logs
from recfold.logs.generic import open_generic
from recfold.spec import InputError, Schema

GOOD = {"r": 1, "c": 2, "p": 0, "s": 5, "u": 6, "t": 10, "w": 1.0, "y": 1.0, "z": "train"}
KEYS = {"candidate": "c", "position": "p", "session": "s", "weight": "w", "split": "z"}


def rejects(logs, joined, read, changed: list[dict[str, Any]], **schema: Any) -> list[str]:
    """The reasons for which changed rows of a JSONL log are rejected; the good row beside them is kept."""
    logs.jsonl("a.jsonl", [*({**GOOD, **row} for row in changed), GOOD])
    kept, rejected = read(open_generic(logs.path, joined(keys=KEYS, **schema)).impressions)
    assert len(kept) + len(rejected) == len(changed) + 1
    assert [row["row"] for row in rejected] == sorted(row["row"] for row in rejected)
    return [row["reason"] for row in rejected]


def test_every_key_has_its_canonical_column(logs, joined) -> None:
    logs.jsonl("a.jsonl", [GOOD])
    (chunk,) = open_generic(logs.path, joined(keys=KEYS)).impressions()
    assert chunk.rows.to_pylist() == [
        {
            "request": 1, "candidate": 2, "position": 0, "session": 5, "user": 6,
            "time": 10, "split": "train", "weight": 1.0, "label.y": 1.0,
        }
    ]  # fmt: skip
    kinds = {field.name: str(field.type) for field in chunk.rows.schema}
    assert kinds == {
        **dict.fromkeys(["request", "candidate", "position", "session", "user", "time"], "int64"),
        "split": "string",
        "weight": "float",
        "label.y": "float",
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"r": None}, "null request"),
        ({"c": None}, "null candidate"),
        ({"s": None, "u": None}, "null session and user"),
        ({"t": None}, "null time"),
        ({"t": "soon"}, "unparsable time"),
        ({"t": -1}, "time out of range"),
        ({"t": 1 << 62}, "time out of range"),
        ({"p": "first"}, "not a number"),
        ({"p": 0.5}, "not a number"),
        ({"w": "heavy"}, "not a number"),
        ({"w": None}, "null weight"),
        ({"w": -0.5}, "negative weight"),
        ({"y": "yes"}, "not a number"),
        ({"y": float("nan")}, "not a number"),
        ({"y": 1e39}, "not a number"),
        ({"y": None}, "null label"),
        ({"z": "test"}, "unknown split"),
        ({"z": None}, "unknown split"),
    ],
)
def test_a_row_that_cannot_be_used_is_rejected_with_its_reason(logs, joined, read, change, reason: str) -> None:
    assert rejects(logs, joined, read, [change]) == [reason]


@pytest.mark.parametrize("change", [{"s": None}, {"u": None}, {"p": None}, {"p": 3.0}, {"y": True}, {"w": "0.5"}])
def test_a_row_that_can_be_used_is_kept(logs, joined, read, change) -> None:
    assert rejects(logs, joined, read, [change]) == []


def test_the_first_of_several_reasons_is_given(logs, joined, read) -> None:
    assert rejects(logs, joined, read, [{"r": None, "t": "soon", "y": None}]) == ["null request"]


def test_lines_that_are_no_objects_are_unparsable_rows(logs, joined, read) -> None:
    lines = [b'{"r": 1, "u": 2, "t": 3, "y": 0}', b"{", b"", b"[1]", b'{"r": "\\ud800"}', b'\xff{"r": 1}', b"7"]
    logs.text("a.jsonl", b"\n".join(lines) + b"\n")
    kept, rejected = read(open_generic(logs.path, joined()).impressions)
    assert len(kept) == 1
    assert [(row["row"], row["reason"]) for row in rejected] == [(n, "unparsable row") for n in (1, 3, 4, 5, 6)]
    assert [row["content"] for row in rejected][:2] == ['"{"', "[1]"]


def test_csv_lines_with_too_few_or_too_many_fields_are_unparsable_rows(logs, joined, read) -> None:
    logs.text("a.csv", "r,u,t,y\n1\n2,2,3,0\n3,3\n4,4,4,4,4\n,5,3,0\n6,6,3,0\n7\n")
    kept, rejected = read(open_generic(logs.path, joined()).impressions)
    assert [row["request"] for row in kept] == [2, 6]
    found = sorted((row["row"], row["reason"], row["content"]) for row in rejected)
    assert [(row, reason) for row, reason, _ in found] == [
        (0, "unparsable row"),
        (2, "unparsable row"),
        (3, "unparsable row"),
        (4, "null request"),
        (6, "unparsable row"),
    ]
    assert found[2][2] == '"4,4,4,4,4"'


def test_a_file_of_bad_lines_only(logs, joined, read) -> None:
    logs.text("a.csv", "r,u,t,y\n1\n2\n")
    logs.text("b.csv", "r,u,t,y\n1,1,1,1\n")
    kept, rejected = read(open_generic(logs.path, joined()).impressions)
    assert (len(kept), [row["row"] for row in rejected]) == (1, [0, 1])


def two_logs(**changes: Any) -> Schema:
    data = {
        "logs": {"impressions": "impressions*", "outcomes": "outcomes*"},
        "keys": {"request": "r", "candidate": "c", "user": "u", "time": "t"},
        "outcomes": {"request": "r", "candidate": "c", "event": "e", "value": "v", "time": "t", "time_unit": "s"},
        "labels": {"click": {"event": "click"}},
    }
    return Schema.parse({**data, **changes}, "features.toml")


def test_outcomes_are_canonical(logs, read) -> None:
    logs.jsonl("impressions.jsonl", [{"r": "a", "c": 1, "u": 1, "t": 1}])
    logs.jsonl(
        "outcomes.jsonl",
        [
            {"r": "a", "c": 1, "e": "click", "v": 2, "t": 3},
            {"r": "a", "c": 1, "e": "click"},
            {"c": 1, "e": "click"},
            {"r": "a", "e": "click"},
            {"r": "a", "c": 1},
            {"r": "a", "c": 1, "e": "click", "v": "much"},
            {"r": "a", "c": 1, "e": "click", "t": "soon"},
            {"r": "a", "c": 1, "e": "click", "t": -1},
        ],
    )
    source = open_generic(logs.path, two_logs())
    assert source.outcomes is not None
    kept, rejected = read(source.outcomes)
    assert kept == [
        {"request": "a", "candidate": 1, "event": "click", "value": 2.0, "time": 3_000_000},
        {"request": "a", "candidate": 1, "event": "click", "value": None, "time": None},
    ]
    assert [(row["source"], row["row"], row["reason"]) for row in rejected] == [
        ("outcomes", 2, "null request"),
        ("outcomes", 3, "null candidate"),
        ("outcomes", 4, "null event"),
        ("outcomes", 5, "not a number"),
        ("outcomes", 6, "unparsable time"),
        ("outcomes", 7, "time out of range"),
    ]
    assert source.description == "files: 1 of impressions, 1 of outcomes"


def test_without_an_event_column_every_outcome_is_of_the_one_event(logs, read) -> None:
    logs.jsonl("impressions.jsonl", [{"r": 1, "c": 1, "u": 1, "t": 1}])
    logs.jsonl("outcomes.jsonl", [{"r": 1}])
    source = open_generic(logs.path, two_logs(outcomes={"request": "r"}))
    assert source.outcomes is not None
    assert read(source.outcomes)[0] == [{"request": 1, "event": "click"}]
    labels = {"click": {"event": "click"}, "buy": {"event": "buy"}}
    with pytest.raises(InputError) as error:
        open_generic(logs.path, two_logs(outcomes={"request": "r"}, labels=labels))
    assert str(error.value) == (
        "the outcomes have no event column, but the labels are of the events buy, click; "
        "name the column with outcomes.event"
    )


def test_events_without_outcomes_and_outcomes_without_a_section(logs, joined) -> None:
    logs.jsonl("impressions.jsonl", [{"r": 1, "c": 1, "u": 1, "t": 1, "y": 1}])
    logs.jsonl("outcomes.jsonl", [{"r": 1}])
    with pytest.raises(InputError) as error:
        open_generic(logs.path, two_logs(logs={}))
    assert str(error.value) == (
        "label 'click' comes from an event, but logs.outcomes is not set; "
        'write outcomes = "outcomes/*.parquet" in [logs]'
    )
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined(logs={"outcomes": "outcomes*"}))
    assert str(error.value) == ("logs.outcomes names files, but there is no [outcomes] section; say what is in them")


def test_keys_that_are_integers_in_one_log_and_text_in_the_other(logs) -> None:
    one = logs.jsonl("impressions.jsonl", [{"r": 1, "c": 1, "u": 1, "t": 1}])
    two = logs.jsonl("outcomes.jsonl", [{"r": "1", "c": 1, "e": "click", "v": 1, "t": 1}])
    with pytest.raises(InputError) as error:
        open_generic(logs.path, two_logs())
    assert str(error.value) == f"request is integers in {one} but text in {two}; write it with one type in both"


def test_in_csv_a_key_that_is_text_in_one_log_is_text_in_all(logs, read) -> None:
    logs.text("impressions.csv", "r,c,u,t\n1,1,1,1\n2,1,1,1\n")
    logs.text("outcomes.csv", "r,c,e,v,t\n1,1,click,,\nx,1,click,,\n")
    logs.text("items.csv", "item,colour\nnew,7\n1,8\n")
    sides = {"items": {"files": "items.csv", "key": "item", "column": "item"}}
    features = {"colour": {"kind": "id", "side": "items"}}
    source = open_generic(logs.path, two_logs(sides=sides, features=features))
    assert source.outcomes is not None
    assert [(row["request"], row["candidate"]) for row in read(source.impressions)[0]] == [("1", "1"), ("2", "1")]
    assert [(row["request"], row["candidate"]) for row in read(source.outcomes)[0]] == [("1", "1"), ("x", "1")]
    assert read(source.sides["items"])[0] == [{"key": "new", "feature.colour": 7}, {"key": "1", "feature.colour": 8}]


def test_side_tables_are_canonical(logs, joined, read) -> None:
    logs.jsonl("log.jsonl", [{"r": 1, "u": 1, "t": 1, "y": 1}])
    logs.parquet(
        "users/a.parquet",
        {
            "id": [1, None, 3],
            "part": ["train", "train", "test"],
            "likes": [[1, 2], [], None],
            "strength": [[1, 2], [], None],
        },
    )
    sides = {"users": {"files": "users/*", "key": "user", "column": "id", "split": "part"}}
    features = {"likes": {"kind": "ids", "weights": "strength", "side": "users"}}
    source = open_generic(logs.path, joined(logs={"impressions": "log*"}, sides=sides, features=features))
    assert source.description == "files: 1 of impressions, 1 of side table users"
    (chunk,) = source.sides["users"]()
    assert chunk.rows.to_pylist() == [
        {"key": 1, "split": "train", "feature.likes": [1, 2], "feature.likes.weights": [1.0, 2.0]}
    ]
    assert chunk.rows.schema.field("feature.likes.weights").type == pa.list_(pa.float32())
    assert [(row["source"], row["reason"]) for row in chunk.rejected.to_pylist()] == [
        ("side:users", "null key"),
        ("side:users", "unknown split"),
    ]


def test_a_missing_column_is_named_with_its_file_and_the_nearest(logs, joined) -> None:
    logs.parquet("a.parquet", {"r": [1], "u": [1], "t": [1], "y": [1]})
    path = logs.parquet("b.parquet", {"r": [1], "user_idx": [1], "t": [1], "y": [1]})
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    assert str(error.value).startswith(
        f"{path} has no column 'u', which keys.user names; got columns r, t, user_idx, y"
    )
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined(logs={"impressions": "b*"}, keys={"user": "user_id"}))
    assert str(error.value) == (
        f"{path} has no column 'user_id', which keys.user names; got columns r, t, user_idx, y; "
        "did you mean 'user_idx'?"
    )


def test_in_json_lines_a_key_that_no_line_has_is_a_missing_column(logs, joined) -> None:
    path = logs.jsonl("a.jsonl", [{"r": 1, "u": 1, "t": 1}])
    with pytest.raises(InputError, match=r"has no column 'y', which labels\.y names") as error:
        open_generic(logs.path, joined())
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("keys", "columns", "message"),
    [
        ({}, {"r": [1.5]}, "is double, which keys.request cannot be read from; expected integers or strings"),
        ({}, {"r": [[1]]}, "is list<int64>, which keys.request cannot be read from; expected integers or strings"),
        ({}, {"t": [[1]]}, "is list<int64>, which keys.time cannot be read from; expected times"),
        ({}, {"y": [[1]]}, "is list<int64>, which labels.y cannot be read from; expected numbers"),
        ({"split": "z"}, {"z": [1.5]}, "is double, which keys.split cannot be read from; expected text"),
    ],
)
def test_a_key_of_an_impossible_type(logs, joined, keys, columns, message: str) -> None:
    path = logs.parquet("a.parquet", {"r": [1], "u": [1], "t": [1], "y": [1], **columns})
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined(keys=keys))
    assert str(error.value) == f"column {next(iter(columns))!r} of {path} {message}"


def test_integers_in_one_file_and_text_in_another(logs, joined) -> None:
    base = {"u": [1], "t": [1], "y": [1]}
    one = logs.parquet("a.parquet", {"r": [1], **base})
    two = logs.parquet("b.parquet", {"r": ["1"], **base})
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    assert str(error.value) == (
        f"column 'r' is int64 in {one} but string in {two}; expected integers or strings (keys.request); "
        "write it with one type in all files"
    )


def test_integers_and_text_in_one_file(logs, joined) -> None:
    path = logs.jsonl("a.jsonl", [{"r": 1, "u": 1, "t": 1, "y": 1}, {"r": "x", "u": 1, "t": 1, "y": 1}])
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    assert str(error.value) == (
        f"column 'r' is integers and text in {path}; expected integers or strings (keys.request); "
        "write it with one type in all files"
    )


def test_ids_beyond_int64(logs, joined, read) -> None:
    path = logs.jsonl("a.jsonl", [{"r": 1 << 63, "u": 1, "t": 1, "y": 1}])
    with pytest.raises(InputError) as error:
        open_generic(logs.path, joined())
    expected = "holds integers above 2**63 - 1; write them as signed integers or as strings"
    assert str(error.value) == f"column 'r' of {path} {expected}"
    path.unlink()
    path = logs.parquet("a.parquet", {"r": pa.array([1 << 63], pa.uint64()), "u": [1], "t": [1], "y": [1]})
    with pytest.raises(InputError) as error:
        read(open_generic(logs.path, joined()).impressions)
    assert str(error.value) == f"column 'r' of {path} {expected}"


def test_opened_by_the_room_door(logs) -> None:
    logs.jsonl("impressions.jsonl", [{"r": 1, "u": 1, "t": "2024-01-01", "y": 1}])
    logs.text("features.toml", '[keys]\nrequest = "r"\nuser = "u"\ntime = "t"\n[labels.y]\ncolumn = "y"\n')
    source = open_logs(logs.path)
    assert next(source.impressions()).rows["time"].to_pylist() == [1_704_067_200_000_000]
    with pytest.raises(InputError, match="is not a folder; name the folder that holds the logs"):
        open_logs(logs.path / "impressions.jsonl", schema=source.schema)
