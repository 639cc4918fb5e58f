"""The last step: types, references and encodings of the whole table settled, parts written, everything counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

import recfold
from recfold.fold.assign import SPLITS
from recfold.fold.buckets import read_arrow
from recfold.fold.coding import choose_codings
from recfold.fold.columns import element_type, narrowest, wider
from recfold.fold.item_dictionary import ItemDictionary, write_item_dictionary
from recfold.fold.job import Job
from recfold.fold.partition import FeatureCount
from recfold.fold.prepare import Prepared
from recfold.fold.sketch import Sketch, save_sketches
from recfold.fold.tasks import FoldedFiles, WriteTask, Written, final_units, write_task
from recfold.fold.workers import Workers
from recfold.logs import LogSource
from recfold.spec import Schema
from recfold.spec.hashing import INTEGER_HASH, STRING_HASH
from recfold.table import FoldedTable
from recfold.table.files import Encodings, checksum, choose_encodings, row_group_bounds
from recfold.table.id_codes import save_codings
from recfold.table.lists import one_array
from recfold.table.manifest import (
    Accounting,
    FeatureStats,
    FileEntry,
    GroupStats,
    Manifest,
    PartEntry,
    SplitEntry,
)

SKETCHES = "sketches"
CODES = "part-codes.parquet"
_KEYS = ("session", "session.made", "user")
_INDEXES = (".inverse", ".start", ".length")


@dataclass(frozen=True)
class FoldedLogs:
    """What the two passes leave in the work folder.

    Attributes:
        schema: every feature has a group, a type and its number of distinct ids. prepared: what pass 1 found.
        files: a split of a partition each, by partition. sketches: distinct ids of each id feature.
    """

    schema: Schema
    prepared: Prepared
    files: list[FoldedFiles]
    sketches: Mapping[str, Sketch]


def write_table(
    folder: Path,
    source: LogSource,
    found: FoldedLogs,
    workers: Workers,
    job: Job,
    before: FoldedTable | None = None,
) -> tuple[Manifest, dict[str, pa.DataType]]:
    """Write the splits.

    Args:
        before: the table that the parts are added to, under names that it has not used yet.
    Returns:
        the manifest of the new parts, whose accounting holds; the columns of the new parts.
    """
    of_split = {split: [files for files in found.files if files.split == split] for split in SPLITS}
    of_split = {split: files for split, files in of_split.items() if files}
    dictionaries: dict[str, dict[str, ItemDictionary]] = {}
    for split, files in of_split.items():
        (folder / split).mkdir(exist_ok=True)
        dictionaries[split] = {
            group: write_item_dictionary(
                folder / _dictionary_file(split, group, before),
                group,
                [entry.dictionaries[group] for entry in files],
                found.schema,
                job,
                before,
            )
            for group, spec in found.schema.groups.items()
            if spec.key == "item"
        }
    codes = {split: _write_codes(folder, split, files, found, before) for split, files in of_split.items()}
    tasks = _write_tasks(folder, found, of_split, dictionaries, codes, job, before)
    written: list[Written] = []
    for part in workers.map(write_task, tasks):
        written.append(part)
        job.report("write", len(written), len(tasks))
    splits: dict[str, SplitEntry] = {}
    parts: dict[str, list[Written]] = {}
    for split, files in of_split.items():
        parts[split], written = written[: len(files)], written[len(files) :]
        splits[split] = _split_entry(split, files, parts[split], dictionaries[split], codes[split])
    sketches = _write_sketches(folder, found.sketches, before)
    accounting = _account(found.prepared, splits)
    accounting.check()
    manifest = Manifest(
        recfold_version=recfold.__version__,
        schema=found.schema,
        hashes={"integer": INTEGER_HASH, "string": STRING_HASH},
        description=source.description,
        inferred=source.inferred,
        fold_by=job.settings.fold_by,
        cut=found.prepared.cut,
        splits=splits,
        features={
            name: {
                split: _feature_stats(name, files, parts[split], dictionaries[split])
                for split, files in of_split.items()
            }
            for name in found.schema.features
        },
        groups={
            group: {
                split: GroupStats(lists=splits[split].distinct[group], index_bytes=_index_bytes(group, parts[split]))
                for split in of_split
            }
            for group in found.schema.groups
        },
        weighed=found.prepared.weighed,
        quarantine=found.prepared.quarantine,
        sketches=sketches,
        digest=found.prepared.digest,
        accounting=accounting,
        settings=_settings(found, job),
    )
    return manifest, dict(tasks[0].columns)


def _settings(found: FoldedLogs, job: Job) -> dict[str, Any]:
    """Those that the bytes of the table depend on: memory only where it says how many partitions there are."""
    irrelevant = {"workers"} if job.settings.partitions is None else {"workers", "memory_gb"}
    return {**job.settings.model_dump(mode="json", exclude=irrelevant), "partitions": found.prepared.num_parts}


def _dictionary_file(split: str, group: str, before: FoldedTable | None) -> str:
    number = "" if before is None else f"-{len(before.manifest.appended) + 1:05d}"
    return f"{split}/{group}{number}.parquet"


@dataclass(frozen=True)
class _Codes:
    """The codes of a split: their file, its entry where it was written now, and feature -> type of its codes."""

    path: Path
    written: FileEntry | None
    coded: Mapping[str, pa.DataType]


def _write_codes(
    folder: Path, split: str, files: Sequence[FoldedFiles], found: FoldedLogs, before: FoldedTable | None
) -> _Codes:
    """Codes for frequent ids; those that the split of a table has already stay."""
    path, ranges, written = folder / split / CODES, found.prepared.ranges, None
    if before is not None and split in before.splits():
        known = before.codings(split)
        codings = {n: coding for n, coding in known.items() if coding.fits(*ranges[f"feature.{n}"])}
    else:
        codings = choose_codings(files, found.schema, ranges)
        if codings:
            rows = save_codings(path, codings)
            written = FileEntry(path=CODES, bytes=path.stat().st_size, rows=rows, xxh64=checksum(path))
    coded = {}
    for name, coding in codings.items():
        low, high = (bound - coding.low for bound in ranges[f"feature.{name}"])
        coded[name] = narrowest(min(low, 0), max(high, 0) + len(coding.frequent))
    return _Codes(path, written, coded)


def _write_sketches(folder: Path, sketches: Mapping[str, Sketch], before: FoldedTable | None) -> FileEntry | None:
    if before is not None and before.manifest.sketches is None:
        return None  # a table of format version 1: nothing is known of its ids but how many they are
    number = "" if before is None else f"-{len(before.manifest.appended) + 1:05d}"
    path = folder / f"{SKETCHES}{number}.safetensors"
    save_sketches(path, sketches)
    return FileEntry(path=path.name, bytes=path.stat().st_size, rows=len(sketches), xxh64=checksum(path))


def _dictionary_encodings(rows: pa.Table, job: Job) -> Encodings:
    return choose_encodings(rows.slice(0, job.settings.row_group_samples))


def _write_tasks(
    folder: Path,
    found: FoldedLogs,
    of_split: dict[str, list[FoldedFiles]],
    dictionaries: dict[str, dict[str, ItemDictionary]],
    codes: dict[str, _Codes],
    job: Job,
    before: FoldedTable | None,
) -> list[WriteTask]:
    """One per part; encodings are measured on the first units of the largest part of the first split."""
    last = _last_indexes(found.files)
    for split in dictionaries.values():
        last |= {
            f"{group}.inverse": max(last[f"{group}.inverse"], entry.merged.num_rows - 1)
            for group, entry in split.items()
        }
    columns = _columns(found.files, last)
    parts = {split: entry.parts for split, entry in before.manifest.splits.items()} if before is not None else {}
    tasks = [
        WriteTask(
            units=files.units,
            columns=columns,
            remaps={group: entry.merged.remap(index + 1) for group, entry in dictionaries[split].items()},
            dictionaries={
                group: path for group, path in files.dictionaries.items() if found.schema.groups[group].key == "user"
            },
            encodings={},
            dictionary_encodings={},
            row_group_samples=job.settings.row_group_samples,
            out=folder / split / f"part-{len(parts.get(split, ())) + index:05d}.parquet",
            done=job.work / f"{split}-{index:05d}.json",
            codes=codes[split].path,
            coded=codes[split].coded,
        )
        for split, entries in of_split.items()
        for index, files in enumerate(entries)
    ]
    sizes = [files.samples for files in next(iter(of_split.values()))]
    typical = tasks[sizes.index(max(sizes))]
    units = final_units(typical)
    bounds = row_group_bounds(one_array(units["n"]).to_numpy(), job.settings.row_group_samples)
    encodings = choose_encodings(units.slice(0, bounds[1]))
    of_dictionary = {
        group: _dictionary_encodings(read_arrow(path), job) for group, path in typical.dictionaries.items()
    }
    return [
        WriteTask(**{**vars(task), "encodings": encodings, "dictionary_encodings": of_dictionary}) for task in tasks
    ]


def _last_indexes(files: Sequence[FoldedFiles]) -> dict[str, int]:
    """Largest value of each index column over all parts."""
    last: dict[str, int] = {}
    for entry in files:
        for column, value in entry.last.items():
            last[column] = max(value, last.get(column, 0))
    return last


def _columns(files: Sequence[FoldedFiles], last: dict[str, int]) -> dict[str, pa.DataType]:
    """Columns of every part: a key is per sample if it is so in any part; integers as wide as the widest part needs."""
    per_sample = {key for key in _KEYS if any(f"sample.{key}" in entry.columns for entry in files)}
    found: dict[str, pa.DataType] = {}
    for entry in files:
        for name, type in entry.columns.items():
            if name in per_sample:
                name, type = f"sample.{name}", pa.list_(type)
            if name.endswith(_INDEXES) and name in last:
                type = pa.list_(narrowest(-1, last[name]))
            found[name] = wider(found[name], type) if name in found else type
    keys = [key for key in (*_KEYS, "first_time", "n") if key in found]
    samples = [name for name in found if name.startswith("sample.")]
    rest = [name for name in found if name not in keys and name not in samples]
    return {name: found[name] for name in (*keys, *samples, *rest)}


def _split_entry(
    split: str,
    files: Sequence[FoldedFiles],
    parts: Sequence[Written],
    dictionaries: dict[str, ItemDictionary],
    codes: _Codes,
) -> SplitEntry:
    def below(entry: FileEntry) -> FileEntry:
        return entry.model_copy(update={"path": f"{split}/{entry.path}"})

    stored = {group: sum(entry.lists[group] for entry in files) for group in files[0].lists}
    return SplitEntry(
        samples=sum(part.samples for part in parts),
        units=sum(part.file.rows for part in parts),
        parts=tuple(
            PartEntry(
                file=below(part.file),
                samples=part.samples,
                dictionaries={group: below(entry) for group, entry in part.dictionaries.items()},
                coded=tuple(codes.coded),
            )
            for part in parts
        ),
        codes=below(codes.written) if codes.written is not None else None,
        dictionaries={group: (below(entry.file),) for group, entry in dictionaries.items() if entry.file is not None},
        distinct={**stored, **{group: entry.rows for group, entry in dictionaries.items()}},
    )


def _feature_stats(
    name: str, files: Sequence[FoldedFiles], parts: Sequence[Written], dictionaries: dict[str, ItemDictionary]
) -> FeatureStats:
    counts = [entry.features[name] for entry in files]
    column = f"feature.{name}"
    total = FeatureCount(*(sum(values) for values in zip(*(vars(count).values() for count in counts), strict=True)))
    for entry in dictionaries.values():
        if column in entry.merged.types:  # partitions have rows in common: what counts is what was written
            taken = sum(size for of, size in entry.value_bytes.items() if of.split(".")[1] == name)
            total = FeatureCount(entry.rows, entry.values.get(column, 0), total.expanded_values, taken)
    sizes = [part.bytes for part in parts] + [entry.bytes for entry in dictionaries.values()]
    stored = sum(size for found in sizes for path, size in found.items() if path.split(".")[:2] == ["feature", name])
    return FeatureStats(**vars(total), bytes=stored)


def _index_bytes(group: str, parts: Sequence[Written]) -> int:
    names = [group + index for index in _INDEXES]
    return sum(size for part in parts for path, size in part.bytes.items() if path.split(".list.")[0] in names)


def _account(found: Prepared, splits: dict[str, SplitEntry]) -> Accounting:
    sides: Counter[str] = Counter()
    for source, counts in found.quarantined.items():
        if source.startswith("side:"):
            sides.update(counts)
    return Accounting(
        candidate_rows_in=found.candidate_rows_in,
        samples={split: entry.samples for split, entry in splits.items()},
        quarantined_candidates=found.quarantined.get("impressions", {}),
        outcomes_in=found.outcomes_in,
        joined=found.joined,
        quarantined_outcomes=found.quarantined.get("outcomes", {}),
        quarantined_sides=dict(sides),
    )


def resolve(
    schema: Schema, types: Mapping[str, pa.DataType], widths: Mapping[str, int], distinct: Mapping[str, int]
) -> Schema:
    """The schema with `type`, `width` and `distinct` of every feature.

    Args:
        types: of the columns in the table; widths: of vectors; distinct: ids of id features.
    """
    features = {}
    for name, feature in schema.features.items():
        update: dict[str, object] = {"type": str(element_type(types[f"feature.{name}"]))}
        if feature.kind == "vector":
            update["width"] = widths.get(name, feature.width)
        if name in distinct:
            update["distinct"] = distinct[name]
        features[name] = feature.model_copy(update=update)
    return schema.model_copy(update={"features": features})
