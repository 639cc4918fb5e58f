"""Types of canonical columns: what each holds over all files, and the narrowest type that holds it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recfold.fold.threads import each
from recfold.spec import InputError
from recfold.table.lists import flatten, is_list, one_array

_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())


@dataclass(frozen=True)
class Extent:
    """What a column has held so far: element type, whether it is a list, smallest and largest integer."""

    type: pa.DataType
    list: bool
    low: int = 0
    high: int = 0

    def arrow_type(self) -> pa.DataType:
        """The narrowest type that holds everything."""
        type = narrowest(self.low, self.high) if pa.types.is_integer(self.type) else self.type
        return pa.list_(type) if self.list else type


def narrowest(low: int, high: int) -> pa.DataType:
    """The narrowest signed integer type that holds both.

    >>> narrowest(0, 127), narrowest(-129, 0), narrowest(0, 2**31)
    (DataType(int8), DataType(int16), DataType(int64))
    """
    for type in _INTEGERS:
        if -(1 << (type.bit_width - 1)) <= low and high < 1 << (type.bit_width - 1):
            return type
    raise ValueError(f"{low} to {high} fits no integer type")


def extent_of(name: str, column: pa.Array) -> Extent:
    """What one column holds.

    Raises:
        InputError: it is of a type that no log has in canonical form.
    """
    elements = column
    if is_list(column.type):
        elements = flatten(column).values
    type = elements.type
    if pa.types.is_null(type):
        return Extent(pa.int8(), is_list(column.type))
    if pa.types.is_integer(type) and type != pa.uint64():
        found = pc.min_max(elements).as_py()
        return Extent(pa.int64(), is_list(column.type), min(found["min"] or 0, 0), max(found["max"] or 0, 0))
    if type in (pa.float32(), pa.float64(), pa.string()):
        return Extent(type, is_list(column.type))
    raise InputError(
        f"column {name!r} cannot be folded",
        got=f"type {column.type}",
        expected="integers, floats, strings or lists of them",
    )


def widen(name: str, known: Extent | None, new: Extent) -> Extent:
    """What two pieces of a column hold together.

    Raises:
        InputError: they are of different types.
    """
    if known is None or known == new:
        return new
    if {known.type, new.type} == {pa.float32(), pa.float64()} and known.list == new.list:
        return Extent(pa.float64(), known.list)
    if known.list != new.list or (known.type != new.type and pa.int8() not in (known.type, new.type)):
        raise InputError(
            f"column {name!r} changes its type",
            got=f"{'list of ' if new.list else ''}{new.type} after {'list of ' if known.list else ''}{known.type}",
            todo="write it with one type in all files",
        )
    type = known.type if new.type == pa.int8() else new.type
    return Extent(type, known.list, min(known.low, new.low), max(known.high, new.high))


def cast_columns(table: pa.Table, types: dict[str, pa.DataType]) -> pa.Table:
    """The columns that have a type in `types`, in that order and cast to it."""
    cast = each(lambda name: cast_column(one_array(table[name]), types[name]), types)
    return pa.table(dict(zip(types, cast, strict=True)))


def cast_column(column: pa.Array, type: pa.DataType) -> pa.Array:
    """One column in another integer width, or a fixed-size list as a list; values stay the same."""
    if column.type == type:
        return column
    return column.cast(type, safe=False) if not pa.types.is_fixed_size_list(column.type) else _plain_list(column, type)


def _plain_list(column: pa.Array, type: pa.DataType) -> pa.Array:
    flat = flatten(column)
    mask = pa.array(flat.null) if flat.null is not None else None
    return pa.ListArray.from_arrays(
        pa.array(flat.offsets.astype(np.int32)), flat.values.cast(type.value_type), mask=mask
    )


def columns_of(table: pa.Table, wanted: Iterable[str]) -> dict[str, pa.Array]:
    """Some columns of a table, each as one array, in the order wanted; those that are not there are left out."""
    return {name: one_array(table[name]) for name in wanted if name in table.column_names}


def wider(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """The one of two types of one shape that holds what both hold: integers, or floats.

    >>> wider(pa.list_(pa.int8()), pa.list_(pa.int32()))
    ListType(list<item: int32>)
    """
    if element_type(a) == pa.int8() and not pa.types.is_integer(element_type(b)):
        return b  # int8 stands for nulls
    return b if _width(b) > _width(a) else a


def _width(type: pa.DataType) -> int:
    inner = element_type(type)
    return inner.bit_width if pa.types.is_integer(inner) or pa.types.is_floating(inner) else 0


def element_type(type: pa.DataType) -> pa.DataType:
    """The type inside all lists.

    >>> element_type(pa.list_(pa.list_(pa.int8())))
    DataType(int8)
    """
    while is_list(type):
        type = type.value_type
    return type
