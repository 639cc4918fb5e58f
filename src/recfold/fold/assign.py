"""Pass 1: outcomes join, and every impression learns its split, its labels and the partition it belongs to."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from recfold.fold.bits import element_hash
from recfold.fold.buckets import Buckets, both_runs
from recfold.fold.job import Job
from recfold.fold.join import join, join_rule
from recfold.fold.scan import Scan
from recfold.table.lists import one_array

_ROWS_AT_A_TIME = 1 << 18
_MAX_GROUPS = 64

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Assigned:
    """What pass 1 found.

    Attributes:
        rows: row, part, split, reason and labels of every impression, by group of pieces.
        groups: numbers of the pieces of each group.
        joined: outcomes that joined.
    """

    rows: Buckets
    groups: list[range]
    joined: int


def assign(scan: Scan, job: Job, cut: int | None, num_parts: int) -> Assigned:
    """Join, and send every impression's fate to the piece that holds its row.

    Args:
        cut: time from which on samples are validation.
        num_parts: number of partitions.
    """
    sessions = Buckets(job.work / "sessions", scan.keys.count, job.memory_bytes // 16)
    groups, bounds = _groups(scan)
    rows = Buckets(job.work / "assigned", len(groups), job.memory_bytes // 16)
    joined = _join_all(scan, job, cut, sessions, lambda table: rows.add(table, _group_of(table, bounds)))
    for run in sessions.runs(_ROWS_AT_A_TIME):
        frame = _read(sessions, run)
        assert frame is not None
        table = _destinations(frame, num_parts)
        rows.add(table, _group_of(table, bounds))
    return Assigned(rows, groups, joined)


def _join_all(
    scan: Scan, job: Job, cut: int | None, sessions: Buckets, add_rejected: Callable[[pa.Table], None]
) -> int:
    """Join bucket by bucket: samples go to `sessions`, duplicates to `add_rejected`; the number of joined outcomes."""
    rule = join_rule(job.schema, job.settings.window_hours, cut)
    empty = _read(scan.keys, [int(np.flatnonzero(scan.keys.rows)[0])])
    assert empty is not None
    joined = done = 0
    for run in both_runs(scan.keys, scan.outcomes, _ROWS_AT_A_TIME):
        impressions = _read(scan.keys, run)
        found = join(empty.clear() if impressions is None else impressions, _read(scan.outcomes, run), rule)
        joined += found.joined
        job.quarantine.reject("outcomes", _arrow(found.rejected.drop("outcome", "reason")), _reasons(found.rejected))
        done += found.impressions.height
        job.report("join", done, scan.num_rows)
        fate = found.impressions
        if "split" not in fate.columns:
            late = pl.lit(False) if cut is None else pl.col("time") >= cut
            fate = fate.with_columns(split=late.cast(pl.Int8))
        samples = _arrow(fate.filter(pl.col("reason").is_null()))
        sessions.add(samples, _session_hash(samples, sessions.count))
        rejected = fate.filter(pl.col("reason").is_not_null())
        add_rejected(_fates(_arrow(rejected), np.full(rejected.height, -1)))
    return joined


def _destinations(frame: pl.DataFrame, num_parts: int) -> pa.Table:
    """Partition by the session's first known user, else by the session."""
    names = frame.columns
    if "session" in names and "user" in names:
        order = [name for name in ("time", "request", "position", "row") if name in names]
        frame = frame.sort(order, nulls_last=True).with_columns(
            first=pl.when(pl.col("session").is_null())
            .then(pl.col("user"))
            .otherwise(pl.col("user").drop_nulls().first().over("split", "session"))
        )
        table = _arrow(frame)
        user = one_array(table["first"])
        known = user.is_valid().to_numpy(zero_copy_only=False)
        owner = np.where(known, element_hash(user), element_hash(one_array(table["session"])))
    else:
        table = _arrow(frame)
        owner = element_hash(one_array(table["user" if "user" in names else "session"]))
    return _fates(table, (owner % np.uint64(num_parts)).astype(np.int64))


def _fates(table: pa.Table, part: np.ndarray) -> pa.Table:
    labels = [name for name in table.column_names if name.startswith("label.")]
    kept = {name: table[name] for name in ("row", "split", "reason", *labels)}
    return pa.table({**kept, "part": pa.array(part.astype(np.int32))})


def _groups(scan: Scan) -> tuple[list[range], np.ndarray]:
    """Pieces in groups of neighbours, and the first row of each group."""
    size = -(-len(scan.pieces) // _MAX_GROUPS)
    groups = [range(begin, min(begin + size, len(scan.pieces))) for begin in range(0, len(scan.pieces), size)]
    return groups, np.array([scan.starts[group.start] for group in groups])


def _group_of(table: pa.Table, bounds: np.ndarray) -> np.ndarray:
    return np.searchsorted(bounds, one_array(table["row"]).to_numpy(), side="right") - 1


def _session_hash(samples: pa.Table, count: int) -> np.ndarray:
    hashes = np.zeros(samples.num_rows, np.uint64)
    for name in ("user", "session"):  # the session where there is one, else the user
        if name in samples.column_names:
            column = one_array(samples[name])
            hashes = np.where(column.is_valid().to_numpy(zero_copy_only=False), element_hash(column), hashes)
    return (hashes % np.uint64(count)).astype(np.int64)


def _read(buckets: Buckets, run: list[int]) -> pl.DataFrame | None:
    tables = [table for index in run if (table := buckets.read(index)) is not None]
    return pl.DataFrame(pl.from_arrow(pa.concat_tables(tables))) if tables else None


def _arrow(frame: pl.DataFrame) -> pa.Table:
    """A frame as Arrow with plain strings."""
    table = frame.to_arrow()
    types = [pa.string() if pa.types.is_large_string(field.type) else field.type for field in table.schema]
    return table.cast(pa.schema([field.with_type(type) for field, type in zip(table.schema, types, strict=True)]))


def _reasons(frame: pl.DataFrame) -> pa.Array:
    return one_array(_arrow(frame.select("reason"))["reason"])
