"""Tables partitioned on disk: rows go to numbered buckets, which are written out when memory is used up."""

from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from recfold.fold.threads import each
from recfold.table.lists import one_array


class Buckets:
    """Rows by bucket number.

    Args:
        folder: where what does not fit goes.
        count: number of buckets.
        memory_bytes: how much to hold before writing.
    """

    def __init__(self, folder: Path, count: int, memory_bytes: int) -> None:
        self.folder = folder
        self.count = count
        self.rows = np.zeros(count, np.int64)
        self._memory_bytes = memory_bytes
        self._held: list[list[pa.Table]] = [[] for _ in range(count)]
        self._files: list[list[Path]] = [[] for _ in range(count)]
        self._held_bytes = 0

    def add(self, table: pa.Table, bucket: np.ndarray) -> None:
        """Put row i of `table` into bucket[i]; rows keep their order inside a bucket."""
        if table.num_rows == 0:
            return
        counts = np.bincount(bucket, minlength=self.count)
        if np.count_nonzero(counts) > 1:
            order = pa.array(np.argsort(bucket, kind="stable"))
            columns = each(lambda column: one_array(column).take(order), table.columns)
            table = pa.Table.from_arrays(columns, names=table.column_names)
        ends = np.cumsum(counts)
        for index in np.flatnonzero(counts):
            self._held[index].append(table.slice(ends[index] - counts[index], counts[index]))
        self.rows += counts
        self._held_bytes += table.nbytes
        if self._held_bytes > self._memory_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        for index, held in enumerate(self._held):
            if held:
                folder = self.folder / f"{index:05d}"
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"{len(self._files[index]):05d}.arrow"
                write_arrow(path, pa.concat_tables(held))
                self._files[index].append(path)
                self._held[index] = []
        self._held_bytes = 0

    def files(self, index: int) -> list[Path]:
        """Flush, and give the files of one bucket, for another process to read."""
        self.flush()
        return self._files[index]

    def runs(self, rows: int) -> list[list[int]]:
        """Bucket numbers in order, neighbours put together while they have at most `rows` rows between them."""
        return _runs(self.rows, rows)

    def read(self, index: int) -> pa.Table | None:
        """All rows of one bucket in the order they came; None where there are none."""
        tables = [read_arrow(path) for path in self._files[index]] + self._held[index]
        return pa.concat_tables(tables) if tables else None

    def take(self, index: int) -> pa.Table:
        """All rows of one bucket that has some, in the order they came; it is empty afterwards."""
        table = self.read(index)
        assert table is not None
        self._held[index] = []
        for path in self._files[index]:
            path.unlink()  # what is mapped stays readable
        self._files[index] = []
        return table


def both_runs(a: Buckets, b: Buckets, rows: int) -> list[list[int]]:
    """As `Buckets.runs`, for two that are read side by side."""
    return _runs(a.rows + b.rows, rows)


def _runs(counts: np.ndarray, rows: int) -> list[list[int]]:
    found: list[list[int]] = []
    total = 0
    for index in np.flatnonzero(counts).tolist():
        if found and total + counts[index] <= rows:
            found[-1].append(index)
            total += int(counts[index])
        else:
            found.append([index])
            total = int(counts[index])
    return found


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write an Arrow file for this run only."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


class ArrowFile:
    """Such a file, written piece by piece; a context manager."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema)

    def write(self, rows: pa.Table) -> None:
        self._writer.write_table(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()
        self._sink.close()


def read_arrow(path: Path) -> pa.Table:
    """Read such a file (memory-mapped: pages are read as they are used)."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()
