"""The first look at the logs: rows go to disk as they come, their keys go to buckets by request, types are learnt."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from recfold.fold.bits import element_hash
from recfold.fold.buckets import Buckets, read_arrow, write_arrow
from recfold.fold.columns import Extent, cast_columns, columns_of, extent_of, widen
from recfold.fold.job import Job
from recfold.fold.quarantine import Quarantine
from recfold.fold.threads import ahead, each
from recfold.logs import Chunk, LogSource
from recfold.spec import InputError, Schema, splitmix64
from recfold.table.expand import feature_columns
from recfold.table.lists import flatten, null_mask, one_array

REQUEST_BUCKETS = 64
KEYS = ("request", "candidate", "position", "session", "user", "time", "split", "weight")
_NARROW = ("request", "candidate", "position", "session", "user", "time", "split")
_PIECE_BYTES = 64 << 20


@dataclass
class Scan:
    """What the scan left: rows on disk, keys in buckets, and what was learnt.

    Attributes:
        pieces: files of impressions in the order they came; starts: number of the first row of each, and the total.
        extents: canonical column -> what it holds. widths: vector feature -> floats.
        keys: row number and keys of the impressions, by hash of the request; outcomes likewise.
        shapes: list feature -> a digest of its lengths and nulls in every row: features that have the same line up.
        bytes: of all pieces in memory.
        ranges: column of integers -> numbers between which all of these logs are.
        digest: sum of hashes of the requests and times.
    """

    keys: Buckets
    outcomes: Buckets
    pieces: list[Path] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])
    extents: dict[str, Extent] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)
    shapes: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    candidate_rows_in: int = 0
    outcomes_in: int = 0
    digest: int = 0

    @property
    def num_rows(self) -> int:
        return self.starts[-1]

    def types(self) -> dict[str, pa.DataType]:
        """The type of every column of the pieces for the whole table: the narrowest; times stay int64."""
        return {name: _type(name, extent) for name, extent in self.extents.items()}

    def times(self) -> Iterator[np.ndarray]:
        """The times of all impressions, piece by piece."""
        for path in self.pieces:
            yield one_array(read_arrow(path)["time"]).to_numpy()


def _type(name: str, extent: Extent) -> pa.DataType:
    return pa.int64() if name == "time" else extent.arrow_type()


def scan(source: LogSource, job: Job) -> Scan:
    """Read both logs once.

    Raises:
        InputError: a column is missing or of different types, or there is nothing to fold.
    """
    (job.work / "pieces").mkdir(parents=True)
    found = Scan(
        Buckets(job.work / "keys", REQUEST_BUCKETS, job.memory_bytes // 16),
        Buckets(job.work / "outcomes", REQUEST_BUCKETS, job.memory_bytes // 16),
        widths={name: feature.width for name, feature in job.schema.features.items() if feature.width is not None},
    )
    schema = job.schema
    wanted = [*KEYS, *(f"label.{name}" for name, label in schema.labels.items() if label.column is not None)]
    needed = [c for name, f in schema.features.items() if f.side is None for c in feature_columns(schema, name)]
    for chunk in ahead(source.impressions()):
        found.candidate_rows_in += chunk.rows.num_rows + _count(chunk, "impressions")
        found.outcomes_in += _count(chunk, "outcomes")
        job.quarantine.add(chunk.rejected)
        if chunk.rows.num_rows:
            _check_columns(chunk.rows, schema, needed)
        for rows in _slices(chunk.rows):
            columns = columns_of(rows, [*wanted, *needed])
            kept = _accepted(pa.table(columns), schema, found, job.quarantine)
            if kept.num_rows:
                _add_piece(kept, job, found)
        job.report("read impressions", found.candidate_rows_in, None)
    if found.num_rows == 0:
        raise InputError(
            "there is nothing to fold",
            got=_nothing(found.candidate_rows_in, job.quarantine.counts("impressions")),
        )
    if source.outcomes is None and any(label.event is not None for label in schema.labels.values()):
        raise InputError("a label comes from an event, but the logs have no outcomes", todo="say where they are")
    if source.outcomes is not None:
        _scan_outcomes(source.outcomes(), found, job)
    return found


def _nothing(rows: int, reasons: Mapping[str, int]) -> str:
    if rows == 0:
        return "impressions without a single row"
    return f"{rows} impressions, none usable: " + ", ".join(f"{count} {reason}" for reason, count in reasons.items())


def _count(chunk: Chunk, source: str) -> int:
    if chunk.rejected.num_rows == 0:
        return 0
    return int(pc.sum(pc.equal(chunk.rejected["source"], source)).as_py())


def _slices(rows: pa.Table) -> Iterator[pa.Table]:
    """Pieces of a chunk small enough to hold a few of."""
    size = max(1, rows.num_rows * _PIECE_BYTES // max(rows.nbytes, 1))
    for begin in range(0, rows.num_rows, size):
        yield rows.slice(begin, size)


def _check_columns(rows: pa.Table, schema: Schema, needed: list[str]) -> None:
    keys = [name for name in schema.keys.columns() if name != "weight" or schema.keys.weight]
    labels = [f"label.{name}" for name, label in schema.labels.items() if label.column is not None]
    for name in (*keys, *labels, *needed):
        if name not in rows.column_names:
            raise InputError(f"the impressions have no column {name!r}", got=", ".join(rows.column_names)[:200])


def _accepted(rows: pa.Table, schema: Schema, found: Scan, quarantine: Quarantine) -> pa.Table:
    """The rows that can be folded; the others go to quarantine."""
    reasons = np.full(rows.num_rows, None, object)
    nulls = {name: one_array(rows[name]).is_null().to_numpy(False) for name in KEYS if name in rows.column_names}
    everywhere = np.ones(rows.num_rows, bool)
    reasons[nulls.get("session", everywhere) & nulls.get("user", everywhere)] = "null session and user"
    for name in ("time", "candidate", "request"):
        if name in nulls:
            reasons[nulls[name]] = f"null {name}"
    if "split" in rows.column_names:
        reasons[unknown_split(rows)] = "unknown split"
    for wrong, reason in feature_faults(rows, schema, None, found.widths):
        reasons[wrong] = reason
    return without_faulty("impressions", rows, reasons, quarantine)


def without_faulty(source: str, rows: pa.Table, reasons: np.ndarray, quarantine: Quarantine) -> pa.Table:
    """The rows that have no reason; the others go to quarantine."""
    bad = reasons.astype(bool)
    if not bad.any():
        return rows
    quarantine.reject(source, rows.filter(pa.array(bad)), pa.array(reasons[bad].tolist(), pa.string()))
    return rows.filter(pa.array(~bad))


def unknown_split(rows: pa.Table) -> np.ndarray:
    """Rows whose split is neither train nor validation."""
    known = pc.is_in(rows["split"], pa.array(["train", "validation"]))
    return ~one_array(known).to_numpy(zero_copy_only=False)


def feature_faults(
    rows: pa.Table, schema: Schema, side: str | None, widths: dict[str, int]
) -> Iterator[tuple[np.ndarray, str]]:
    """Rows whose features contradict the schema, with the reason: for the impressions (side None) or a side table.

    Args:
        widths: of the vectors seen so far; added to.
    """
    for name, feature in schema.features.items():
        if feature.side == side:
            if feature.kind == "vector":
                yield _wrong_width(rows, name, feature.width, widths), f"vector {name!r} of another width"
            if feature.weights is not None:
                yield _misaligned(rows, *feature_columns(schema, name)), f"weights of {name!r} do not line up"
    for group, spec in schema.groups.items():
        names = [name for name in schema.features_of(group) if schema.features[name].side == side]
        if spec.kind == "window":
            for other in names[1:]:
                wrong = _misaligned(rows, f"feature.{names[0]}", f"feature.{other}")
                yield wrong, f"lists of window group {group!r} do not line up"


def _misaligned(rows: pa.Table, a: str, b: str) -> np.ndarray:
    first, second = flatten(one_array(rows[a])), flatten(one_array(rows[b]))
    none = np.zeros(rows.num_rows, bool)
    wrong = first.lengths != second.lengths
    wrong |= (none if first.null is None else first.null) != (none if second.null is None else second.null)
    return wrong


def _wrong_width(rows: pa.Table, feature: str, width: int | None, widths: dict[str, int]) -> np.ndarray:
    column = one_array(rows[f"feature.{feature}"])
    if pa.types.is_null(column.type):
        return np.zeros(rows.num_rows, bool)
    null = null_mask(column)
    lengths = flatten(column).lengths
    given = np.ones(len(lengths), bool) if null is None else ~null
    if width is None and given.any():
        width = widths.get(feature, int(lengths[given][0]))
    if width is None:
        return ~given & given
    widths[feature] = width
    return given & (lengths != width)


def _add_piece(rows: pa.Table, job: Job, found: Scan) -> None:
    names = [name for name in rows.column_names if name != "split"]
    found_now = each(lambda name: extent_of(name, one_array(rows[name])), names)
    extents = dict(zip(names, found_now, strict=True))
    for name, extent in extents.items():
        found.extents[name] = widen(name, found.extents.get(name, job.known.get(name)), extent)
        if pa.types.is_integer(extent.type):
            low, high = found.ranges.get(name, (extent.low, extent.high))
            found.ranges[name] = min(low, extent.low), max(high, extent.high)
    types = {name: _type(name, extent) for name, extent in extents.items()}
    for name, extent in extents.items():
        if extent.list and name.startswith("feature."):
            found.shapes[name] = _shape(found.shapes.get(name, ""), one_array(rows[name]))
    piece = cast_columns(rows, types)
    path = job.work / "pieces" / f"{len(found.pieces):05d}.arrow"
    write_arrow(path, piece)
    found.pieces.append(path)
    found.bytes += piece.nbytes
    columns = columns_of(rows, _NARROW)
    if "split" in columns:
        columns["split"] = pc.equal(columns["split"], "validation").cast(pa.int8())
    columns["row"] = pa.array(np.arange(found.num_rows, found.num_rows + rows.num_rows))
    requests = element_hash(columns["request"])
    found.keys.add(pa.table(columns), _bucket_of(requests))
    times = columns["time"].to_numpy().view(np.uint64)
    found.digest = (found.digest + int(splitmix64(requests ^ splitmix64(times)).sum(dtype=np.uint64))) % (1 << 64)
    found.starts.append(found.num_rows + rows.num_rows)


def _scan_outcomes(chunks: Iterator[Chunk], found: Scan, job: Job) -> None:
    number = 0
    for chunk in ahead(chunks):
        found.outcomes_in += chunk.rows.num_rows + _count(chunk, "outcomes")
        found.candidate_rows_in += _count(chunk, "impressions")
        job.quarantine.add(chunk.rejected)
        columns = columns_of(chunk.rows, ("request", "candidate", "event", "value", "time"))
        if not chunk.rows.num_rows:
            continue
        for key in ("request", "candidate"):
            if key in columns and key in found.extents:
                ours = extent_of(key, columns[key]).type
                if ours != found.extents[key].type:
                    raise InputError(
                        f"{key!r} is {ours} in the outcomes but {found.extents[key].type} in the impressions",
                        todo="write it with one type in both logs",
                    )
        columns["outcome"] = pa.array(np.arange(number, number + chunk.rows.num_rows))
        number += chunk.rows.num_rows
        found.outcomes.add(pa.table(columns), _bucket_of(element_hash(columns["request"])))
        job.report("read outcomes", found.outcomes_in, None)


def _bucket_of(request_hashes: np.ndarray) -> np.ndarray:
    return (request_hashes % np.uint64(REQUEST_BUCKETS)).astype(np.int64)


def _shape(known: str, column: pa.Array) -> str:
    """The digest of the rows so far and these."""
    flat = flatten(column)
    lengths = flat.lengths if flat.null is None else np.where(flat.null, -1, flat.lengths)
    return xxhash.xxh3_128_hexdigest(known.encode() + np.ascontiguousarray(lengths).tobytes())
