"""Logs added to a table: the same rows as folded alone, nothing of the table before touched until all is there."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recfold.fold import FoldSettings, fold
from recfold.logs import LogSource
from recfold.reader import Reader, ReaderSettings
from recfold.spec import InputError
from recfold.table import FoldedTable, inspect, open_table
from recfold.table.files import Staging
from recfold.table.manifest import checksum_of

SCHEMA: dict[str, Any] = {
    "keys": {"request": "r", "candidate": "c", "session": "s", "user": "u", "time": "t"},
    "outcomes": {"request": "r", "candidate": "c", "event": "e"},
    "labels": {"click": {"event": "click"}},
    "features": {
        "seen": {"kind": "sequence", "group": "history"},
        "tags": {"kind": "ids", "group": "profile", "weights": "w"},
        "kind": {"kind": "id", "group": "item"},
        "home": {"kind": "id", "group": "user"},
        "price": {"kind": "dense", "group": "sample"},
    },
    "groups": {
        "history": {"kind": "window"},
        "profile": {"kind": "session"},
        "item": {"kind": "dictionary", "key": "item"},
        "user": {"kind": "dictionary", "key": "user"},
    },
}
SETTINGS = FoldSettings(partitions=3, workers=1, split_time=0.25)
Row = dict[str, Any]


def day_rows(day: int, count: int = 60, wide: int = 0) -> list[Row]:
    """A day's impressions: users and items come back the next day; `wide` is added to ids."""
    return [
        {
            "request": 1000 * day + i,
            "candidate": (i + 5 * day) % 9,
            "session": 100 * day + i // 4,
            "user": i // 8,
            "time": 10**6 * day + i,
            "feature.seen": list(range(i // 4, i // 4 + 3)),
            "feature.tags": [i // 8, 3 + wide] if i % 3 else None,
            "feature.tags.weights": [0.5, 1.5] if i % 3 else None,
            "feature.kind": (i + 5 * day) % 9 + wide,
            "feature.home": i // 8 if i % 5 else None,
            "feature.price": i / 7,
        }
        for i in range(count)
    ]


def day_outcomes(day: int) -> list[Row]:
    return [
        {"request": 1000 * day + i, "candidate": (i + 5 * day) % 9, "event": "click"} for i in (*range(0, 60, 3), 999)
    ]


@pytest.fixture
def day(logs_of: Any) -> Callable[..., LogSource]:
    """The function that makes a day's logs: `day(2, add=...)` with more features, `wide` ids, another schema."""

    def make(
        number: int,
        *,
        wide: int = 0,
        add: Mapping[str, Any] | None = None,
        columns: Callable[[int], Row] | None = None,
        schema: Mapping[str, Any] | None = None,
        types: Mapping[str, pa.DataType] | None = None,
    ) -> LogSource:
        chosen = dict(schema or SCHEMA)
        chosen = {**chosen, "features": {**chosen["features"], **(add or {})}}
        rows = [{**row, **(columns(i) if columns else {})} for i, row in enumerate(day_rows(number, wide=wide))]
        source: LogSource = logs_of(chosen, rows, day_outcomes(number), types=types or {}).source()
        return source

    return make


def rows_of(table: FoldedTable) -> list[Row]:
    return sorted((row for rows in table.expand() for row in rows.to_pylist()), key=lambda row: row["request"])


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def batches(table: FoldedTable, size: int = 16) -> list[Any]:
    with Reader(table, "train", ReaderSettings(batch_size=size, order="time", workers=0)) as reader:
        return list(reader)


def test_rows_are_those_of_each_day_folded_alone(day: Any, tmp_path: Path) -> None:
    fold(day(1), tmp_path / "table", settings=SETTINGS)
    table = fold(day(2), tmp_path / "table", settings=SETTINGS, append=True)
    table.verify()
    alone = [fold(day(number), tmp_path / f"day-{number}", settings=SETTINGS) for number in (1, 2)]
    assert rows_of(table) == rows_of(alone[0]) + rows_of(alone[1])
    accounting = table.manifest.accounting
    assert accounting.candidate_rows_in == 120
    assert accounting.samples == {"train": 90, "validation": 30}
    assert accounting.outcomes_in == 42
    assert accounting.quarantined_outcomes == {"orphan": 2}
    assert [entry.manifest.cut for entry in alone] == [table.manifest.cut, table.manifest.appended[0].cut]
    assert table.manifest.appended[0].samples == {"train": 45, "validation": 15}
    assert table.manifest.appended[0].changes == ()
    found = inspect(table)
    assert {feature.name: feature.distinct for feature in found.features}["kind"] == 9
    assert [path.name for path in (tmp_path / "table").iterdir() if path.name.startswith(".")] == []


def test_items_keep_their_numbers_and_only_new_ones_are_written(day: Any, tmp_path: Path) -> None:
    first = fold(day(1), tmp_path / "table", settings=SETTINGS)
    before = first.parts("train")[0].dictionary("item")
    table = fold(day(2, wide=5), tmp_path / "table", settings=SETTINGS, append=True)
    after = table.parts("train")[0].dictionary("item")
    assert after.slice(0, before.num_rows).to_pylist() == before.to_pylist()
    files = table.manifest.splits["train"].dictionaries["item"]
    assert [file.path for file in files] == ["train/item.parquet", "train/item-00001.parquet"]
    kinds = after["feature.kind"].to_pylist()
    assert len(set(kinds)) == len(kinds) == sum(file.rows for file in files) == 14
    third = fold(day(3, wide=5), tmp_path / "table", settings=SETTINGS, append=True)
    assert third.manifest.splits["train"].dictionaries["item"] == files  # nothing was new
    assert third.manifest.splits["train"].distinct["item"] == 14


def test_a_reader_goes_through_all_days(day: Any, tmp_path: Path) -> None:
    fold(day(1), tmp_path / "table", settings=SETTINGS)
    table = fold(day(2, wide=70_000), tmp_path / "table", settings=SETTINGS, append=True)
    found = batches(table)
    requests = np.concatenate([batch.keys["request"].numpy() for batch in found])
    expected = [row["request"] for row in rows_of(table) if row["split"] == "train"]
    assert requests.tolist() == expected
    prices = np.concatenate([batch.groups["sample"].dense.flatten().numpy() for batch in found])
    trained_on = [row for row in rows_of(table) if row["split"] == "train"]
    assert prices == pytest.approx([row["feature.price"] for row in trained_on])
    lists = [batch.expand().groups["history"].lists for batch in found]
    lengths = np.concatenate([np.diff(each.offsets.numpy()) for each in lists])
    assert lengths.tolist() == [len(row["feature.seen"]) for row in trained_on]


@pytest.mark.parametrize("group", ["sample", "profile", "item", "user", "new", "new window", "new item", "new user"])
@pytest.mark.parametrize("default", [None, [7, 8]])
def test_a_new_feature_has_its_default_before(day: Any, tmp_path: Path, group: str, default: list[int] | None) -> None:
    kinds = {
        "new window": {"kind": "window"},
        "new item": {"kind": "dictionary", "key": "item"},
        "new user": {"kind": "dictionary", "key": "user"},
    }
    if group == "new window" and default is not None:
        pytest.skip("a window of a merged list that is not there is null")
    schema = {**SCHEMA, "groups": {**SCHEMA["groups"], **({group: kinds[group]} if group in kinds else {})}}
    feature = {"kind": "ids", "group": group, **({} if default is None else {"default": default})}
    first = fold(day(1), tmp_path / "table", settings=SETTINGS)
    before = rows_of(first)
    second = day(2, schema=schema, add={"more": feature}, columns=lambda i: {"feature.more": [i // 8, i // 8 + 1]})
    table = fold(second, tmp_path / "table", settings=SETTINGS, append=True)
    table.verify()
    found = rows_of(table)
    assert found[:60] == [{**row, "feature.more": default} for row in before]
    assert [row["feature.more"] for row in found[60:]] == [[i // 8, i // 8 + 1] for i in range(60)]
    said = "null" if default is None else "[7, 8]"
    assert table.manifest.appended[0].changes == (
        f"new feature 'more' in group {group!r}: {said} in the samples before",
    )
    assert sum(len(batch.labels) for batch in batches(table)) == 90
    third = fold(
        day(3, schema=schema, add={"more": feature}, columns=lambda i: {"feature.more": [i]}),
        tmp_path / "table",
        settings=SETTINGS.model_copy(update={"partitions": 1}),
        append=True,
    )
    assert [row["feature.more"] for row in rows_of(third)[:60]] == [default] * 60
    assert third.manifest.appended[1].changes == ()


def test_a_wider_type_is_recorded_and_narrow_days_stay_as_they_were(day: Any, tmp_path: Path) -> None:
    first = fold(day(1), tmp_path / "table", settings=SETTINGS)
    files = {path: data for path, data in content(first.path).items() if path.endswith("parquet")}
    table = fold(day(2, wide=70_000), tmp_path / "table", settings=SETTINGS, append=True)
    assert table.schema.features["kind"].type == "int32"
    assert set(table.manifest.appended[0].changes) == {
        "feature 'kind': int8 -> int32",
        "feature 'tags': int8 -> int32",
    }
    after = content(table.path)
    assert {path: after[path] for path in files} == files
    alone = fold(day(2, wide=70_000), tmp_path / "alone", settings=SETTINGS)
    assert rows_of(table) == rows_of(first) + rows_of(alone)


def test_float64_after_float32(day: Any, tmp_path: Path) -> None:
    fold(day(1, types={"feature.price": pa.float32()}), tmp_path / "table", settings=SETTINGS)
    table = fold(day(2), tmp_path / "table", settings=SETTINGS, append=True)
    assert table.manifest.appended[0].changes == ("feature 'price': float -> double",)
    assert rows_of(table)[61]["feature.price"] == 1 / 7


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"features": {"seen": {"kind": "ids", "group": "history"}}},
            "feature 'seen' of the logs and of the table differ",
        ),
        ({"features": {"seen": {"kind": "sequence", "group": "profile"}}}, "group of feature 'seen'.*got profile"),
        ({"features": {"price": None}}, "the table has feature 'price', but the logs have not"),
        ({"labels": {"buy": {"event": "buy"}}}, "the labels of the logs and of the table differ"),
        (
            {"keys": {"request": "r", "candidate": "c", "user": "u", "time": "t"}},
            "the keys of the logs and of the table",
        ),
        ({"groups": {"profile": {"kind": "window"}}}, "group 'profile' of the logs and of the table differ"),
        ({"features": {"new": {"kind": "ids", "group": "history"}}}, "cannot join window group 'history'"),
        ({"features": {"new": {"kind": "id", "default": [1]}}}, "default of feature 'new' does not fit"),
    ],
)
def test_anything_else_is_one_clear_error(
    day: Any, logs_of: Any, tmp_path: Path, change: Mapping[str, Any], message: str
) -> None:
    fold(day(1), tmp_path / "table", settings=SETTINGS)
    before = content(tmp_path / "table")
    schema = {**SCHEMA, **{name: value for name, value in change.items() if name in ("labels", "keys")}}
    for part in ("features", "groups"):
        merged = {**SCHEMA[part], **change.get(part, {})}
        schema[part] = {name: value for name, value in merged.items() if value is not None}
    rows = [{**row, "feature.new": None} for row in day_rows(2)]
    types = {"feature.new": pa.list_(pa.int64()), "feature.price": pa.float64()}
    source = logs_of(schema, rows, day_outcomes(2), types=types).source()
    with pytest.raises(InputError, match=message):
        fold(source, tmp_path / "table", settings=SETTINGS, append=True)
    assert content(tmp_path / "table") == before


def test_text_after_numbers_is_refused(day: Any, logs_of: Any, tmp_path: Path) -> None:
    fold(day(1), tmp_path / "table", settings=SETTINGS)
    before = content(tmp_path / "table")
    rows = [{**row, "feature.kind": str(row["feature.kind"])} for row in day_rows(2)]
    source = logs_of(SCHEMA, rows, day_outcomes(2), types={"feature.kind": pa.string()}).source()
    with pytest.raises(InputError, match=r"column 'feature.kind' changes its type; got string after int64"):
        fold(source, tmp_path / "table", settings=SETTINGS, append=True)
    assert content(tmp_path / "table") == before


def test_the_same_logs_twice_are_refused(day: Any, tmp_path: Path) -> None:
    fold(day(1), tmp_path / "table", settings=SETTINGS)
    fold(day(2), tmp_path / "table", settings=SETTINGS, append=True)
    before = open_table(tmp_path / "table").manifest
    for number in (1, 2):
        with pytest.raises(InputError, match="these logs are in the table already"):
            fold(day(number), tmp_path / "table", settings=SETTINGS, append=True)
    assert open_table(tmp_path / "table").manifest == before
    open_table(tmp_path / "table").verify()


@pytest.mark.parametrize("default", [5, 1.5, [7]])
def test_a_default_of_another_type_is_refused(day: Any, logs_of: Any, tmp_path: Path, default: Any) -> None:
    fold(day(1), tmp_path / "table", settings=SETTINGS)
    before = content(tmp_path / "table")
    kind = "ids" if isinstance(default, list) else "id"
    schema = {**SCHEMA, "features": {**SCHEMA["features"], "word": {"kind": kind, "default": default}}}
    words = [{**row, "feature.word": ["a"] if kind == "ids" else "a"} for row in day_rows(2)]
    types = {"feature.word": pa.list_(pa.string()) if kind == "ids" else pa.string()}
    source = logs_of(schema, words, day_outcomes(2), types=types).source()
    with pytest.raises(InputError, match=r"default of feature 'word' is of another type.*expected string"):
        fold(source, tmp_path / "table", settings=SETTINGS, append=True)
    assert content(tmp_path / "table") == before


def test_a_new_item_group_that_a_day_without_validation_brings(day: Any, tmp_path: Path) -> None:
    """The split that the day has not gets its rows of defaults when they are first needed."""
    schema = {**SCHEMA, "groups": {**SCHEMA["groups"], "new": {"kind": "dictionary", "key": "item"}}}
    add = {"more": {"kind": "ids", "group": "new", "default": [7, 8]}}
    own = {"schema": schema, "add": add, "columns": lambda i: {"feature.more": [i % 9]}}
    fold(day(1), tmp_path / "table", settings=SETTINGS)
    no_validation = SETTINGS.model_copy(update={"split_time": 0.0})
    for number, settings in ((2, no_validation), (3, SETTINGS)):
        table = fold(day(number, **own), tmp_path / "table", settings=settings, append=True)
        table.verify()
        for row in rows_of(table):
            old = row["request"] < 2000
            assert row["feature.more"] == ([7, 8] if old else [row["request"] % 1000 % 9])


def test_a_feature_that_was_null_throughout_takes_any_type(day: Any, logs_of: Any, tmp_path: Path) -> None:
    schema = {**SCHEMA, "features": {**SCHEMA["features"], "word": {"kind": "id", "group": "sample"}}}
    none = [{**row, "feature.word": None} for row in day_rows(1)]
    some = [{**row, "feature.word": f"w{row['request'] % 3}"} for row in day_rows(2)]
    first = logs_of(schema, none, day_outcomes(1), types={"feature.word": pa.int64()}).source()
    second = logs_of(schema, some, day_outcomes(2), types={"feature.word": pa.string()}).source()
    fold(first, tmp_path / "table", settings=SETTINGS)
    table = fold(second, tmp_path / "table", settings=SETTINGS, append=True)
    assert [row["feature.word"] for row in rows_of(table)] == [row["feature.word"] for row in [*none, *some]]
    assert sum(batch.num_samples for batch in batches(table)) == 90


def test_a_side_table_without_rows_keeps_its_types(logs_of: Any, tmp_path: Path) -> None:
    schema: dict[str, Any] = {
        "keys": {"request": "r", "user": "u", "time": "t"},
        "labels": {"y": {"column": "y"}},
        "features": {"home": {"kind": "id", "side": "users"}},
        "sides": {"users": {"files": "users*", "key": "user", "column": "u"}},
    }

    def logs(number: int, users: list[Row]) -> LogSource:
        rows = [{"request": 100 * number + i, "user": i, "time": 10**6 * number + i, "label.y": 0.0} for i in range(20)]
        source: LogSource = logs_of(schema, rows, sides={"users": users}).source()
        return source

    known = [{"key": i, "feature.home": 3000 + i} for i in range(20)]
    fold(logs(1, known), tmp_path / "table", settings=SETTINGS)
    fold(logs(2, []), tmp_path / "table", settings=SETTINGS, append=True)
    table = fold(logs(3, known), tmp_path / "table", settings=SETTINGS, append=True)
    homes = [row["feature.home"] for row in rows_of(table)]
    assert homes == [*range(3000, 3020), *[None] * 20, *range(3000, 3020)]


def test_parts_that_are_gone_are_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it cleans up after an error: the next append writes everything again."""
    for number in (1, 2):
        small_files(tmp_path / f"day-{number}", number)
    for name in ("undisturbed", "table"):
        fold(tmp_path / "day-1", tmp_path / name, settings=SETTINGS)
    fold(tmp_path / "day-2", tmp_path / "undisturbed", settings=SETTINGS, append=True)

    def interrupt(what: str, done: int, total: int | None) -> None:
        if (what, done) == ("write", 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fold(tmp_path / "day-2", tmp_path / "table", settings=SETTINGS, append=True, progress=interrupt)
    for path in (tmp_path / "table" / "train").glob("part-0000[3-9].parquet"):
        path.unlink()
    fold(tmp_path / "day-2", tmp_path / "table", settings=SETTINGS, append=True)
    assert content(tmp_path / "table") == content(tmp_path / "undisturbed")


def test_settings_that_all_days_share_are_the_tables(day: Any, tmp_path: Path) -> None:
    by_request = SETTINGS.model_copy(update={"fold_by": "request"})
    fold(day(1), tmp_path / "table", settings=by_request)
    with pytest.raises(InputError, match="the table was folded with another fold_by; got 'user'; expected 'request'"):
        fold(day(2), tmp_path / "table", settings=FoldSettings(fold_by="user"), append=True)
    table = fold(day(2), tmp_path / "table", settings=FoldSettings(split_time=0.5), append=True)
    assert table.manifest.fold_by == "request"
    assert table.manifest.splits["train"].units == 75
    assert table.manifest.splits["validation"].units == 45


def test_there_must_be_a_table(day: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="table does not exist"):
        fold(day(1), tmp_path / "table", append=True)
    assert not (tmp_path / "table").exists()


def test_a_table_of_an_older_version_is_added_to(day: Any, tmp_path: Path) -> None:
    """It has no digest, no sketches and no codes."""
    first = fold(day(1), tmp_path / "table", settings=SETTINGS)
    rows = rows_of(first)
    path = tmp_path / "table" / "manifest.json"
    data = {**json.loads(path.read_text()), "format_version": 1}
    for name in ("digest", "sketches", "columns", "appended", "weighed"):
        data.pop(name, None)
    path.write_text(json.dumps({**data, "checksum": checksum_of(data)}))
    assert open_table(tmp_path / "table").manifest.format_version == 1
    table = fold(day(2, wide=5), tmp_path / "table", settings=SETTINGS, append=True)
    table.verify()
    assert table.manifest.format_version == 2
    assert table.schema.features["kind"].distinct == 18  # 14, but nobody can tell
    alone = fold(day(2, wide=5), tmp_path / "alone", settings=SETTINGS)
    assert rows_of(table) == rows + rows_of(alone)


@pytest.mark.parametrize("step", ["read impressions", "read outcomes", "join", "partition", "fold", "write"])
def test_a_failed_append_leaves_the_table_as_it_was(day: Any, tmp_path: Path, step: str) -> None:
    fold(day(1), tmp_path / "table", settings=SETTINGS)
    before = content(tmp_path / "table")

    def fail(what: str, done: int, total: int | None) -> None:
        if what == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fold(day(2), tmp_path / "table", settings=SETTINGS, append=True, progress=fail)
    assert content(tmp_path / "table") == before


def test_what_a_killed_append_left_is_removed_by_the_next(day: Any, tmp_path: Path) -> None:
    fold(day(1), tmp_path / "table", settings=SETTINGS)
    undisturbed = tmp_path / "undisturbed"
    fold(day(1), undisturbed, settings=SETTINGS)
    fold(day(2), undisturbed, settings=SETTINGS, append=True)
    for left in ("train/part-00003.parquet", "train/part-00077.parquet", "train/item-00001.parquet"):
        (tmp_path / "table" / left).write_bytes(b"half")
    (tmp_path / "table" / "train" / "mine.txt").write_bytes(b"mine")
    fold(day(2), tmp_path / "table", settings=SETTINGS, append=True)
    assert content(tmp_path / "table") == {**content(undisturbed), "train/mine.txt": b"mine"}


def test_two_appends_at_once_are_refused(day: Any, tmp_path: Path) -> None:
    fold(day(1), tmp_path / "table", settings=SETTINGS)
    with (
        Staging(tmp_path / "table" / ".append", tmp_path / "table"),
        pytest.raises(InputError, match="another process is writing"),
    ):
        fold(day(2), tmp_path / "table", settings=SETTINGS, append=True)
    assert len(fold(day(2), tmp_path / "table", settings=SETTINGS, append=True).manifest.appended) == 1


def small_files(folder: Path, number: int) -> None:
    """A day of 90 samples in files."""
    text = """
[logs]
impressions = "*.parquet"
[keys]
request = "r"
user = "u"
time = "t"
time_unit = "us"
[labels.y]
column = "y"
[features]
x = { kind = "ids" }
"""
    folder.mkdir()
    (folder / "features.toml").write_text(text)
    shown = {"r": [1000 * number + i for i in range(90)], "u": [i // 9 for i in range(90)]}
    shown |= {"t": [10**9 * number + i for i in range(90)], "y": [0.0] * 90, "x": [[i // 30] for i in range(90)]}
    pq.write_table(pa.table(shown), folder / "0.parquet")


def test_an_interrupted_append_of_files_goes_on(tmp_path: Path) -> None:
    for number in (1, 2):
        small_files(tmp_path / f"day-{number}", number)
    for name in ("undisturbed", "table"):
        fold(tmp_path / "day-1", tmp_path / name, settings=SETTINGS)
    fold(tmp_path / "day-2", tmp_path / "undisturbed", settings=SETTINGS, append=True)
    for step, at in (("fold", 2), ("write", 1), ("write", 4)):

        def interrupt(what: str, done: int, total: int | None, step: str = step, at: int = at) -> None:
            if (what, done) == (step, at):
                raise KeyboardInterrupt

        before = open_table(tmp_path / "table")
        with pytest.raises(KeyboardInterrupt):
            fold(tmp_path / "day-2", tmp_path / "table", settings=SETTINGS, append=True, progress=interrupt)
        assert open_table(tmp_path / "table").manifest == before.manifest
        assert (tmp_path / "table" / ".append").exists()
    steps: list[str] = []
    fold(
        tmp_path / "day-2",
        tmp_path / "table",
        settings=SETTINGS,
        append=True,
        progress=lambda what, done, total: steps.append(what),
    )
    assert set(steps) == {"fold", "write"}
    assert content(tmp_path / "table") == content(tmp_path / "undisturbed")
