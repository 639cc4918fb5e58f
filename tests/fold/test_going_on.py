"""A fold that was interrupted goes on with what was finished; one process at a time writes a table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recfold.fold import FoldSettings, fold
from recfold.spec import InputError
from recfold.table.files import NewFolder

SCHEMA = """
[logs]
impressions = "impressions/*.parquet"
outcomes = "outcomes/*.parquet"
[keys]
request = "r"
candidate = "c"
session = "s"
user = "u"
time = "t"
time_unit = "us"
[outcomes]
request = "r"
candidate = "c"
event = "e"
[labels.click]
event = "click"
[features]
seen = { kind = "sequence" }
item = { kind = "ids", group = "item" }
[groups.item]
kind = "dictionary"
key = "item"
"""
SETTINGS = FoldSettings(partitions=4, workers=1)
Steps = list[tuple[str, int]]


def write_logs(out: Path, rows: int = 200) -> Path:
    for log in ("impressions", "outcomes"):
        (out / log).mkdir(parents=True, exist_ok=True)
    shown = {
        "r": list(range(rows)),
        "c": [i % 7 for i in range(rows)],
        "s": [i // 5 for i in range(rows)],
        "u": [i // 10 for i in range(rows)],
        "t": [1000 * i for i in range(rows)],
        "seen": [[i // 5, i // 10] for i in range(rows)],
        "item": [[i % 7, 1] for i in range(rows)],
    }
    pq.write_table(pa.table(shown), out / "impressions" / "0.parquet")
    clicks = {"r": [3, 5, 999], "c": [3, 5, 1], "e": ["click"] * 3}
    pq.write_table(pa.table(clicks), out / "outcomes" / "0.parquet")
    (out / "features.toml").write_text(SCHEMA)
    return out


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_logs(tmp_path_factory.mktemp("logs") / "logs")


@pytest.fixture(scope="module")
def undisturbed(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "table"
    fold(logs, out, settings=SETTINGS)
    return content(out)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def interrupted_at(step: str, at: int) -> Callable[[str, int, int | None], None]:
    def progress(what: str, done: int, total: int | None) -> None:
        if what == step and done >= at:
            raise KeyboardInterrupt

    return progress


def recorded(steps: Steps) -> Callable[[str, int, int | None], None]:
    return lambda what, done, total: steps.append((what, done))


@pytest.mark.parametrize("step, at", [("fold", 1), ("fold", 3), ("write", 1), ("write", 5)])
def test_finished_partitions_are_not_folded_again(
    logs: Path, undisturbed: dict[str, bytes], tmp_path: Path, step: str, at: int
) -> None:
    out, steps = tmp_path / "table", Steps()
    with pytest.raises(KeyboardInterrupt):
        fold(logs, out, settings=SETTINGS, progress=interrupted_at(step, at))
    assert not out.exists()
    folded = set((tmp_path / ".table.partial" / ".work" / "folded").glob("*.json"))
    assert len(folded) == (at if step == "fold" else 4)
    ages = {path: path.stat().st_mtime_ns for path in folded}
    with pytest.raises(KeyboardInterrupt):  # and once more, at the last moment
        fold(logs, out, settings=SETTINGS, progress=interrupted_at("write", 6))
    assert {path: path.stat().st_mtime_ns for path in folded} == ages
    fold(logs, out, settings=SETTINGS.model_copy(update={"workers": 2}), progress=recorded(steps))
    assert {what for what, _ in steps} == {"fold", "write"}
    assert content(out) == undisturbed
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


@pytest.mark.parametrize("step", ["read impressions", "read outcomes", "join", "partition"])
def test_before_the_partitions_are_there_it_starts_again(
    logs: Path, undisturbed: dict[str, bytes], tmp_path: Path, step: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fold(logs, tmp_path / "table", settings=SETTINGS, progress=interrupted_at(step, 1))
    assert not list(tmp_path.iterdir())
    fold(logs, tmp_path / "table", settings=SETTINGS)
    assert content(tmp_path / "table") == undisturbed


def test_other_settings_or_other_logs_start_again(tmp_path: Path) -> None:
    logs = write_logs(tmp_path / "logs")
    for change in ("settings", "logs"):
        own, out = SETTINGS, tmp_path / change / "table"
        with pytest.raises(KeyboardInterrupt):
            fold(logs, out, settings=own, progress=interrupted_at("fold", 2))
        assert (out.with_name(".table.partial")).exists()
        if change == "settings":
            own = SETTINGS.model_copy(update={"session_gap_minutes": 5.0})
        else:
            write_logs(logs, 210)
        steps = Steps()
        fold(logs, out, settings=own, progress=recorded(steps))
        assert "read impressions" in {what for what, _ in steps}
        fold(logs, tmp_path / change / "fresh", settings=own)
        assert content(out) == content(tmp_path / change / "fresh")


def test_a_second_fold_into_one_place_is_refused(logs: Path, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    said = []

    def second(what: str, done: int, total: int | None) -> None:
        if what == "fold" and not said:
            with pytest.raises(
                InputError, match=r"another process is writing .*table; wait until it is done"
            ) as refused:
                NewFolder(tmp_path / "table")
            said.append(str(refused.value))

    fold(logs, tmp_path / "table", settings=SETTINGS, progress=second)
    assert said
    assert content(tmp_path / "table") == undisturbed


def test_what_appears_at_its_place_meanwhile_is_not_touched(logs: Path, tmp_path: Path) -> None:
    def intrude(what: str, done: int, total: int | None) -> None:
        (tmp_path / "table").mkdir(exist_ok=True)
        (tmp_path / "table" / "mine").write_text("mine")

    with pytest.raises(InputError, match="table is there already"):
        fold(logs, tmp_path / "table", settings=SETTINGS, progress=intrude)
    assert content(tmp_path) == {"table/mine": b"mine"}


def test_logs_in_memory_are_never_gone_on_with(logs_of: Any, tmp_path: Path) -> None:
    schema: dict[str, Any] = {
        "keys": {"request": "r", "session": "s", "time": "t"},
        "labels": {"y": {"column": "y"}},
        "features": {"x": {"kind": "id", "group": "sample"}},
    }
    rows = [{"request": i, "session": i, "time": i, "label.y": 0.0, "feature.x": i} for i in range(9)]
    with pytest.raises(KeyboardInterrupt):
        fold(logs_of(schema, rows).source(), tmp_path / "table", progress=interrupted_at("fold", 1))
    assert not list(tmp_path.iterdir())
