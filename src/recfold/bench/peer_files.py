"""The joined table as peers of storage and reader keep it: Parquet, one row a sample, in two orders and two cases.

`tuned`: the narrowest integers (int32 ids), per column the smallest of dictionary, plain and byte-stream split, zstd at
the level of the folded table. `default`: types as in the logs, written as pyarrow does when it is told nothing.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recfold.fold.columns import narrowest
from recfold.spec import Schema
from recfold.table.files import ENCODINGS, ZSTD_LEVEL, column_bytes, parquet_paths

ROW_GROUP_BYTES = 64 << 20
"""Of a row group in memory."""
CASES = ("tuned", "default")
ORDERS = ("arrival-order", "clustered")
SPLITS = ("train", "validation")


def split_path(folder: Path, split: str) -> Path:
    return folder / f"{split}.parquet"


def write_peer_files(clustered: Path, schema: Schema, out: Path) -> None:
    """Write every case of every order.

    Args:
        clustered: folder of the joined table, clustered by session, as `fold_with_polars` leaves it.
        out: gets a folder `<order>-<case>` each.
    """
    for split in SPLITS:
        if not split_path(clustered, split).exists():
            continue
        for case in CASES:
            table = _columns(split_path(clustered, split), case)
            for order in ORDERS:
                if order == "arrival-order":
                    by = np.lexsort((table[schema.keys.request].to_numpy(), table[schema.keys.time].to_numpy()))
                    ordered = pa.table({name: column.take(pa.array(by)) for name, column in _one(table)})
                else:
                    ordered = table
                folder = out / f"{order}-{case}"
                folder.mkdir(exist_ok=True)
                (write_tuned if case == "tuned" else write_default)(split_path(folder, split), ordered)


def write_tuned(path: Path, table: pa.Table) -> None:
    """Write each column in its smallest encoding, measured on the first row group."""
    rows = rows_per_group(table)
    sample = table.slice(0, rows)
    sizes: dict[str, dict[str, int]] = {}
    for encoding in ENCODINGS:
        sink = pa.BufferOutputStream()
        _write_tuned(sink, sample, dict.fromkeys(parquet_paths(table.schema), encoding), rows)
        metadata = pq.ParquetFile(pa.BufferReader(sink.getvalue())).metadata
        for column, size in column_bytes(metadata).items():
            sizes.setdefault(column, {})[encoding] = size
    _write_tuned(path, table, {column: min(found, key=found.__getitem__) for column, found in sizes.items()}, rows)


def write_default(path: Path, table: pa.Table) -> None:
    """Write as pyarrow does by itself: snappy, dictionaries; only the size of row groups is set."""
    pq.write_table(table, path, row_group_size=rows_per_group(table))


def rows_per_group(table: pa.Table) -> int:
    """Rows that take about 64 MB in memory."""
    return max(ROW_GROUP_BYTES * table.num_rows // max(table.nbytes, 1), 1)


def _write_tuned(path: Path | pa.BufferOutputStream, table: pa.Table, encodings: dict[str, str], rows: int) -> None:
    types = parquet_paths(table.schema)
    dictionary = [column for column, encoding in encodings.items() if encoding == "DICTIONARY"]
    others = {column: encoding for column, encoding in encodings.items() if encoding != "DICTIONARY"}
    for column, encoding in others.items():
        if encoding == "BYTE_STREAM_SPLIT" and not pa.types.is_primitive(types[column]):
            others[column] = "PLAIN"
    pq.write_table(
        table,
        path,
        row_group_size=rows,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=dictionary,
        column_encoding=others,
        write_statistics=False,
    )


def _columns(path: Path, case: str) -> pa.Table:
    """The joined table; column by column, so that wide and narrow integers are never in memory together."""
    file = pq.ParquetFile(path)
    found = {}
    for name in file.schema_arrow.names:
        column = file.read(columns=[name]).column(0).combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks)
        found[name] = _plain_lists(column, narrow=case == "tuned")
    return pa.table(found)


def _one(table: pa.Table) -> Iterator[tuple[str, pa.Array]]:
    for name, column in zip(table.column_names, table.columns, strict=True):
        yield name, column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _plain_lists(column: pa.Array, narrow: bool) -> pa.Array:
    """Lists with 32-bit offsets and, where wanted, integers as narrow as their values allow."""
    lists = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    element = column.type.value_type if lists else column.type
    if narrow and pa.types.is_integer(element):
        low_high = pc.min_max(column.flatten() if lists else column)
        element = narrowest(min(low_high["min"].as_py() or 0, 0), max(low_high["max"].as_py() or 0, 0))
    return column.cast(pa.list_(element) if lists else element)
