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
