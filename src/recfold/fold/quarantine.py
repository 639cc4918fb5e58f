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
_ROWS = 1 << 16


class Quarantine:
    """Collects rejected rows and counts them by source and reason.

    Args:
        folder: the table that is being written.
    """

    def __init__(self, folder: Path) -> None:
        self.files: list[FileEntry] = []
        self._folder = folder
        self._counts: dict[str, Counter[str]] = {}
        self._held: list[pa.Table] = []
        self._num_held = 0

    def add(self, rejected: pa.Table) -> None:
        """Add rows that have the columns of the quarantine already."""
        if rejected.num_rows == 0:
            return
        rejected = rejected.select(COLUMNS.names).cast(COLUMNS)
        pairs = pl.DataFrame(pl.from_arrow(rejected.select(["source", "reason"])))
        for source, reason, count in pairs.group_by("source", "reason").len().rows():
            self._counts.setdefault(source, Counter())[reason] += count
        self._held.append(rejected)
        self._num_held += rejected.num_rows
        if self._num_held >= _ROWS:
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
        return tuple(self.files)

    def _write(self) -> None:
        if not self._held:
            return
        folder = self._folder / "quarantine"
        folder.mkdir(exist_ok=True)
        table = pa.concat_tables(self._held)
        entry = write_parquet(folder / f"part-{len(self.files):05d}.parquet", table, [0, table.num_rows])
        self.files.append(entry.model_copy(update={"path": f"quarantine/{entry.path}"}))
        self._held, self._num_held = [], 0
