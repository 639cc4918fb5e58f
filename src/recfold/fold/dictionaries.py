"""The item dictionary of a split: the partitions' local rows merged, verified bit for bit, and numbered anew.

Legend: R rows of all files, one file's after another's; U distinct rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from recfold.fold.bits import distinct_rows, row_hash
from recfold.fold.buckets import Buckets, read_arrow
from recfold.fold.columns import cast_columns
from recfold.table.lists import one_array

_COPIES = 6
"""About how much memory finding distinct rows takes, in units of the size of the rows."""
_PLACE = "place"
_SLICE_ROWS = 1 << 20
_SLICE_BYTES = 16 << 20


@dataclass(frozen=True)
class MergedDictionary:
    """One dictionary of a split: distinct rows in the order of their first use, file by file.

    Attributes:
        files: local dictionaries, whose rows are distinct in each. types: of the columns of the whole.
        starts: place of the first row of each file among all rows, and R at the end.
        numbers: file (.npy) that holds for each of the R rows its number in the dictionary.
        num_rows: U.
    """

    files: tuple[Path, ...]
    types: Mapping[str, pa.DataType]
    starts: tuple[int, ...]
    numbers: Path
    num_rows: int

    def remap(self, index: int) -> "Remap":
        """For one file the number of each of its rows."""
        return Remap(self.numbers, self.starts[index], self.starts[index + 1])

    def rows(self, begin: int = 0) -> Iterator[pa.Table]:
        """The distinct rows from number `begin` on, in their order, a file's share at a time."""
        known = 0
        for index, path in enumerate(self.files):
            numbers = self.remap(index).read()
            new = np.flatnonzero(numbers >= known)  # the rows of one file are distinct, and their numbers rise
            known += len(new)
            kept = new[numbers[new] >= begin]
            if not len(kept):
                continue
            for first, rows in _slices(read_arrow(path), self.types):
                here = kept[(kept >= first) & (kept < first + rows.num_rows)] - first
                if len(here):
                    yield rows.take(pa.array(here))


@dataclass(frozen=True)
class Remap:
    """A slice of `MergedDictionary.numbers`; cheap to send to another process."""

    numbers: Path
    begin: int
    end: int

    def read(self) -> np.ndarray:
        found: np.ndarray = np.load(self.numbers, mmap_mode="r", allow_pickle=False)[self.begin : self.end]
        return found


def merge_dictionaries(
    files: Sequence[Path], types: Mapping[str, pa.DataType], work: Path, memory_bytes: int
) -> MergedDictionary:
    """Merge dictionaries that repeat each other, of any size.

    Rows go to buckets by a hash of what is in them; the rows of a bucket are compared in memory; what a bucket finds
    out is written to a memory-mapped array. What is too large for memory is on disk.

    Args:
        files: their rows keep their order.
        types: of the columns that are wanted, of the whole.
        work: new folder for what is only for the work.
    """
    work.mkdir(parents=True)
    counts = [read_arrow(path).num_rows for path in files]
    starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    first = np.lib.format.open_memmap(work / "first.npy", "w+", np.int64, (max(int(starts[-1]), 1),))
    size = sum(path.stat().st_size for path in files)
    buckets = Buckets(work / "rows", _COPIES * size // max(memory_bytes, 1) + 1, memory_bytes // 4)
    for path, start in zip(files, starts.tolist(), strict=False):
        for begin, rows in _slices(read_arrow(path), types):
            place = pa.array(np.arange(start + begin, start + begin + rows.num_rows))
            bucket = row_hash([one_array(column) for column in rows.columns]) % np.uint64(buckets.count)
            buckets.add(rows.append_column(_PLACE, place), bucket.astype(np.int64))
    for index in np.flatnonzero(buckets.rows).tolist():
        found = buckets.take(index)
        place_of = one_array(found[_PLACE]).to_numpy()
        one, inverse = distinct_rows([one_array(column) for column in found.drop_columns([_PLACE]).columns])
        first[place_of] = place_of[one][inverse]  # rows keep their order in a bucket: the first one is the first used
    numbers = np.lib.format.open_memmap(work / "numbers.npy", "w+", np.int64, first.shape)
    num_rows = 0
    for begin in range(0, int(starts[-1]), _SLICE_ROWS):
        here = first[begin : begin + _SLICE_ROWS]
        new = here == np.arange(begin, begin + len(here))
        numbers[begin : begin + len(here)] = num_rows + np.cumsum(new) - 1
        num_rows += int(np.count_nonzero(new))
    for begin in range(0, int(starts[-1]), _SLICE_ROWS):
        numbers[begin : begin + _SLICE_ROWS] = numbers[first[begin : begin + _SLICE_ROWS]]
    numbers.flush()
    return MergedDictionary(tuple(files), types, tuple(starts.tolist()), work / "numbers.npy", num_rows)


def _slices(table: pa.Table, types: Mapping[str, pa.DataType]) -> Iterator[tuple[int, pa.Table]]:
    """Pieces of a mapped table that are small in memory, with the number of their first row."""
    size = max(1, _SLICE_BYTES * table.num_rows // max(table.nbytes, 1))
    for begin in range(0, table.num_rows, size):
        yield begin, cast_columns(table.slice(begin, size), dict(types))


def merge_reference(tables: Sequence[pa.Table]) -> tuple[list[str], list[list[int]]]:
    """The slow twin: the distinct rows as text, and for each table the numbers of its rows."""
    found: dict[str, int] = {}
    numbers = []
    for table in tables:
        rows = [repr(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]
        numbers.append([found.setdefault(row, len(found)) for row in rows])
    return list(found), numbers
