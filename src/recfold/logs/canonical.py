"""Columns in canonical form: plain Arrow types, numbers, and rows that could not be used."""

import json
from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from recfold.logs.source import REJECTED
from recfold.spec import InputError

LARGEST = (1 << 63) - 1


def plain(column: pa.Array, where: str) -> pa.Array:
    """A column in the plain type of its values; null, empty list and null element stay what they are.

    Integers and bools become int64, half floats float32, decimals float64; dictionaries, large and view types are
    decoded; so are the elements of lists. Types that no feature holds come back as they are.

    Args:
        where: the column, for the message ("column 'age' of part-0.parquet").
    Raises:
        InputError: an unsigned integer is above 2**63 - 1.

    Example:
        >>> plain(pa.array([[True], None], pa.large_list(pa.bool_())), "column 'x'").type
        ListType(list<item: int64>)
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary_decode(), where)
    if pa.types.is_fixed_size_list(kind):
        width = kind.list_size
        values = plain(column.values.slice(column.offset * width, len(column) * width), where)
        mask = column.is_null() if column.null_count else None
        return pa.FixedSizeListArray.from_arrays(values, type=pa.list_(values.type, width), mask=mask)
    if is_list(kind):
        # not by a cast: that of list views is wrong in pyarrow 26
        return lists_of(column, plain(column.flatten(), where), column.is_null())
    if kind == pa.uint64() and pc.any(pc.greater(column, pa.scalar(LARGEST, pa.uint64()))).as_py():
        raise InputError(f"{where} holds integers above 2**63 - 1", todo="write them as signed integers or as strings")
    target = plain_type(kind)
    return column if target == kind else column.cast(target)


def lists_of(shape: pa.Array, values: pa.Array, null: pa.Array) -> pa.Array:
    """Lists as long as those of `shape`, of the elements `values`, null where `null` says so.

    >>> lists_of(pa.array([[1, 2], None, [3]]), pa.array(["a", "b", "c"]), pa.array([False, False, True])).to_pylist()
    [['a', 'b'], [], None]
    """
    offsets = np.zeros(len(shape) + 1, np.int32)
    np.cumsum(pc.fill_null(pc.list_value_length(shape), 0).to_numpy(), out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=null)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The plain type of a scalar type; itself for a type that no feature holds."""
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_float16(kind):
        return pa.float32()
    return pa.float64() if pa.types.is_decimal(kind) else kind


def is_list(kind: pa.DataType) -> bool:
    """Whether values of this type are lists of any layout."""
    return any(
        is_kind(kind)
        for is_kind in (
            pa.types.is_list,
            pa.types.is_large_list,
            pa.types.is_fixed_size_list,
            pa.types.is_list_view,
            pa.types.is_large_list_view,
        )
    )


def parse_numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """A scalar column as float64 (NaN where there is no number), and which values are there but are no finite number.

    Text is read as Python's `float` would, `true` and `false` are 1 and 0.

    >>> numbers, wrong = parse_numbers(pa.array(["2.5", "x", None, "true"]))
    >>> numbers.tolist(), wrong.tolist()
    ([2.5, nan, nan, 1.0], [False, True, False, False])
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_float16(column.type) or pa.types.is_decimal(column.type):
        column = column.cast(plain_type(column.type))
    series = pl.Series(pl.from_arrow(column))
    if series.dtype == pl.String:
        text = series.str.strip_chars().str.to_lowercase()
        series = text.replace({"true": "1", "false": "0"})
    if series.dtype.is_temporal() or series.dtype.is_nested() or series.dtype == pl.Binary:
        series = pl.Series([None] * len(series), dtype=pl.Float64)
    numbers = series.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    null = column.is_null().to_numpy(zero_copy_only=False)
    wrong = ~np.isfinite(numbers) & ~null
    return np.where(wrong, np.nan, numbers), wrong


def reject_rows(source: str, file: str, numbers: np.ndarray, reasons: Sequence[str], rows: pa.Table) -> pa.Table:
    """Rows that could not be used, with the columns of `REJECTED`.

    Args:
        source: `impressions`, `outcomes` or `side:NAME`.
        file: as the folder of the logs names it.
        numbers: of the rows in the file, int64.
        reasons: one a row.
        rows: as they came; written as JSON.
    """
    content = [as_json(row) for row in _without_times(rows).to_pylist()]
    return rejected_table(source, file, numbers, reasons, content)


def rejected_table(
    source: str, file: str, numbers: np.ndarray, reasons: Sequence[str], content: Sequence[str]
) -> pa.Table:
    """`reject_rows` for rows that are JSON already."""
    columns = [[source] * len(content), [file] * len(content), numbers, list(reasons), list(content)]
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, REJECTED, strict=True)], schema=REJECTED
    )


def as_json(row: object) -> str:
    """A row as JSON; what JSON cannot say (a time, NaN) is written as text.

    >>> as_json({"a": float("nan"), "b": [1, None]})
    '{"a": "nan", "b": [1, null]}'
    """
    try:
        return json.dumps(row, default=str, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(row), default=str, ensure_ascii=False)


def _without_times(rows: pa.Table) -> pa.Table:
    """Times as text: Python has none for nanoseconds and for some years."""
    for index, column in enumerate(rows.schema):
        kind = column.type
        if pa.types.is_timestamp(kind):
            # in UTC: names of zones need not be known here
            text = rows[index].cast(pa.timestamp(kind.unit)).cast(pa.string())
            zoned = pc.binary_join_element_wise(text, "Z", "") if kind.tz else text
            rows = rows.set_column(index, column.name, zoned)
        elif pa.types.is_date(kind):
            rows = rows.set_column(index, column.name, rows[index].cast(pa.string()))
    return rows


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
