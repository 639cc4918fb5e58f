"""Parquet files: types from the footers, rows in batches."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recfold.logs.generic.block import BLOCK_ROWS, Block, Columns, Format
from recfold.logs.generic.column_type import ColumnType, merge, type_of
from recfold.spec import InputError

_BLOCK_BYTES = 32 << 20
_BUFFER_BYTES = 1 << 20


def parquet_columns(files: tuple[Path, ...], lists: Collection[str]) -> Columns:
    """The columns by the files' footers.

    Raises:
        InputError: a file is no Parquet file, is damaged, or has two columns of one name.
    """
    types: dict[str, ColumnType] = {}
    present = {}
    for path in files:
        with _open(path) as file:
            schema = file.schema_arrow
        present[path] = frozenset(schema.names)
        if len(present[path]) < len(schema.names):
            twice = next(name for name in schema.names if schema.names.count(name) > 1)
            raise InputError(f"{path} has two columns called {twice!r}", todo="rename one of them")
        for column in schema:
            found = type_of(column.type, path)
            types[column.name] = merge(types[column.name], found) if column.name in types else found
    return Columns(types, present)


def parquet_blocks(path: Path, wanted: Mapping[str, ColumnType]) -> Iterator[Block]:
    """The rows, in order.

    Raises:
        InputError: the file is damaged or has vanished.
    """
    first = 0
    with _open(path) as file:
        try:
            for batch in file.iter_batches(_batch_rows(file.metadata), columns=list(wanted)):
                numbers = np.arange(first, first + len(batch))
                first += len(batch)
                yield Block(pa.Table.from_batches([batch]), numbers)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(path, error) from None


def _batch_rows(metadata: pq.FileMetaData) -> int:
    """Rows that make a block of bounded size, by the mean size of a row."""
    total = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    return max(min(BLOCK_ROWS, _BLOCK_BYTES * metadata.num_rows // max(total, 1)), 64)


def _open(path: Path) -> pq.ParquetFile:
    try:
        # buffered: a row group of any size is read a little at a time
        return pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"cannot read {path} as Parquet", got=(str(error) or "an error").splitlines()[0])


PARQUET = Format((".parquet", ".pq"), parquet_columns, parquet_blocks)
