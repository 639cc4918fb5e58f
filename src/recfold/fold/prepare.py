"""Pass 1 as a whole: logs in, samples in partitions on disk, and a document from which a later process can go on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from recfold.fold.arrange import UnitRule, arrange
from recfold.fold.assign import assign
from recfold.fold.bits import element_hash
from recfold.fold.buckets import read_arrow, write_arrow
from recfold.fold.choose import choose_groups
from recfold.fold.cut import find_cut
from recfold.fold.job import Job
from recfold.fold.partition import UNIT
from recfold.fold.scan import Scan, scan
from recfold.fold.scatter import scatter
from recfold.fold.sides import SideFiles, prepare_sides
from recfold.fold.spill import split_large
from recfold.fold.tasks import FoldTask, read_rows
from recfold.logs import LogSource
from recfold.spec import InputError, Schema, Settings
from recfold.table.expand import feature_columns
from recfold.table.files import write_text
from recfold.table.lists import one_array
from recfold.table.manifest import FileEntry, Weighed

PART_BYTES = 192 << 20
MAX_PARTS = 4096
COPIES = 5
"""About how much memory folding a partition takes, in units of its size."""
_SAMPLE_ROWS = 1 << 15
"""Groups are chosen on about so many samples."""
_SAMPLE_SEED = 11
_DOCUMENT = "prepared.json"
_TYPES = "types.arrow"


class SideEntry(Settings):
    """A side table in the work folder: see `SideFiles`."""

    key: str
    files: tuple[str | None, ...]


class Prepared(Settings):
    """What pass 1 leaves in the work folder; paths are below it.

    Args:
        log_schema: every feature has a group; weighed: what groups were weighed against.
        widths: vector feature -> floats. ranges: column of integers -> numbers between which all are.
        candidate_rows_in, outcomes_in, joined: for the accounting.
        cut: time (µs) from which on samples are validation.
        bytes: of all samples in memory; largest_bytes: of the largest partition.
        tasks: the files of each partition.
        digest: see `Manifest`.
        quarantined: source -> reason -> rows; quarantine: the files.
    """

    log_schema: Schema
    weighed: tuple[Weighed, ...]
    widths: dict[str, int]
    ranges: dict[str, tuple[int, int]]
    candidate_rows_in: int
    outcomes_in: int
    joined: int
    cut: int | None
    num_parts: int
    bytes: int
    largest_bytes: int
    digest: str
    tasks: tuple[tuple[str, ...], ...]
    sides: dict[str, SideEntry]
    quarantined: dict[str, dict[str, int]]
    quarantine: tuple[FileEntry, ...]


@dataclass(frozen=True)
class Partitions:
    """`Prepared`, and the types of all columns of the table."""

    prepared: Prepared
    types: Mapping[str, pa.DataType]

    def tasks(self, job: Job) -> list[FoldTask]:
        """What is to be folded, one after the other."""
        schema = self.prepared.log_schema
        sides = {
            name: SideFiles(
                entry.key,
                tuple(None if file is None else job.work / file for file in entry.files),
                {
                    column: self.types[column]
                    for feature, spec in schema.features.items()
                    if spec.side == name
                    for column in feature_columns(schema, feature)
                },
            )
            for name, entry in self.prepared.sides.items()
        }
        return [
            FoldTask(
                number, tuple(job.work / file for file in files), sides, schema, unit_rule(job), job.work / "folded"
            )
            for number, files in enumerate(self.prepared.tasks)
        ]


def prepare(source: LogSource, job: Job) -> Partitions:
    """Read both logs, join them, and put the samples into partitions."""
    scanned = scan(source, job)
    if f"{scanned.digest:016x}" in job.digests:
        raise InputError("these logs are in the table already", todo="append others")
    cut = find_cut(scanned, job.schema, job.settings.split_time)
    num_parts = job.settings.partitions or _num_parts(scanned, job)
    assigned = assign(scanned, job, cut, num_parts)
    parts = scatter(scanned, assigned, job, num_parts)
    sides = prepare_sides(source, scanned, job, num_parts)
    # where the user says how many partitions there are, there are so many
    most = job.memory_bytes // COPIES if job.settings.partitions is None else 2 * scanned.bytes
    files_of = split_large(parts, scanned.bytes / scanned.num_rows, most, job)
    chosen = choose_groups(job.schema, _sample(files_of, unit_rule(job)), scanned.num_rows, scanned.shapes)
    types = {**scanned.types(), **{name: type for side in sides.values() for name, type in side.types.items()}}

    def below(path: Path) -> str:
        return path.relative_to(job.work).as_posix()

    prepared = Prepared(
        log_schema=chosen.schema,
        weighed=chosen.weighed,
        widths=scanned.widths,
        ranges={
            name: found
            for name, found in scanned.ranges.items()
            if name.startswith("feature.") and pa.types.is_integer(scanned.extents[name].type)
        },
        candidate_rows_in=scanned.candidate_rows_in,
        outcomes_in=scanned.outcomes_in,
        joined=assigned.joined,
        cut=cut,
        num_parts=num_parts,
        bytes=scanned.bytes,
        largest_bytes=max(sum(path.stat().st_size for path in files) for files in files_of),
        digest=f"{scanned.digest:016x}",
        tasks=tuple(tuple(map(below, files)) for files in files_of),
        sides={
            name: SideEntry(key=side.key, files=tuple(None if file is None else below(file) for file in side.files))
            for name, side in sides.items()
        },
        quarantine=job.quarantine.finish(),
        quarantined={source: job.quarantine.counts(source) for source in job.quarantine.sources()},
    )
    write_arrow(job.work / _TYPES, pa.schema(types.items()).empty_table())
    write_text(job.work / _DOCUMENT, prepared.model_dump_json(by_alias=True))
    return Partitions(prepared, types)


def prepared_before(work: Path) -> Partitions | None:
    """What an interrupted fold left in its work folder, if it got so far."""
    path = work / _DOCUMENT
    if not path.exists():
        return None
    types = {field.name: field.type for field in read_arrow(work / _TYPES).schema}
    return Partitions(Prepared.model_validate_json(path.read_text(encoding="utf-8")), types)


def unit_rule(job: Job) -> UnitRule:
    return UnitRule.of(job.settings.fold_by, job.settings.session_gap_minutes)


def _num_parts(scanned: Scan, job: Job) -> int:
    """By the size of the logs and of memory alone, so that the table does not depend on the machine's cores."""
    size = min(PART_BYTES, job.memory_bytes // (5 * COPIES))
    return min(max(1, -(-scanned.bytes // max(size, 1))), MAX_PARTS)


def _sample(files_of: Sequence[tuple[Path, ...]], rule: UnitRule) -> pa.Table:
    """Whole units of one partition of ordinary size, for choosing groups: users go to partitions by hash.

    Of a large partition all units of some users, by another hash, so that what repeats across a user's sessions does so
    here too.
    """
    counts = np.array([sum(read_arrow(path).num_rows for path in files) for files in files_of])
    rows = arrange(read_rows(files_of[int(np.flatnonzero(counts >= int(np.median(counts)))[0])]), rule)
    if rows.num_rows <= _SAMPLE_ROWS:
        return rows
    unit = one_array(rows[UNIT]).to_numpy()
    begin = np.flatnonzero(np.diff(unit, prepend=-1))
    counts = np.diff(np.append(begin, len(unit)))
    owner = element_hash(one_array(rows["session"]).take(pa.array(begin)), _SAMPLE_SEED)
    if "user" in rows.column_names:
        user = one_array(rows["user"]).take(pa.array(begin))
        owner = np.where(user.is_valid().to_numpy(zero_copy_only=False), element_hash(user, _SAMPLE_SEED), owner)
    order = np.argsort(owner, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    kept = np.zeros(len(counts), bool)
    kept[order[before < _SAMPLE_ROWS]] = True
    return rows.filter(pa.array(np.repeat(kept, counts)))
