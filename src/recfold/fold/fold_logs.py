"""Logs to a folded table: the two passes, one step after the other."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from recfold.fold.arrange import MINUTE_US, UnitRule, arrange
from recfold.fold.assign import assign
from recfold.fold.bits import element_hash
from recfold.fold.buckets import Buckets, read_arrow
from recfold.fold.choose import choose_groups
from recfold.fold.cut import find_cut
from recfold.fold.finish import FoldedLogs, resolve, write_table
from recfold.fold.groups import declared_groups
from recfold.fold.job import Job
from recfold.fold.partition import UNIT
from recfold.fold.quarantine import Quarantine
from recfold.fold.scan import Scan, scan
from recfold.fold.scatter import scatter
from recfold.fold.settings import FoldSettings
from recfold.fold.sides import prepare_sides
from recfold.fold.sketch import Sketch, union
from recfold.fold.spill import split_large
from recfold.fold.tasks import FoldedFiles, FoldTask, fold_task, read_rows
from recfold.fold.workers import Workers
from recfold.logs import LogSource, open_logs
from recfold.spec import InputError, Schema
from recfold.table import FoldedTable, open_table
from recfold.table.files import NewFolder, Progress, check_free, write_manifest
from recfold.table.lists import one_array

_PART_BYTES = 64 << 20
_MAX_PARTS = 4096
_COPIES = 8
"""About how much memory folding a partition takes, in units of its size."""
_SMALL_BYTES = 48 << 20
"""Below it starting processes takes longer than folding."""
_SAMPLE_ROWS = 1 << 15
"""Groups are chosen on about so many samples."""
_SAMPLE_SEED = 11


def fold(
    logs: Path | str | LogSource,
    out: Path | str,
    *,
    schema: Schema | Path | str | None = None,
    adapter: str | None = None,
    settings: FoldSettings | None = None,
    progress: Progress | None = None,
) -> FoldedTable:
    """Join two logs, cluster them by session, keep every distinct list once, and write a folded table.

    The result is the same, byte for byte, for any number of workers and at every rerun. If anything fails, nothing is
    left at `out`.

    Args:
        logs: folder of the logs, or a source that is open already (its schema counts).
        out: new folder for the table.
        schema: what the columns are; `features.toml` in the folder of the logs where not given.
        adapter: a known data set instead of a schema.
        settings: how to fold.
        progress: told (what, done, total) now and then.
    Returns:
        the table, opened.
    Raises:
        InputError: the logs, the schema or the settings are wrong, `out` is there already, or a worker died.
        OSError: the disk is full, or may not be written to.

    Example:
        >>> import tempfile, pyarrow as pa
        >>> from recfold.fold import FoldSettings, fold
        >>> from recfold.logs import REJECTED, Chunk, LogSource
        >>> from recfold.spec import Schema
        >>> schema = Schema.parse({"keys": {"request": "r", "session": "s", "time": "t"}, "infer": False,
        ...     "labels": {"click": {"column": "click"}}, "features": {"history": {"kind": "sequence"}}}, "here")
        >>> rows = pa.table({"request": [1, 2], "session": [7, 7], "time": [0, 5], "feature.history": [[4, 5], [4, 5]],
        ...     "label.click": pa.array([0, 1], pa.float32())})
        >>> chunks = lambda: iter([Chunk(rows, REJECTED.empty_table())])
        >>> source = LogSource(schema, chunks, None, {}, (), "two samples")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = fold(source, f"{folder}/table", settings=FoldSettings(split_time=0))
        ...     table.parts("train")[0].row_group(0, ["n", "session_0.inverse", "feature.history"]).to_pylist()
        [{'n': 2, 'session_0.inverse': [0, 0], 'feature.history': [[4, 5]]}]

    Source: RecD (Zhao et al., MLSys 2023).
    """
    out, settings = Path(out), settings or FoldSettings()
    check_free(out)
    if not isinstance(logs, LogSource):
        source = open_logs(Path(logs), schema=schema, adapter=adapter)
    elif schema is None and adapter is None:
        source = logs
    else:
        raise ValueError("an open source has its schema already: give no schema and no adapter with it")
    if settings.fold_by == "user" and source.schema.keys.user is None:
        raise InputError("the logs have no user column to fold by", todo="fold by session or request")
    with NewFolder(out) as folder:
        work = folder.path / ".work"
        work.mkdir()
        job = Job(declared_groups(source.schema), settings, work, Quarantine(folder.path), progress)
        with Workers(1) as workers:
            manifest = write_table(folder.path, source, _fold(source, job, workers), workers, job)
        shutil.rmtree(work)
        write_manifest(folder.path, manifest)
        folder.finish()
    return open_table(out)


def _fold(source: LogSource, job: Job, workers: Workers) -> FoldedLogs:
    """Everything up to folded partitions in the work folder; `workers` gets its number of processes."""
    scanned = scan(source, job.work, job.memory_bytes, job.quarantine, job.progress)
    cut = find_cut(scanned, job.schema, job.settings.split_time)
    num_parts = job.settings.partitions or _num_parts(scanned, job)
    assigned = assign(scanned, job, cut, num_parts)
    parts = scatter(scanned, assigned, job, num_parts)
    sides = prepare_sides(source, scanned, job, num_parts)
    rule = UnitRule(job.settings.fold_by, round(job.settings.session_gap_minutes * MINUTE_US))
    # where the user says how many partitions there are, there are so many
    most = job.memory_bytes // _COPIES if job.settings.partitions is None else 2 * scanned.bytes
    files_of = split_large(parts, scanned.bytes / scanned.num_rows, most, job)
    chosen = choose_groups(job.schema, _sample(files_of, rule), scanned.num_rows, scanned.shapes)
    schema = chosen.schema
    tasks = [FoldTask(number, files, sides, schema, rule, job.work / "folded") for number, files in enumerate(files_of)]
    workers.count = _num_workers(scanned, parts, job)
    files: list[FoldedFiles] = []
    sketches: dict[str, Sketch] = {}
    for done, splits in enumerate(workers.map(fold_task, tasks), 1):
        for split in splits:
            sketches |= {name: union([new, sketches.get(name, new)]) for name, new in split.sketches.items()}
            files.append(replace(split, sketches={}))
        job.report("fold", done, len(tasks))
    types = {**scanned.types(), **{name: type for side in sides.values() for name, type in side.types.items()}}
    resolved = resolve(schema, types, scanned.widths, {name: found.count() for name, found in sketches.items()})
    return FoldedLogs(resolved, scanned, assigned.joined, cut, num_parts, files, chosen.weighed)


def _num_parts(scanned: Scan, job: Job) -> int:
    """By the size of the logs and of memory alone, so that the table does not depend on the machine's cores."""
    size = min(_PART_BYTES, job.memory_bytes // (4 * _COPIES))
    return min(max(1, -(-scanned.bytes // max(size, 1))), _MAX_PARTS)


def _num_workers(scanned: Scan, parts: Buckets, job: Job) -> int:
    if job.settings.workers is not None:
        return job.settings.workers
    if scanned.bytes < _SMALL_BYTES:
        return 1
    largest = max(1, scanned.bytes * int(parts.rows.max()) // max(scanned.num_rows, 1))
    fit = job.memory_bytes // (_COPIES * largest)
    return max(1, min(_num_cpus(), fit, int(np.count_nonzero(parts.rows))))


def _num_cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


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
