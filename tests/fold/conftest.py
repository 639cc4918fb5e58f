"""Logs in memory: canonical rows as Python dicts to a LogSource."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from recfold.logs import REJECTED, Chunk, LogSource
from recfold.spec import Schema

Row = dict[str, Any]
TYPES = {
    "id": pa.int64(),
    "ids": pa.list_(pa.int64()),
    "sequence": pa.list_(pa.int64()),
    "dense": pa.float64(),
    "dense_sequence": pa.list_(pa.float64()),
    "vector": pa.list_(pa.float32()),
}


@dataclass(frozen=True)
class Logs:
    """Rows of every log; `types` overrides the type of a column; `chunks` cuts the impressions into so many pieces."""

    schema: dict[str, Any]
    impressions: Sequence[Row]
    outcomes: Sequence[Row] | None = None
    sides: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    chunks: int = 1

    def parsed(self) -> Schema:
        return Schema.parse(self.schema, "test")

    def source(self) -> LogSource:
        sides = {name: self._rows(rows) for name, rows in self.sides.items()}
        outcomes = None if self.outcomes is None else self._rows(self.outcomes, 1)
        return LogSource(
            self.parsed(), self._rows(self.impressions, self.chunks), outcomes, sides, (), "rows in memory"
        )

    def _rows(self, rows: Sequence[Row], chunks: int = 1) -> Callable[[], Iterator[Chunk]]:
        names = list(rows[0]) if rows else []
        columns = {name: pa.array([row[name] for row in rows], self._type(name)) for name in names}
        table = pa.table(columns)
        size = max(1, -(-table.num_rows // chunks))

        def read() -> Iterator[Chunk]:
            for begin in range(0, table.num_rows, size):
                yield Chunk(table.slice(begin, size), REJECTED.empty_table())

        return read

    def _type(self, column: str) -> pa.DataType:
        if column in self.types:
            return self.types[column]
        if column.endswith(".weights"):
            return pa.list_(pa.float32())
        if column.startswith("feature."):
            return TYPES[self.schema["features"][column.removeprefix("feature.")]["kind"]]
        if column == "weight" or column.startswith("label."):
            return pa.float32()
        return {"value": pa.float64(), "event": pa.string(), "split": pa.string()}.get(column, pa.int64())


@pytest.fixture(scope="session")
def logs_of() -> type[Logs]:
    return Logs
