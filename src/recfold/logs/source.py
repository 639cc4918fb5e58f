"""LogSource: logs in canonical form, whatever files they come from."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from recfold.spec import Schema

REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("content", pa.string()),
    ]
)
"""Rejected rows: `impressions`, `outcomes` or `side:NAME`; file; row in it from 0 (-1: unknown); why; row as JSON."""


@dataclass(frozen=True)
class Chunk:
    """A piece of a log.

    Args:
        rows: canonical columns. Impressions: request, candidate, position, session, user (int64 or string), time (int64
            microseconds UTC), split, weight (float32), label.NAME (float32), feature.NAME, feature.NAME.weights; one
            row per (request, candidate). Outcomes: request, candidate, event, value (float64), time. A side table: key,
            split, feature.NAME. Absent keys are absent columns.
        rejected: rows that could not be used, with the columns of `REJECTED`.
    """

    rows: pa.Table
    rejected: pa.Table


Rows = Callable[[], Iterator[Chunk]]
"""Starts reading a log from its beginning."""


@dataclass(frozen=True)
class LogSource:
    """Two logs (or one that is joined already) and the tables that they refer to.

    Args:
        schema: every feature has a kind; groups are those that are known.
        impressions: one row per (request, candidate).
        outcomes: None where the impressions hold the labels.
        sides: side table -> its rows.
        inferred: what was guessed, in lines.
        description: one line.
        identity: changes when the files change; empty where nobody can tell.
    """

    schema: Schema
    impressions: Rows
    outcomes: Rows | None
    sides: Mapping[str, Rows]
    inferred: tuple[str, ...]
    description: str
    identity: str = ""


def nothing_rejected() -> pa.Table:
    """A table of no rejected rows."""
    return REJECTED.empty_table()
