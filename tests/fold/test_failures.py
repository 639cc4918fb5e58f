"""Folds that fail say why in one line and leave nothing behind."""

import errno
from pathlib import Path
from typing import Any

import pytest

import recfold.fold.tasks as tasks
from recfold.fold import FoldSettings, fold
from recfold.spec import InputError

SCHEMA: dict[str, Any] = {
    "keys": {"request": "r", "candidate": "c", "session": "s", "user": "u", "time": "t"},
    "outcomes": {"request": "r", "candidate": "c", "event": "e"},
    "labels": {"click": {"event": "click"}},
    "features": {"x": {"kind": "id"}, "home": {"kind": "id", "side": "users"}},
    "sides": {"users": {"files": "users*", "key": "user", "column": "u"}},
}
ROWS: dict[str, Any] = {
    "schema": SCHEMA,
    "impressions": [
        {"request": i, "candidate": 1, "session": i // 2, "user": i // 4, "time": i, "feature.x": 1} for i in range(8)
    ],
    "outcomes": [{"request": 3, "candidate": 1, "event": "click"}],
    "sides": {"users": [{"key": 0, "feature.home": 1}]},
}
STEPS = ["read impressions", "read outcomes", "join", "partition", "read side table users", "fold", "write"]


@pytest.mark.parametrize("step", STEPS)
def test_an_interrupted_fold_leaves_nothing(logs_of: Any, tmp_path: Path, step: str) -> None:
    def interrupt(what: str, done: int, total: int | None) -> None:
        if what == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fold(logs_of(**ROWS).source(), tmp_path / "table", progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(logs_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tasks, "write_parquet", full)
    with pytest.raises(OSError, match="No space left on device"):
        fold(logs_of(**ROWS).source(), tmp_path / "table")
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_refused_before_any_work(logs_of: Any, tmp_path: Path) -> None:
    kept = tmp_path / "table" / "kept"
    kept.parent.mkdir()
    kept.write_text("kept")
    with pytest.raises(InputError, match="table is there already; remove it, or write to another folder"):
        fold(tmp_path / "no such logs", tmp_path / "table")
    assert [path.name for path in tmp_path.rglob("*")] == ["table", "kept"]


def test_an_empty_folder_is_used(logs_of: Any, tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    assert fold(logs_of(**ROWS).source(), tmp_path / "table").splits() == ("train",)


def test_a_file_in_the_way_is_one_line(logs_of: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        fold(logs_of(**ROWS).source(), tmp_path / "file" / "table")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failing_log_leaves_nothing(logs_of: Any, tmp_path: Path) -> None:
    source = logs_of(**ROWS).source()

    def broken() -> Any:
        yield next(source.impressions())
        raise InputError("part-1 is damaged")

    with pytest.raises(InputError, match="part-1 is damaged"):
        fold(type(source)(source.schema, broken, None, {}, (), ""), tmp_path / "table")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"impressions": [{"request": 1, "candidate": 1, "session": 1, "time": 0, "feature.x": 1}]},
            "no column 'user'",
        ),
        ({"outcomes": None}, "a label comes from an event, but the logs have no outcomes"),
        ({"sides": {"users": [{"key": 0}]}}, "side table 'users' has no column 'feature.home'"),
    ],
)
def test_missing_columns_and_logs_are_named(logs_of: Any, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fold(logs_of(**{**ROWS, **change}).source(), tmp_path / "table")


@pytest.mark.parametrize("name", ["feature", "label", "part-00000"])
def test_group_names_that_would_collide_are_refused(logs_of: Any, tmp_path: Path, name: str) -> None:
    schema = {**SCHEMA, "features": {**SCHEMA["features"], "x": {"kind": "id", "group": name}}}
    with pytest.raises(InputError, match=f"a group cannot be called '{name}'"):
        fold(logs_of(**{**ROWS, "schema": schema}).source(), tmp_path / "table")


@pytest.mark.parametrize(
    "split_time, message",
    [
        ("tomorrow", "neither a time nor a fraction; got 'tomorrow'; expected 2024-05-31T00:00:00 or 0.1"),
        (1.0, "out of range; got 1.0"),
        ("-0.5", "out of range; got -0.5"),
    ],
)
def test_a_wrong_split_time_is_one_line(logs_of: Any, tmp_path: Path, split_time: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fold(logs_of(**ROWS).source(), tmp_path / "table", settings=FoldSettings(split_time=split_time))
