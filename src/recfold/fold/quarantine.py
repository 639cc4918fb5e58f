"""Rows that are not trained on, with the reason, written to `quarantine/part-*.parquet`."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from recfold.table.files import write_parquet
from recfold.table.manifest import FileEntry

COLUMNS = pa.schema(
    [
        ("source", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("content", pa.string()),
    ]
)
_BYTES = 16 << 20


class Quarantine:
    """Collects rejected rows and counts them by source and reason.

    Args:
        folder: the table that is being written.
        first: number of its first file.
    """

    def __init__(self, folder: Path, first: int = 0) -> None:
        self._first = first
        self._files: list[FileEntry] = []
        self._folder = folder
        self._counts: dict[str, Counter[str]] = {}
        self._held: list[pa.Table] = []
        self._held_bytes = 0

    def add(self, rejected: pa.Table) -> None:
        """Add rows that have the columns of the quarantine already."""
        if rejected.num_rows == 0:
            return
        rejected = rejected.select(COLUMNS.names).cast(COLUMNS)
        pairs = pl.DataFrame(pl.from_arrow(rejected.select(["source", "reason"])))
        for source, reason, count in pairs.group_by("source", "reason").len().rows():
            self._counts.setdefault(source, Counter())[reason] += count
        self._held.append(rejected)
        self._held_bytes += rejected.nbytes
        if self._held_bytes >= _BYTES:
            self._write()

    def reject(self, source: str, rows: pa.Table, reason: pa.Array | pa.ChunkedArray | str) -> None:
        """Add canonical rows, with one reason or one each; their content is kept as JSON."""
        if rows.num_rows == 0:
            return
        frame = pl.DataFrame(pl.from_arrow(rows))
        content = frame.select(pl.struct(pl.all()).struct.json_encode().alias("content"))["content"].to_arrow()
        reasons = pa.array([reason] * rows.num_rows) if isinstance(reason, str) else reason
        self.add(
            pa.table(
                {
                    "source": pa.array([source] * rows.num_rows),
                    "file": pa.array([""] * rows.num_rows),
                    "row": pa.array(np.full(rows.num_rows, -1)),
                    "reason": reasons,
                    "content": content.cast(pa.string()),
                }
            )
        )

    def counts(self, source: str) -> dict[str, int]:
        """Rows of one source by reason, reasons in alphabetical order."""
        return dict(sorted(self._counts.get(source, Counter()).items()))

    def sources(self) -> list[str]:
        return sorted(self._counts)

    def finish(self) -> tuple[FileEntry, ...]:
        """Write what is left; the files, for the manifest."""
        self._write()
        return tuple(self._files)

    def _write(self) -> None:
        if not self._held:
            return
        folder = self._folder / "quarantine"
        folder.mkdir(exist_ok=True)
        table = pa.concat_tables(self._held)
        entry = write_parquet(folder / f"part-{self._first + len(self._files):05d}.parquet", table, [0, table.num_rows])
        self._files.append(entry.model_copy(update={"path": f"quarantine/{entry.path}"}))
        self._held, self._held_bytes = [], 0
