"""Files to canonical chunks: columns converted, rows that cannot be used set apart."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recfold.logs.canonical import parse_numbers, plain, reject_rows, rejected_table
from recfold.logs.canonical_times import parse_times
from recfold.logs.generic.block import Block, Format
from recfold.logs.generic.column_type import ColumnType
from recfold.logs.generic.roles import Use, target_type
from recfold.logs.source import Chunk, nothing_rejected
from recfold.spec import InputError

Faults = list[tuple[np.ndarray, str]]


@dataclass(frozen=True)
class Log:
    """One log (or side table) in files.

    Args:
        source: `impressions`, `outcomes` or `side:NAME`.
        folder: of the logs; rejected rows name their files below it.
        types: of the columns that are used.
        uses: its canonical columns.
        constants: canonical text columns that the files do not have.
    """

    source: str
    folder: Path
    files: tuple[Path, ...]
    format: Format
    types: Mapping[str, ColumnType]
    uses: tuple[Use, ...]
    constants: Mapping[str, str]

    def chunks(self) -> Iterator[Chunk]:
        """The rows in order of the files."""
        targets = {use.name: target_type(use, self.types[use.column]) for use in self.uses}
        wanted = {use.column: self.types[use.column] for use in self.uses}
        for file in self.files:
            for block in self.format.blocks(file, wanted):
                yield self._chunk(file, block, targets)

    def _chunk(self, file: Path, block: Block, targets: Mapping[str, pa.DataType]) -> Chunk:
        columns: dict[str, pa.Array] = {}
        faults: Faults = []
        for use in self.uses:
            array = _one_array(block.rows[use.column])
            where = f"column {use.column!r} of {file}"
            columns[use.name], wrong = convert(array, use, targets[use.name], where)
            faults += wrong
        for name, text in self.constants.items():
            columns[name] = pa.repeat(pa.scalar(text), len(block.numbers))
        faults = [*_null_keys(self.source, columns), *faults, *block.faults]
        return self._without_faulty(file, block, pa.table(columns), faults)

    def _without_faulty(self, file: Path, block: Block, rows: pa.Table, faults: Faults) -> Chunk:
        name = file.relative_to(self.folder).as_posix()
        rejected = []
        first = np.full(rows.num_rows, -1)
        for index, (mask, _) in enumerate(faults):
            first[mask & (first < 0)] = index
        bad = first >= 0
        if bad.any():
            spoilt = block.rows.filter(pa.array(bad))
            reasons = [faults[index][1] for index in first[bad]]
            rejected.append(reject_rows(self.source, name, block.numbers[bad], reasons, spoilt))
            rows = rows.filter(pa.array(~bad))
        if block.bad:
            numbers = np.array([row.number for row in block.bad])
            reasons, content = [row.reason for row in block.bad], [row.content for row in block.bad]
            rejected.append(rejected_table(self.source, name, numbers, reasons, content))
        return Chunk(rows, pa.concat_tables(rejected) if rejected else nothing_rejected())


def convert(array: pa.Array, use: Use, target: pa.DataType, where: str) -> tuple[pa.Array, Faults]:
    """One column of a file in canonical form, and which of its values cannot be used, with the reason.

    Args:
        where: file and column, for messages.
    Raises:
        InputError: an integer beyond int64.
    """
    if use.role == "time":
        times = parse_times(array, use.unit)
        faults = [(times.unparsable, "unparsable time"), (times.out_of_range, "time out of range")]
        return pa.array(times.microseconds, mask=times.null), faults
    if use.role == "number":
        return _number(array, use, target)
    array = plain(array, where)
    if use.role == "text":
        array = array.cast(pa.string())
        if use.name != "split":
            return array, []
        known = pc.is_in(array, pa.array(["train", "validation"])).to_numpy(zero_copy_only=False)
        return array, [(~known, "unknown split")]
    return _cast(array, target), []


def _number(array: pa.Array, use: Use, target: pa.DataType) -> tuple[pa.Array, Faults]:
    """Positions may be null; so may the value of an outcome; labels and weights may not."""
    null = array.is_null().to_numpy(zero_copy_only=False)
    numbers, wrong = parse_numbers(array)
    faults = [(wrong, "not a number")]
    if use.name == "position":
        if pa.types.is_integer(array.type) and array.type != pa.uint64():
            return array.cast(pa.int64()), []
        wrong |= ~null & ((np.floor(numbers) != numbers) | (np.abs(numbers) >= 2.0**53))
        return pa.array(np.where(wrong | null, 0, numbers).astype(np.int64), mask=null), faults
    if use.name == "value":
        return pa.array(numbers, mask=null | wrong), faults
    what = "weight" if use.name == "weight" else "label"
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32)
    wrong |= np.isinf(narrow)
    faults.append((null, f"null {what}"))
    if what == "weight":
        faults.append((narrow < 0, "negative weight"))
    return pa.array(narrow), faults


def _cast(array: pa.Array, target: pa.DataType) -> pa.Array:
    """A plain column in the type of the whole log: nulls typed, integers widened to floats, fixed lists to lists."""
    if array.type == target:
        return array
    if pa.types.is_fixed_size_list(array.type) and pa.types.is_list(target):
        array = array.cast(pa.list_(array.type.value_type))
    return array.cast(target, safe=False)


def _null_keys(source: str, columns: Mapping[str, pa.Array]) -> Faults:
    null = {name: column.is_null().to_numpy(zero_copy_only=False) for name, column in columns.items()}
    names = ["request", "event"] if source == "outcomes" else ["request", "candidate", "key", "time"]
    faults = [(null[name], f"null {name}") for name in names if name in null]
    someone = [null[name] for name in ("session", "user") if name in null]
    if source == "impressions":
        faults.insert(len(faults) - 1, (np.logical_and.reduce(someone), "null session and user"))
    elif "candidate" in null and source == "outcomes":
        faults.append((null["candidate"], "null candidate"))
    return faults


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    """One array of a column's chunks."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return column.combine_chunks() if column.num_chunks else pa.array([], column.type)


def check_same_keys(one: Log, other: Log, pairs: Mapping[str, str]) -> None:
    """Check that a key has one type in two logs.

    Args:
        pairs: canonical key in `one` -> the key in `other` that it must equal.
    Raises:
        InputError: integers here and strings there.
    """
    for name, its in pairs.items():
        left, right = key_type(one, name), key_type(other, its)
        if left and right and "null" not in (left.element, right.element) and left.element != right.element:
            raise InputError(
                f"{name} is {left.shown} in {left.seen[0][1]} but {right.shown} in {right.seen[0][1]}",
                todo="write it with one type in both",
            )


def key_type(log: Log, name: str) -> ColumnType | None:
    """The type of the column that a canonical key is read from."""
    return next((log.types[use.column] for use in log.uses if use.name == name), None)
