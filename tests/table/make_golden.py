"""Makes the golden table of the present format version: `python tests/table/make_golden.py tests/table/golden/v2`.

Only for a new format version: the golden tables of released versions stay as they are.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recfold.fold import FoldSettings, finish, fold
from recfold.logs import REJECTED, Chunk, LogSource
from recfold.spec import Schema
from recfold.table.id_codes import IdCoding

SCHEMA: dict[str, Any] = {
    "keys": {
        "request": "request",
        "candidate": "item",
        "session": "session",
        "user": "user",
        "time": "time",
        "split": "split",
    },
    "outcomes": {"request": "request", "candidate": "item", "time": "time"},
    "labels": {"click": {"event": "click"}},
    "features": {
        "country": {"kind": "id", "group": "context"},
        "interests": {"kind": "ids", "group": "context", "weights": "interest_weights"},
        "seen": {"kind": "sequence", "group": "history"},
        "dwell": {"kind": "dense_sequence", "group": "history"},
        "topics": {"kind": "ids", "group": "item"},
        "content": {"kind": "vector", "group": "item"},
        "segment": {"kind": "id", "side": "users"},
        "price": {"kind": "dense", "group": "sample"},
    },
    "groups": {
        "context": {"kind": "session"},
        "history": {"kind": "window"},
        "item": {"kind": "dictionary", "key": "item"},
    },
    "sides": {"users": {"files": "users*", "key": "user", "column": "user"}},
    "infer": False,
}
COLUMNS = (
    "request",
    "candidate",
    "session",
    "user",
    "time",
    "split",
    "feature.country",
    "feature.interests",
    "feature.interests.weights",
    "feature.seen",
    "feature.dwell",
    "feature.topics",
    "feature.content",
    "feature.price",
)
A, B = [[5], [0.5, -0.0]], [[6, 5], [float("inf"), 1.0]]
IMPRESSIONS: list[tuple[Any, ...]] = [
    (101, "A", 70, "u1", 1000, "train", "dk", [3, 4], [1.0, 0.5], [11, 12], [1.0, 2.0], *A, 9.5),
    (102, "B", 70, "u1", 2000, "train", "dk", [3, 4], [1.0, 0.5], [11, 12, 13], [1.0, 2.0, None], *B, None),
    (103, "A", 70, "u1", 3000, "train", "dk", [], [], [12, 13, 14], [2.0, None, 0.5], *A, 9.0),
    (104, "B", 71, "u2", 1500, "train", None, None, None, None, None, *B, 8.0),
    (104, "A", 71, "u2", 1500, "train", None, None, None, None, None, *A, 9.5),
    (104, "A", 71, "u2", 1500, "train", None, None, None, None, None, *A, 9.5),
    (105, "A", 72, "u1", 9000, "validation", "dk", [3], [2.0], [13, 14, 15], [None, 0.5, 4.0], *A, 7.0),
]
OUTCOMES = [(102, "B", "click", 2500), (104, "A", "click", 1400), (999, "A", "click", 1400)]
USERS = [("u1", 7)]


def chunks(table: pa.Table) -> Any:
    def read() -> Iterator[Chunk]:
        yield Chunk(table, REJECTED.empty_table())

    return read


def columns_of(rows: list[tuple[Any, ...]], types: dict[str, pa.DataType | None]) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table({name: pa.array(values, types[name]) for name, values in zip(types, columns, strict=True)})


def golden_source() -> LogSource:
    """The logs of docs/FORMAT.md."""
    floats = {"feature.interests.weights": pa.list_(pa.float32()), "feature.content": pa.list_(pa.float32())}
    impressions = columns_of(IMPRESSIONS, {name: floats.get(name) for name in COLUMNS})
    outcomes = columns_of(OUTCOMES, dict.fromkeys(("request", "candidate", "event", "time")))
    users = columns_of(USERS, dict.fromkeys(("key", "feature.segment")))
    schema = Schema.parse(SCHEMA, "golden")
    return LogSource(schema, chunks(impressions), chunks(outcomes), {"users": chunks(users)}, (), "the golden logs")


def codings(files: Any, schema: Schema, ranges: Any) -> dict[str, IdCoding]:
    """So few ids would not get codes."""
    return {"seen": IdCoding(np.array([13, 12]), 11)}


if __name__ == "__main__":
    finish.choose_codings = codings
    fold(golden_source(), Path(sys.argv[1]), settings=FoldSettings(row_group_samples=3, partitions=1))
