"""What the adapters share: files into frames, frames into canonical tables and rejected rows."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa

from recfold.logs.source import REJECTED, Chunk, nothing_rejected
from recfold.spec import InputError

CHUNK_ROWS = 100_000


def read_parquet(path: Path, columns: list[str]) -> pl.DataFrame:
    """Some columns of a Parquet file.

    Raises:
        InputError: the file is missing or damaged, or lacks a column.
    """
    try:
        return pl.read_parquet(path, columns=columns)
    except pl.exceptions.ColumnNotFoundError as error:
        raise InputError(f"{path} lacks a column", got=str(error).splitlines()[0]) from None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"cannot read {path}", got=str(error).splitlines()[0]) from None


def read_separated(path: Path, separator: str, names: list[str] | None = None) -> pl.DataFrame:
    """A text file of separated fields, every field a string (null where empty), nothing quoted.

    Args:
        separator: one or several characters.
        names: of the columns; None where the first line has them.
    Raises:
        InputError: the file is missing, or is not text.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}", got=error.strerror or str(error)) from None
    try:
        lines = text.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        lines = text.decode("latin-1").splitlines()
    rows = [line.split(separator) for line in lines if line]
    if names is None:
        if not rows:
            raise InputError(f"{path} is empty", expected="a first line with the names of the columns")
        names, rows = rows[0], rows[1:]
    columns = {
        name: [row[place] or None if place < len(row) else None for row in rows] for place, name in enumerate(names)
    }
    return pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String))


def integers_where_all_are(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """String columns become int64 where every value that is there is an integer; others stay strings."""
    casts = []
    for name in columns:
        numbers = frame[name].cast(pl.Int64, strict=False)
        if numbers.null_count() == frame[name].null_count():
            casts.append(numbers.alias(name))
    return frame.with_columns(casts)


def selected(frame: pl.DataFrame, columns: Mapping[str, str | pl.Expr]) -> pl.DataFrame:
    """Columns under new names: new name -> column or expression."""
    return frame.select((pl.col(what) if isinstance(what, str) else what).alias(name) for name, what in columns.items())


def canonical(frame: pl.DataFrame) -> pa.Table:
    """A frame as a canonical table: int64, string, float and their lists; timestamps as microseconds."""
    table = frame.to_arrow()
    return table.cast(pa.schema([(field.name, _canonical_type(field.type)) for field in table.schema]))


def _canonical_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_canonical_type(kind.value_type))
    return kind


def rejected(frame: pl.DataFrame, source: str, file: Path, reason: str) -> pa.Table:
    """Rows of a frame with a column `row` (in the file), as rejected rows."""
    content = frame.drop("row").select(pl.struct(pl.all()).struct.json_encode()).to_series()
    columns = {
        "source": pl.Series([source] * frame.height, dtype=pl.String),
        "file": pl.Series([str(file.name)] * frame.height, dtype=pl.String),
        "row": frame["row"].cast(pl.Int64),
        "reason": pl.Series([reason] * frame.height, dtype=pl.String),
        "content": content,
    }
    return pl.DataFrame(columns).to_arrow().cast(REJECTED)


def in_chunks(frame: pl.DataFrame, bad: pa.Table | None = None, rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """A frame in canonical pieces; rejected rows come with the first."""
    for start in range(0, max(frame.height, 1), rows):
        yield Chunk(canonical(frame.slice(start, rows)), bad if bad is not None and start == 0 else nothing_rejected())
