"""Side tables: one row per user or item, looked up by reference instead of copied to every impression."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from recfold.fold.bits import element_hash
from recfold.fold.buckets import Buckets, read_arrow, write_arrow
from recfold.fold.columns import Extent, cast_columns, columns_of, extent_of, widen
from recfold.fold.job import Job
from recfold.fold.partition import SIDE
from recfold.fold.scan import Scan, feature_faults, unknown_split, without_faulty
from recfold.logs import LogSource
from recfold.spec import InputError
from recfold.table.expand import feature_columns
from recfold.table.lists import one_array


@dataclass(frozen=True)
class SideFiles:
    """One side table on disk.

    Attributes:
        key: column of the samples that looks it up: `user` or `candidate`.
        files: one per bucket of hash(key); None for an empty bucket.
        types: of its feature columns.
    """

    key: str
    files: tuple[Path | None, ...]
    types: Mapping[str, pa.DataType]


def prepare_sides(source: LogSource, scan: Scan, job: Job, num_parts: int) -> dict[str, SideFiles]:
    """Partition every side table by its key; a second row for the same key and split goes to quarantine.

    Raises:
        InputError: a column is missing, or the key is of another type than in the impressions.
    """
    prepared = {}
    for name, chunks in source.sides.items():
        columns = [
            column
            for feature, spec in job.schema.features.items()
            if spec.side == name
            for column in feature_columns(job.schema, feature)
        ]
        if not columns:
            continue
        key = "user" if job.schema.sides[name].key == "user" else "candidate"
        if key not in scan.extents:
            raise InputError(f"side table {name!r} is looked up by {key}, but the impressions have no {key} column")
        buckets = Buckets(job.work / f"side-{name}", num_parts, job.memory_bytes // 8)
        extents: dict[str, Extent] = {}
        for chunk in chunks():
            job.quarantine.add(chunk.rejected)
            if chunk.rows.num_rows:
                _add(chunk.rows, name, key, columns, scan, job, buckets, extents)
                job.report(f"read side table {name}", int(buckets.rows.sum()), None)
        types = {column: extents[column].arrow_type() for column in columns if column in extents}
        types |= {column: _unseen_type(job, column) for column in columns if column not in extents}
        files = tuple(_finish(name, buckets, index, types, job) for index in range(num_parts))
        prepared[name] = SideFiles(key, files, types)
    return prepared


def _unseen_type(job: Job, column: str) -> pa.DataType:
    """For a column of which no row came: as the table has it, if logs are added to one."""
    if column in job.known:
        return job.known[column].arrow_type()
    _, name, *weights = column.split(".")
    feature = job.schema.features[name]
    type = pa.int8() if feature.kind in ("id", "ids", "sequence") and not weights else pa.float32()
    return pa.list_(type) if feature.is_list or feature.kind == "vector" else type


def _add(
    rows: pa.Table,
    name: str,
    key: str,
    columns: list[str],
    scan: Scan,
    job: Job,
    buckets: Buckets,
    extents: dict[str, Extent],
) -> None:
    for column in ("key", *columns):
        if column not in rows.column_names:
            raise InputError(f"side table {name!r} has no column {column!r}", got=", ".join(rows.column_names)[:200])
    found = extent_of("key", one_array(rows["key"]))
    if found.type != scan.extents[key].type:
        raise InputError(
            f"the key of side table {name!r} is {found.type}, but {key} is {scan.extents[key].type} in the impressions",
            todo="write them with one type",
        )
    kept = pa.table(columns_of(rows, ("key", "split", *columns)))
    reasons = np.full(kept.num_rows, None, object)
    reasons[one_array(kept["key"]).is_null().to_numpy(zero_copy_only=False)] = "null key"
    if "split" in kept.column_names:
        reasons[unknown_split(kept)] = "unknown split"
    for wrong, reason in feature_faults(kept, job.schema, name, scan.widths):
        reasons[wrong] = reason
    kept = without_faulty(f"side:{name}", kept, reasons, job.quarantine)
    for column in columns:
        known = extents.get(column, job.known.get(column))
        extents[column] = widen(column, known, extent_of(column, one_array(kept[column])))
    buckets.add(kept, _bucket_of(one_array(kept["key"]), buckets.count))


def _finish(name: str, buckets: Buckets, index: int, types: Mapping[str, pa.DataType], job: Job) -> Path | None:
    table = buckets.read(index)
    if table is None:
        return None
    keys = [column for column in ("key", "split") if column in table.column_names]
    frame = pl.DataFrame(pl.from_arrow(table.select(keys)))
    again = frame.select(pl.int_range(pl.len()).over(keys) > 0).to_series().to_numpy()
    job.quarantine.reject(f"side:{name}", table.filter(pa.array(again)), "duplicate side row")
    table = table.filter(pa.array(~again))
    path = job.work / f"side-{name}-{index:05d}.arrow"
    write_arrow(path, pa.table({**columns_of(table, keys), **columns_of(cast_columns(table, dict(types)), types)}))
    return path


def load_side(files: SideFiles, keys: pa.Array) -> pa.Table:
    """The rows of a side table for these keys: `key`, maybe `split`, and the features."""
    wanted = keys.unique().drop_null()
    tables = []
    for index in np.unique(_bucket_of(wanted, len(files.files))):
        path = files.files[index]
        if path is not None:
            table = read_arrow(path)
            tables.append(table.filter(pc.is_in(table["key"], wanted.cast(table["key"].type))))
    if not tables:
        return pa.table({"key": wanted.slice(0, 0), **{name: pa.array([], type) for name, type in files.types.items()}})
    return pa.concat_tables(tables).combine_chunks()


def refer(samples: pa.Table, name: str, files: SideFiles) -> tuple[pa.Table, pa.Table]:
    """Add `side.<name>`: which row of the side table each sample refers to.

    Args:
        samples: with `split` as a number (0 train, 1 validation).
    Returns:
        the samples, and the side table's feature columns with one all-null row added at the end: what a sample whose
        key is not in the side table refers to.
    """
    side = load_side(files, one_array(samples[files.key]))
    left = pl.DataFrame(pl.from_arrow(samples.select([files.key, "split"]))).rename({files.key: "key"})
    right = pl.DataFrame(pl.from_arrow(side.select([n for n in ("key", "split") if n in side.column_names])))
    right = right.with_columns(pl.col("key").cast(left.schema["key"]), reference=pl.int_range(pl.len(), dtype=pl.Int64))
    on = ["key"]
    if "split" in right.columns:
        right = right.with_columns((pl.col("split") == "validation").cast(pl.Int8))
        on = ["key", "split"]
    found = left.join(right, on=on, how="left", maintain_order="left")["reference"].fill_null(side.num_rows)
    features = side.select(list(files.types))
    nothing = pa.table({column: pa.nulls(1, type) for column, type in files.types.items()})
    extended = pa.concat_tables([features, nothing]).combine_chunks()
    return samples.append_column(SIDE + name, pa.array(found.to_numpy())), extended


def _bucket_of(keys: pa.Array, count: int) -> np.ndarray:
    return (element_hash(keys) % np.uint64(count)).astype(np.int64)
