"""The way out: a folded table written as plain Parquet, one row per sample."""

from pathlib import Path

import pyarrow.parquet as pq

from recfold.table.files import NewFolder, Progress
from recfold.table.folded import open_table


def expand(table: Path | str, out: Path | str, progress: Progress | None = None) -> int:
    """Write the canonical rows of a folded table to `out/<split>/part-*.parquet`, one file per part, streaming.

    Args:
        table: a folded table.
        out: a new folder.
    Returns:
        number of samples written.
    Raises:
        InputError: there is no such table, a file of it is damaged, or `out` is there already.
    """
    source = open_table(table)
    total = sum(entry.samples for entry in source.manifest.splits.values())
    done = 0
    with NewFolder(Path(out)) as folder:
        folder.clear()
        for split in source.splits():
            (folder.path / split).mkdir()
            for part in source.parts(split):
                writer: pq.ParquetWriter | None = None
                for rows in part.expand(source.manifest):
                    if writer is None:
                        path = folder.path / split / f"part-{part.index:05d}.parquet"
                        writer = pq.ParquetWriter(path, rows.schema, compression="zstd")
                    writer.write_table(rows)
                    done += rows.num_rows
                    if progress is not None:
                        progress("expand", done, total)
                if writer is not None:
                    writer.close()
        folder.finish()
    return done
