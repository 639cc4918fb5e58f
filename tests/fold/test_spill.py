"""Partitions larger than memory."""

from pathlib import Path
from typing import Any

import pytest

from recfold.fold import FoldSettings, fold

SCHEMA: dict[str, Any] = {
    "keys": {"request": "r", "session": "s", "user": "u", "time": "t"},
    "labels": {"y": {"column": "y"}},
    "features": {"seen": {"kind": "ids", "group": "context"}, "home": {"kind": "id", "group": "profile"}},
    "groups": {"context": {"kind": "session"}, "profile": {"kind": "dictionary", "key": "user"}},
}
# one user with nearly everything, some of it without a session id
ROWS = [
    {
        "request": i,
        "session": None if i % 5 == 0 else i // 20,
        "user": 1 if i % 50 else 2,
        "time": i,
        "label.y": 0.0,
        "feature.seen": list(range(i // 7, i // 7 + 10)),
        "feature.home": 3,
    }
    for i in range(400)
]
SMALL = 1e-5
"""GiB that hold a few dozen of these rows."""


@pytest.mark.parametrize("by", ["session", "request", "user"])
def test_a_user_larger_than_memory_is_parted_between_units(logs_of: Any, tmp_path: Path, by: Any) -> None:
    logs = logs_of(SCHEMA, ROWS, chunks=4)
    whole = fold(logs.source(), tmp_path / "whole", settings=FoldSettings(fold_by=by, split_time=0, workers=1))
    small = fold(
        logs.source(), tmp_path / "small", settings=FoldSettings(fold_by=by, split_time=0, workers=1, memory_gb=SMALL)
    )
    users = [
        {user for index in range(part.num_row_groups) for user in part.row_group(index)["user"].to_pylist()}
        for part in small.parts("train")
    ]
    parts_of_user = sum(1 in found for found in users)
    assert parts_of_user == 1 if by == "user" else parts_of_user > 1
    assert small.manifest.splits["train"].units == whole.manifest.splits["train"].units
    assert small.manifest.splits["train"].distinct["context"] == whole.manifest.splits["train"].distinct["context"]
    expanded = sorted((row for rows in small.expand() for row in rows.to_pylist()), key=lambda row: row["request"])
    assert expanded == [{**row, "split": "train"} for row in ROWS]
    assert small.manifest.settings["memory_gb"] == SMALL


def test_requests_of_a_user_larger_than_memory_keep_their_visits(logs_of: Any, tmp_path: Path) -> None:
    """Visits that only pauses tell apart are the same ones whether or not the user's requests had to part."""
    schema = {**SCHEMA, "keys": {"request": "r", "user": "u", "time": "t"}}
    minute = 60_000_000
    rows = [
        {
            "request": i,
            "user": 1,
            "time": i * minute + (i // 100) * 45 * minute,
            "label.y": 0.0,
            "feature.seen": [i // 9],
            "feature.home": 3,
        }
        for i in range(3000)
    ]
    logs, found = logs_of(schema, rows), []
    for name, memory_gb in (("whole", 1.0), ("small", 2e-4)):
        own = FoldSettings(fold_by="request", split_time=0, workers=1, memory_gb=memory_gb)
        table = fold(logs.source(), tmp_path / name, settings=own)
        visits: dict[Any, set[int]] = {}
        for part in table.parts("train"):
            for index in range(part.num_row_groups):
                read = part.row_group(index, ["session", "sample.request"])
                for visit, requests in zip(*(read[column].to_pylist() for column in read.column_names), strict=True):
                    visits.setdefault(visit, set()).update(requests)
        found.append(sorted(sorted(requests) for requests in visits.values()))
    assert len(found[0]) == 30
    assert found[0] == found[1]
