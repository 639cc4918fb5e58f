"""Small logs in files, for the tests of reading them."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recfold.logs.source import Chunk
from recfold.spec import Schema

Rows = list[dict[str, Any]]


class LogFolder:
    """A folder of logs that is written piece by piece."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self, name: str, text: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def parquet(self, name: str, columns: dict[str, Any] | pa.Table, **options: Any) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
        return path

    def jsonl(self, name: str, rows: Rows) -> Path:
        return self.text(name, "".join(json.dumps(row) + "\n" for row in rows))

    def csv(self, name: str, rows: Rows) -> Path:
        path = self.text(name, "")
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(rows[0])
            writer.writerows(
                ["" if v is None else json.dumps(v) if isinstance(v, list) else v for v in row.values()] for row in rows
            )
        return path


@pytest.fixture
def logs(tmp_path: Path) -> LogFolder:
    return LogFolder(tmp_path)


@pytest.fixture
def joined() -> Callable[..., Schema]:
    """A schema of a joined log with columns r, u, t (microseconds) and label y; changed by keywords."""

    def make(**changes: Any) -> Schema:
        keys = {"request": "r", "user": "u", "time": "t", **changes.pop("keys", {})}
        data = {"logs": {"impressions": "*"}, "labels": {"y": {"column": "y"}}, **changes, "keys": keys}
        return Schema.parse(data, "features.toml")

    return make


def read(chunks: Callable[[], Iterator[Chunk]]) -> tuple[Rows, Rows]:
    """All rows and all rejected rows of a log."""
    pieces = list(chunks())
    return (
        [row for piece in pieces for row in piece.rows.to_pylist()],
        [row for piece in pieces for row in piece.rejected.to_pylist()],
    )


@pytest.fixture(name="read")
def _read() -> Callable[[Callable[[], Iterator[Chunk]]], tuple[Rows, Rows]]:
    return read
