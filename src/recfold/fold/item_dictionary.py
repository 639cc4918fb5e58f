"""The item dictionary of one split, written: what the partitions have is merged with what a table has already."""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recfold.fold.buckets import ArrowFile, read_arrow
from recfold.fold.dictionaries import MergedDictionary, merge_dictionaries
from recfold.fold.job import Job
from recfold.fold.partition import bytes_of, elements_of
from recfold.spec import Schema
from recfold.table import FoldedTable
from recfold.table.conform import Columns
from recfold.table.files import column_bytes, write_parquet_stream
from recfold.table.lists import one_array
from recfold.table.manifest import FileEntry


@dataclass(frozen=True)
class ItemDictionary:
    """What was written of the dictionary of a group.

    Attributes:
        file: None where every row was in the table already.
        merged: of all rows, those of the table included; file k + 1 is that of the k-th partition.
        values, value_bytes, bytes: by column the elements that were written, their bytes in memory and compressed.
    """

    file: FileEntry | None
    merged: MergedDictionary
    values: Mapping[str, int]
    value_bytes: Mapping[str, int]
    bytes: Mapping[str, int]

    @property
    def rows(self) -> int:
        """Rows that were written."""
        return self.file.rows if self.file is not None else 0


def write_item_dictionary(
    out: Path, group: str, locals: Sequence[Path], schema: Schema, job: Job, before: FoldedTable | None
) -> ItemDictionary:
    """Merge the dictionaries of the partitions; rows that the table has keep their numbers and are not written again.

    Args:
        out: file in the folder of the split.
        locals: the partitions' dictionaries.
        schema: with the features that are new.
    """
    split = out.parent.name
    types = {field.name: field.type for field in read_arrow(locals[0]).schema}
    work = job.work / "merged" / f"{split}-{group}"
    shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
    work.mkdir(parents=True)
    begin = 0
    with ArrowFile(work / "known.arrow", pa.schema(types.items())) as known:
        if before is not None and split in before.splits():
            begin = sum(file.rows for file in before.manifest.splits[split].dictionaries.get(group, ()))
            columns = Columns({}, schema)
            for rows in before.dictionary_rows(split, group):
                known.write(columns.conform_dictionary(group, rows))
            if begin == 0:  # parts from before the group existed refer to a row of defaults, which is written now
                known.write(columns.conform_dictionary(group, None))
    merged = merge_dictionaries([work / "known.arrow", *locals], types, work / "merging", job.memory_bytes)
    values: Counter[str] = Counter()
    value_bytes: Counter[str] = Counter()

    def counted() -> Iterator[pa.Table]:
        for rows in merged.rows(begin):
            for name in rows.column_names:
                elements = elements_of(one_array(rows[name]))
                values[name] += len(elements)
                value_bytes[name] += bytes_of(elements)
            yield rows

    if merged.num_rows == begin:
        return ItemDictionary(None, merged, {}, {}, {})
    entry = write_parquet_stream(out, counted(), job.settings.row_group_samples)
    return ItemDictionary(entry, merged, values, value_bytes, column_bytes(pq.read_metadata(out)))
