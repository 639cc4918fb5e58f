"""What a worker process does: fold one partition, and later write one part. Values in, files and values out."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recfold.fold.arrange import UnitRule, arrange
from recfold.fold.assign import SPLITS
from recfold.fold.buckets import read_arrow, write_arrow
from recfold.fold.columns import cast_column
from recfold.fold.dictionaries import Remap
from recfold.fold.partition import FeatureCount, Folded, fold_partition
from recfold.fold.sides import SideFiles, refer
from recfold.fold.sketch import Sketch, load_sketches, save_sketches
from recfold.spec import Schema, Settings
from recfold.table.files import Encodings, column_bytes, row_group_bounds, write_parquet, write_text
from recfold.table.id_codes import change_elements, load_codings, with_element
from recfold.table.lists import flatten, list_array, offsets_of, one_array
from recfold.table.manifest import FileEntry

_UNITS = "units.arrow"
_DICTIONARY = "dictionary-{}.arrow"
_SKETCHES = "sketches.safetensors"


@dataclass(frozen=True)
class FoldTask:
    """Fold one partition.

    Attributes:
        files: its samples. out: folder for what comes out.
    """

    number: int
    files: tuple[Path, ...]
    sides: Mapping[str, SideFiles]
    schema: Schema
    rule: UnitRule
    out: Path


@dataclass(frozen=True)
class FoldedFiles:
    """One split of one partition, folded and on disk; the other attributes as in `Folded`."""

    split: str
    units: Path
    dictionaries: dict[str, Path]
    samples: int
    columns: dict[str, pa.DataType]
    features: dict[str, FeatureCount]
    lists: dict[str, int]
    sketches: dict[str, Sketch]
    last: dict[str, int]


class _Counted(Settings):
    """What `FoldedFiles` says beside its files."""

    split: str
    samples: int
    dictionaries: tuple[str, ...]
    features: dict[str, FeatureCount]
    lists: dict[str, int]
    last: dict[str, int]


class _FoldedPartition(Settings):
    """What a folded partition leaves when it is done: the document that a later process goes on from."""

    splits: tuple[_Counted, ...]


def fold_task(task: FoldTask) -> None:
    """Fold the splits of one partition; `folded_files` gives what came out. Its samples are removed."""
    if _done(task).exists():
        return
    rows = read_rows(task.files)
    extended: dict[str, pa.Table] = {}
    for name, files in task.sides.items():
        rows, extended[name] = refer(rows, name, files)
    rows = arrange(rows, task.rule)
    split = one_array(rows["split"]).to_numpy()
    counted = []
    for code, name in enumerate(SPLITS):
        begin, end = np.searchsorted(split, [code, code + 1])
        if begin < end:
            folded = fold_partition(rows.slice(begin, end - begin), extended, task.schema)
            counted.append(_store(folded, name, end - begin, _folder(task, name)))
    write_text(_done(task), _FoldedPartition(splits=tuple(counted)).model_dump_json())
    for path in task.files:
        path.unlink()


def folded_files(task: FoldTask) -> list[FoldedFiles]:
    """What folding a partition has left, its splits in order."""
    return [
        _stored(counted, _folder(task, counted.split))
        for counted in _FoldedPartition.model_validate_json(_done(task).read_text(encoding="utf-8")).splits
    ]


def _done(task: FoldTask) -> Path:
    return task.out / f"{task.number:05d}.json"


def _folder(task: FoldTask, split: str) -> Path:
    return task.out / f"{split}-{task.number:05d}"


def read_rows(files: Sequence[Path]) -> pa.Table:
    """The samples of one partition."""
    return pa.concat_tables([read_arrow(path) for path in files]).combine_chunks()


def _store(folded: Folded, split: str, samples: int, out: Path) -> _Counted:
    shutil.rmtree(out, ignore_errors=True)  # of a process that was killed
    out.mkdir(parents=True)
    write_arrow(out / _UNITS, folded.units)
    for number, table in enumerate(folded.dictionaries.values()):
        write_arrow(out / _DICTIONARY.format(number), table)
    save_sketches(out / _SKETCHES, folded.sketches)
    return _Counted(
        split=split,
        samples=int(samples),
        dictionaries=tuple(folded.dictionaries),
        features=folded.features,
        lists=folded.lists,
        last=folded.last,
    )


def _stored(counted: _Counted, folder: Path) -> FoldedFiles:
    return FoldedFiles(
        split=counted.split,
        units=folder / _UNITS,
        dictionaries={group: folder / _DICTIONARY.format(i) for i, group in enumerate(counted.dictionaries)},
        samples=counted.samples,
        columns={field.name: field.type for field in read_arrow(folder / _UNITS).schema},
        features=counted.features,
        lists=counted.lists,
        sketches=load_sketches(folder / _SKETCHES),
        last=counted.last,
    )


@dataclass(frozen=True)
class WriteTask:
    """Write one part.

    Attributes:
        columns: the columns of every part of the table, in order, with their types.
        remaps: item dictionary group -> number in the split's dictionary of each of this partition's rows.
        dictionaries: user dictionary group -> its rows.
        encodings: of the columns of the part, and of each user dictionary by group.
        done: where it is written down that the part is whole.
        codes: the file of the split's codes; coded: feature -> type of its codes.
    """

    units: Path
    columns: Mapping[str, pa.DataType]
    remaps: Mapping[str, Remap]
    dictionaries: Mapping[str, Path]
    encodings: Encodings
    dictionary_encodings: Mapping[str, Encodings]
    row_group_samples: int
    out: Path
    done: Path
    codes: Path
    coded: Mapping[str, pa.DataType]


class Written(Settings):
    """A part on disk: entries with paths relative to its folder, samples, compressed bytes by column."""

    file: FileEntry
    samples: int
    dictionaries: dict[str, FileEntry]
    bytes: dict[str, int]


def write_task(task: WriteTask) -> Written:
    """Write one part and its user dictionaries, unless a process that was killed later has done so."""
    if task.done.exists():
        before = Written.model_validate_json(task.done.read_text(encoding="utf-8"))
        if all(_is_there(task.out.parent, entry) for entry in (before.file, *before.dictionaries.values())):
            return before
    units = final_units(task)
    counts = one_array(units["n"]).to_numpy()
    file = write_parquet(task.out, units, row_group_bounds(counts, task.row_group_samples), task.encodings)
    sizes = column_bytes(pq.read_metadata(task.out))
    dictionaries = {}
    for group, path in task.dictionaries.items():
        out = task.out.with_name(f"{task.out.stem}.{group}.parquet")
        table = read_arrow(path)
        bounds = row_group_bounds(np.ones(table.num_rows, np.int64), task.row_group_samples)
        dictionaries[group] = write_parquet(out, table, bounds, task.dictionary_encodings[group])
        sizes |= column_bytes(pq.read_metadata(out))
    written = Written(file=file, samples=int(counts.sum()), dictionaries=dictionaries, bytes=sizes)
    write_text(task.done, written.model_dump_json())
    return written


def _is_there(folder: Path, entry: FileEntry) -> bool:
    path = folder / entry.path
    return path.exists() and path.stat().st_size == entry.bytes


def final_units(task: WriteTask) -> pa.Table:
    """The rows of a part in the columns, types, references and codes of the whole table."""
    units = read_arrow(task.units)
    counts = one_array(units["n"]).to_numpy()
    columns = {}
    for name, type in task.columns.items():
        column = _column(units, name, counts)
        group = name.removesuffix(".inverse")
        if group in task.remaps and name.endswith(".inverse"):
            flat = flatten(column)
            column = list_array(flat.offsets, pa.array(task.remaps[group].read()[flat.values.to_numpy()]))
        columns[name] = cast_column(column, type)
    if task.coded:
        codings = load_codings(pq.read_table(task.codes))
        for feature, type in task.coded.items():
            codes = change_elements(columns[f"feature.{feature}"], codings[feature].encode)
            columns[f"feature.{feature}"] = cast_column(codes, with_element(codes.type, type))
    return pa.table(columns)


def _column(units: pa.Table, name: str, counts: np.ndarray) -> pa.Array:
    """A column of the table for this part: one that only other parts have is made from what this one has."""
    if name in units.column_names:
        return one_array(units[name])
    key = name.removeprefix("sample.")
    # nothing is made up here, though it is in other parts
    column = one_array(units[key]) if key in units.column_names else pa.array(np.zeros(len(counts), bool))
    if key == name:
        return column
    owner = np.repeat(np.arange(len(counts)), counts)
    return list_array(offsets_of(counts), column.take(pa.array(owner)))
