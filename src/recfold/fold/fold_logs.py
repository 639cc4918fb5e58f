"""Logs to a folded table: the two passes, one step after the other."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import xxhash

import recfold
from recfold.fold.append import (
    append_settings,
    appended_manifest,
    appended_schema,
    check_defaults,
    known_extents,
    strays,
)
from recfold.fold.finish import FoldedLogs, resolve, write_table
from recfold.fold.groups import declared_groups
from recfold.fold.job import PROCESS_BYTES, Job
from recfold.fold.prepare import COPIES, Partitions, prepare, prepared_before
from recfold.fold.quarantine import Quarantine
from recfold.fold.settings import FoldSettings
from recfold.fold.sketch import Sketch, load_sketches, union
from recfold.fold.tasks import FoldedFiles, FoldTask, fold_task, folded_files
from recfold.fold.workers import Workers
from recfold.logs import LogSource, open_logs
from recfold.spec import InputError, Schema, num_cpus
from recfold.table import FoldedTable, open_table
from recfold.table.files import NewFolder, Progress, Staging, check_free, write_manifest, write_text

_SMALL_BYTES = 48 << 20
"""Below it starting processes takes longer than folding."""
_WORK = ".work"
_KEY = "key"


def fold(
    logs: Path | str | LogSource,
    out: Path | str,
    *,
    schema: Schema | Path | str | None = None,
    adapter: str | None = None,
    settings: FoldSettings | None = None,
    append: bool = False,
    progress: Progress | None = None,
) -> FoldedTable:
    """Join two logs, cluster them by session, keep every distinct list once, and write a folded table.

    The result is the same, byte for byte, for any number of workers and at every rerun. If anything fails, nothing is
    left at `out`. A fold of files that was killed, or interrupted by Ctrl-C, after they were read leaves its partitions
    in a hidden folder beside `out`: the same call goes on with what was finished.

    Args:
        logs: folder of the logs, or a source that is open already (its schema counts).
        out: new folder for the table; with `append` the table.
        schema: what the columns are; `features.toml` in the folder of the logs where not given.
        adapter: a known data set instead of a schema.
        settings: how to fold.
        append: add the logs, another day's perhaps, to the table at `out`: as parts of their own, joined and split
            among themselves. Features may be wider than before or new (their `default` stands for the samples
            before); whatever else differs is an error. The table is the old one until it is the new one.
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
    if not append:
        check_free(out)
    before = open_table(out) if append else None
    source = _opened(logs, schema, adapter)
    if before is not None:
        settings = append_settings(before.manifest, settings)
        source = replace(source, schema=appended_schema(before.schema, source.schema))
    if settings.fold_by == "user" and source.schema.keys.user is None:
        raise InputError("the logs have no user column to fold by", todo="fold by session or request")
    return _fold_new(source, out, settings, progress) if before is None else _add(source, before, settings, progress)


def _fold_new(source: LogSource, out: Path, settings: FoldSettings, progress: Progress | None) -> FoldedTable:
    with NewFolder(out) as folder:
        key = _fold_key(source, settings)
        _go_on_or_clear(folder, key)
        job = _job(source, settings, folder.path / _WORK, Quarantine(folder.path), progress)
        with Workers(1) as workers:
            found = _folded(source, job, workers, folder, key, {})
            manifest, _ = write_table(folder.path, source, found, workers, job)
        shutil.rmtree(job.work)
        write_manifest(folder.path, manifest)
        folder.finish()
    return open_table(out)


def _add(source: LogSource, before: FoldedTable, settings: FoldSettings, progress: Progress | None) -> FoldedTable:
    """Write new parts into the folder of a table, where nobody sees them, and then the manifest that names them."""
    table = before.path
    with Staging(table / ".append", table) as staging:
        if open_table(table).manifest.checksum != before.manifest.checksum:
            raise InputError(f"another process has added to {table} just now", todo="append again")
        key = _fold_key(source, settings, before.manifest.checksum)
        _go_on_or_clear(staging, key)
        if not staging.keep:
            _remove(strays(before))
        manifest = before.manifest
        quarantine = Quarantine(table, len(manifest.quarantine))
        job = replace(
            _job(source, settings, staging.path / _WORK, quarantine, progress),
            known=known_extents(before),
            distinct={} if manifest.sketches is not None else _distinct(before.schema),
            digests=frozenset((manifest.digest, *(day.digest for day in manifest.appended))),
        )
        try:
            with Workers(1) as workers:
                sketches = load_sketches(before.file(manifest.sketches)) if manifest.sketches is not None else {}
                found = _folded(source, job, workers, staging, key, sketches)
                day, columns = write_table(table, source, found, workers, job, before)
            write_manifest(table, appended_manifest(before, day, columns))
        except BaseException as error:
            if not (staging.keep and isinstance(error, KeyboardInterrupt)):
                staging.keep = False
                (staging.path / _WORK / _KEY).unlink(missing_ok=True)  # nobody goes on from parts that are removed
                _remove(strays(open_table(table)))
            raise
    return open_table(table)  # what the manifest no longer names stays until the next day: somebody may be reading


def _distinct(schema: Schema) -> dict[str, int]:
    return {name: feature.distinct for name, feature in schema.features.items() if feature.distinct is not None}


def _remove(files: Sequence[Path]) -> None:
    for path in files:
        path.unlink()


def _job(
    source: LogSource, settings: FoldSettings, work: Path, quarantine: Quarantine, progress: Progress | None
) -> Job:
    work.mkdir(exist_ok=True)
    return Job(declared_groups(source.schema), settings, work, quarantine, progress)


def _opened(logs: Path | str | LogSource, schema: Schema | Path | str | None, adapter: str | None) -> LogSource:
    if not isinstance(logs, LogSource):
        return open_logs(Path(logs), schema=schema, adapter=adapter)
    if schema is None and adapter is None:
        return logs
    raise ValueError("an open source has its schema already: give no schema and no adapter with it")


def _fold_key(source: LogSource, settings: FoldSettings, before: str = "") -> str:
    """The same for two folds that give the same table; empty where nobody can tell."""
    if not source.identity:
        return ""
    said = [
        recfold.__version__,
        source.identity,
        source.schema.model_dump(mode="json"),
        settings.model_dump(mode="json", exclude={"workers"}),
        before,
    ]
    return xxhash.xxh64_hexdigest(json.dumps(said, sort_keys=True).encode())


def _go_on_or_clear(folder: Staging, key: str) -> None:
    """Keep what an interrupted fold of the same logs left, if it got through pass 1; else start from nothing."""
    path = folder.path / _WORK / _KEY
    if key and path.exists() and path.read_text(encoding="utf-8") == key:
        folder.keep = True
        return
    folder.clear()


def _folded(
    source: LogSource, job: Job, workers: Workers, folder: Staging, key: str, sketches: Mapping[str, Sketch]
) -> FoldedLogs:
    """Everything up to folded partitions in the work folder; `workers` gets its number of processes.

    Args:
        sketches: distinct ids of the features of a table that is added to.
    """
    partitions = prepared_before(job.work) if folder.keep else None
    if partitions is None:
        partitions = prepare(source, job)
        if key:
            write_text(job.work / _KEY, key)
            folder.keep = True
    pa.default_memory_pool().release_unused()  # before other processes need it
    tasks = partitions.tasks(job)
    workers.count = _num_workers(partitions, tasks, job)
    for done, _ in enumerate(workers.map(fold_task, tasks), 1):
        job.report("fold", done, len(tasks))
    files: list[FoldedFiles] = []
    together = dict(sketches)
    for task in tasks:
        for split in folded_files(task):
            together |= {name: union([new, together.get(name, new)]) for name, new in split.sketches.items()}
            files.append(replace(split, sketches={}))
    found = partitions.prepared
    before = job.distinct
    distinct = {name: sketch.count() + before.get(name, 0) for name, sketch in together.items()}
    schema = resolve(found.log_schema, partitions.types, found.widths, distinct)
    check_defaults(schema)
    return FoldedLogs(schema, found, files, together)


def _num_workers(partitions: Partitions, tasks: Sequence[FoldTask], job: Job) -> int:
    found = partitions.prepared
    if job.settings.workers is not None:
        return job.settings.workers
    if found.bytes < _SMALL_BYTES:
        return 1
    fit = job.memory_bytes // (PROCESS_BYTES + COPIES * found.largest_bytes)
    return max(1, min(num_cpus(), fit, len(tasks)))
