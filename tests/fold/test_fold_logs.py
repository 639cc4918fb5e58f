"""The whole fold: what does not change its bytes, what it fills in, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import recfold
from recfold.fold import FoldSettings, fold
from recfold.spec import InputError
from recfold.table import FoldedTable

HOUR = 3_600_000_000
SCHEMA: dict[str, Any] = {
    "keys": {"request": "r", "candidate": "c", "position": "p", "session": "s", "user": "u", "time": "t"},
    "outcomes": {"request": "r", "candidate": "c", "event": "e", "time": "t"},
    "labels": {"click": {"event": "click"}},
    "features": {
        "city": {"kind": "id"},
        "likes": {"kind": "ids"},
        "age": {"kind": "dense"},
        "price": {"kind": "dense"},
        "taste": {"kind": "vector", "group": "taste"},
        "seen": {"kind": "sequence", "group": "history"},
        "topics": {"kind": "ids", "group": "item"},
        "home": {"kind": "id", "side": "users"},
    },
    "groups": {"history": {"kind": "window"}, "item": {"kind": "dictionary", "key": "item"}},
    "sides": {"users": {"files": "users*", "key": "user", "column": "u"}},
}


def rows_of(num_sessions: int, seed: int = 0) -> dict[str, Any]:
    """The arguments of Logs: sessions of 1 to 12 samples, a click on one in five, a side row for most users."""
    rng = np.random.default_rng(seed)
    impressions, outcomes = [], []
    for session in range(num_sessions):
        user, start = int(rng.integers(0, num_sessions // 3 + 1)), int(rng.integers(0, 50)) * HOUR
        likes = rng.integers(0, 300, 3).tolist()
        for i in range(int(rng.integers(1, 13))):
            request, candidate = 1000 * session + i // 3, int(rng.integers(0, 40))
            time = start + (i // 3) * 60_000_000
            impressions.append(
                {
                    "request": request,
                    "candidate": candidate,
                    "position": i % 3,
                    "session": session if session % 5 else None,
                    "user": user,
                    "time": time,
                    "feature.city": user % 7,
                    "feature.likes": likes,
                    "feature.age": float(user),
                    "feature.price": float(rng.random()),
                    "feature.taste": [0.5, float(user)],
                    "feature.seen": list(range(i // 4, i // 4 + 5)),
                    "feature.topics": [candidate, candidate + 1000],
                }
            )
            if rng.random() < 0.2:
                outcomes.append({"request": request, "candidate": candidate, "event": "click", "time": time + 5})
    users = [{"key": user, "feature.home": 2**40 + user} for user in range(0, num_sessions, 2)]
    return {"schema": SCHEMA, "impressions": impressions, "outcomes": outcomes, "sides": {"users": users}}


@pytest.fixture(scope="module")
def drawn() -> dict[str, Any]:
    return rows_of(60)


@pytest.fixture(scope="module")
def table(logs_of: Any, drawn: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> FoldedTable:
    return fold(logs_of(**drawn).source(), tmp_path_factory.mktemp("once") / "table", settings=SETTINGS)


SETTINGS = FoldSettings(partitions=3, workers=1, row_group_samples=40)


def files_of(table: FoldedTable) -> dict[str, bytes]:
    return {
        str(path.relative_to(table.path)): path.read_bytes() for path in sorted(table.path.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize(
    "changes, chunks",
    [({}, 1), ({"workers": 2}, 1), ({}, 5), ({"memory_gb": 1e-5}, 3)],
    ids=["again", "two workers", "in pieces", "next to no memory"],
)
def test_no_byte_depends_on_how_the_fold_was_run(
    logs_of: Any, drawn: dict[str, Any], table: FoldedTable, tmp_path: Path, changes: dict[str, Any], chunks: int
) -> None:
    source = logs_of(**drawn, chunks=chunks).source()
    again = fold(source, tmp_path / "table", settings=SETTINGS.updated(changes, "test"))
    assert files_of(again) == files_of(table)


def test_only_the_table_is_left_and_every_file_is_in_the_manifest(table: FoldedTable) -> None:
    assert [path.name for path in table.path.parent.iterdir()] == ["table"]
    assert set(files_of(table)) == {"manifest.json", *(entry.path for entry in table.manifest.files())}
    table.verify()


def test_fold_fills_in_types_widths_and_distinct_ids(table: FoldedTable, drawn: dict[str, Any]) -> None:
    features = table.schema.features
    assert {name: feature.type for name, feature in features.items()} == {
        "city": "int8",
        "likes": "int16",
        "age": "double",
        "price": "double",
        "taste": "float",
        "seen": "int8",
        "topics": "int16",
        "home": "int64",
    }
    assert features["taste"].width == 2
    likes = {value for row in drawn["impressions"] for value in row["feature.likes"]}
    assert features["likes"].distinct == len(likes)


def test_fold_groups_what_changes_together_and_says_why(table: FoldedTable) -> None:
    schema = table.schema
    assert schema.features_of("session_0") == ("city", "likes", "age")
    assert schema.group_of("price") == "sample"
    why = schema.groups["session_0"].chosen
    assert why is not None
    assert why.startswith("changes together: p = 0.0")
    assert schema.groups["users"].chosen == "one row per side table row"
    assert schema.groups["history"].chosen is None


def test_item_dictionary_has_no_row_twice_in_a_split(table: FoldedTable) -> None:
    for split in table.splits():
        topics = [part.dictionary("item")["feature.topics"].to_pylist() for part in table.parts(split)]
        assert topics[0] == topics[-1]
        assert len({tuple(row) for row in topics[0]}) == len(topics[0])
        stats = table.manifest.features["topics"][split]
        assert (stats.lists, stats.values) == (len(topics[0]), 2 * len(topics[0]))


def test_row_groups_are_sized_in_samples(table: FoldedTable) -> None:
    part = max(table.parts("train"), key=lambda part: part.num_samples)
    sizes = [part.row_group(index, ["n"])["n"].to_numpy().sum() for index in range(part.num_row_groups)]
    assert len(sizes) == -(-part.num_samples // 40)
    assert max(sizes) <= 40 + 12


def test_units_of_a_part_are_in_the_order_of_time(table: FoldedTable) -> None:
    for split in table.splits():
        for part in table.parts(split):
            assert (np.diff(part.unit_index()["first_time"].to_numpy()) >= 0).all()


def test_all_samples_of_a_user_are_in_one_part_of_a_split(table: FoldedTable) -> None:
    for split in table.splits():
        users = [
            {user for index in range(part.num_row_groups) for user in part.row_group(index)["user"].to_pylist()}
            for part in table.parts(split)
        ]
        assert sum(map(len, users)) == len(set().union(*users))


def test_manifest_holds_no_path_and_no_machine_setting(table: FoldedTable) -> None:
    text = (table.path / "manifest.json").read_text()
    assert str(table.path.parent) not in text
    assert table.manifest.settings == {
        "fold_by": "session",
        "partitions": 3,
        "row_group_samples": 40,
        "session_gap_minutes": 30.0,
        "split_time": None,
        "window_hours": 24.0,
    }


def test_the_room_is_the_verb(logs_of: Any, drawn: dict[str, Any], tmp_path: Path) -> None:
    found = recfold.fold(logs_of(**drawn).source(), str(tmp_path / "table"))
    assert found.splits() == ("train", "validation")


def test_progress_names_every_step(logs_of: Any, drawn: dict[str, Any], tmp_path: Path) -> None:
    said: dict[str, tuple[int, int | None]] = {}
    fold(
        logs_of(**drawn).source(),
        tmp_path / "table",
        settings=SETTINGS,
        progress=lambda what, done, total: said.update({what: (done, total)}),
    )
    samples = len(drawn["impressions"])
    assert said["read impressions"] == (samples, None)
    assert said["join"][1] == said["partition"][1] == samples
    assert said["fold"] == (3, 3)
    assert list(said) == [
        "read impressions",
        "read outcomes",
        "join",
        "partition",
        "read side table users",
        "fold",
        "write",
    ]


def test_strings_stay_strings(logs_of: Any, tmp_path: Path) -> None:
    schema: dict[str, Any] = {
        "keys": {"request": "r", "candidate": "c", "session": "s", "user": "u", "time": "t"},
        "labels": {"y": {"column": "y"}},
        "features": {
            "city": {"kind": "id"},
            "tags": {"kind": "ids", "group": "item"},
            "seen": {"kind": "sequence", "group": "history"},
            "home": {"kind": "id", "side": "users"},
        },
        "groups": {"history": {"kind": "window"}, "item": {"kind": "dictionary", "key": "item"}},
        "sides": {"users": {"files": "users*", "key": "user", "column": "u"}},
    }
    text, texts = pa.string(), pa.list_(pa.string())
    types = dict.fromkeys(("request", "candidate", "session", "user", "key", "feature.city", "feature.home"), text)
    rows = [
        {
            "request": f"r{i}",
            "candidate": "ä" * (i % 3),
            "session": None if i % 4 else f"s{i // 4}",
            "user": f"u{i % 2}",
            "time": i,
            "label.y": float(i % 2),
            "feature.city": ["", "København", None][i // 4 % 3],
            "feature.tags": [None, ["a", None], [], ["", "a"]][i % 4],
            "feature.seen": [f"N{n}" for n in range(i // 5, i // 5 + 3)],
        }
        for i in range(24)
    ]
    sides = {"users": [{"key": "u1", "feature.home": "Ærø"}]}
    logs = logs_of(schema, rows, sides=sides, types={**types, "feature.tags": texts, "feature.seen": texts})
    for by in ("session", "request", "user"):
        table = fold(logs.source(), tmp_path / by, settings=FoldSettings(fold_by=by, partitions=2, split_time=0))
        expanded = [row for found in table.expand() for row in found.to_pylist()]
        homes = {"u0": None, "u1": "Ærø"}
        expected = [{**row, "split": "train", "feature.home": homes[row["user"]]} for row in rows]
        assert sorted(expanded, key=lambda row: row["time"]) == expected
        assert table.schema.features["city"].type == table.schema.features["tags"].type == "string"


def test_folding_by_user_needs_users(logs_of: Any, tmp_path: Path) -> None:
    schema = {"keys": {"request": "r", "session": "s", "time": "t"}, "labels": {"y": {"column": "y"}}}
    rows = [{"request": 1, "session": 1, "time": 0, "label.y": 0.0}]
    with pytest.raises(InputError, match="no user column to fold by; fold by session or request"):
        fold(logs_of(schema, rows).source(), tmp_path / "table", settings=FoldSettings(fold_by="user"))


def test_an_open_source_brings_its_schema(logs_of: Any, drawn: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has its schema already"):
        fold(logs_of(**drawn).source(), tmp_path / "table", adapter="mind")


def test_missing_logs_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no logs at"):
        fold(tmp_path / "nowhere", tmp_path / "table")


def test_logs_without_samples_say_so(logs_of: Any, tmp_path: Path) -> None:
    schema = {"keys": {"request": "r", "session": "s", "time": "t"}, "labels": {"y": {"column": "y"}}}
    rows = [{"request": None, "session": 1, "time": 0, "label.y": 0.0}]
    with pytest.raises(InputError, match=r"nothing to fold; got 1 impressions, none usable: 1 null request"):
        fold(logs_of(schema, rows).source(), tmp_path / "table")
    assert not list(tmp_path.iterdir())
