"""The joined table as peers of storage and reader keep it: Parquet, one row a sample, in two orders and two cases.

Integers are as narrow as in a folded table (int32 ids). `tuned`: per column the smallest of dictionary, plain and
byte-stream split, zstd at the level of the folded table. `default`: as pyarrow writes when it is told nothing.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recfold.fold.columns import narrowest
from recfold.spec import Schema
from recfold.table.files import ENCODINGS, ZSTD_LEVEL, column_bytes, parquet_paths
from recfold.table.lists import one_array

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
        table = _narrow_columns(split_path(clustered, split))
        for order in ORDERS:
            for case in CASES:
                (out / f"{order}-{case}").mkdir(exist_ok=True)
            ordered = _by_arrival(table, schema) if order == "arrival-order" else table
            write_tuned(split_path(out / f"{order}-tuned", split), ordered)
            write_default(split_path(out / f"{order}-default", split), ordered)


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


def _narrow_columns(path: Path) -> pa.Table:
    """The joined table in narrow integers; column by column, so that the wide ones are never all in memory."""
    with pq.ParquetFile(path) as file:
        return pa.table({name: _narrow(one_array(file.read(columns=[name])[name])) for name in file.schema_arrow.names})


def _narrow(column: pa.Array) -> pa.Array:
    """Integers as narrow as their values allow, in lists with 32-bit offsets."""
    lists = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    element = column.type.value_type if lists else column.type
    if pa.types.is_integer(element):
        found = pc.min_max(column.flatten() if lists else column).as_py()
        element = narrowest(min(found["min"] or 0, 0), max(found["max"] or 0, 0))
    return column.cast(pa.list_(element) if lists else element)


def _by_arrival(table: pa.Table, schema: Schema) -> pa.Table:
    """The rows by time."""
    time, request = (table[name].to_numpy() for name in (schema.keys.time, schema.keys.request))
    order = pa.array(np.lexsort((request, time)))
    return pa.table({name: one_array(table[name]).take(order) for name in table.column_names})
