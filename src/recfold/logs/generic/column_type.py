"""What a column of a set of files holds, whatever the files' format."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa

from recfold.logs.canonical import is_list, plain_type

Element = Literal["null", "integer", "huge", "float32", "float64", "string", "time", "mixed", "other"]
"""`huge`: integers beyond int64; `mixed`: of several kinds that do not widen to one; `other`: what no feature holds."""

_NUMBERS = ("integer", "huge", "float32", "float64")


@dataclass(frozen=True)
class ColumnType:
    """The type of a column.

    Args:
        element: of a value, or of the elements of a list.
        is_list: whether values are lists.
        width: of lists that all have one length by their type.
        seen: each type as its file calls it, with the first such file.
    """

    element: Element
    is_list: bool = False
    width: int | None = None
    seen: tuple[tuple[str, Path], ...] = ()

    @property
    def shown(self) -> str:
        return self.seen[0][0] if self.seen else "null"


def type_of(kind: pa.DataType, file: Path) -> ColumnType:
    """The type of an Arrow column."""
    seen = ((_shown(kind), file),)
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    if is_list(inner):
        width = inner.list_size if pa.types.is_fixed_size_list(inner) else None
        return ColumnType(_element(inner.value_type), True, width, seen)
    return ColumnType(_element(inner), seen=seen)


def merge(first: ColumnType, second: ColumnType) -> ColumnType:
    """What holds the values of both.

    >>> merge(ColumnType("integer"), ColumnType("float32")).element
    'float64'
    """
    if first.element == "null" and (second.is_list or not first.is_list):
        return _beside_nulls(second, first)
    if second.element == "null" and (first.is_list or not second.is_list):
        return _beside_nulls(first, second)
    known = [shown for shown, _ in first.seen]
    seen = (*first.seen, *(pair for pair in second.seen if pair[0] not in known))
    if first.is_list != second.is_list:
        return ColumnType("mixed", seen=seen)
    width = first.width if first.width == second.width else None
    return ColumnType(merge_elements(first.element, second.element), first.is_list, width, seen)


def _beside_nulls(held: ColumnType, nulls: ColumnType) -> ColumnType:
    return held if not nulls.is_list or nulls.width == held.width else replace(held, width=None)


def merge_elements(first: Element, second: Element) -> Element:
    if first == second or second == "null":
        return first
    if first == "null":
        return second
    if first in _NUMBERS and second in _NUMBERS:
        return "huge" if {first, second} == {"integer", "huge"} else "float64"
    return "mixed"


def _element(kind: pa.DataType) -> Element:
    if pa.types.is_dictionary(kind):
        return _element(kind.value_type)
    plain = plain_type(kind)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "time"
    known: dict[pa.DataType, Element] = {
        pa.null(): "null",
        pa.int64(): "integer",
        pa.float32(): "float32",
        pa.float64(): "float64",
        pa.string(): "string",
    }
    return known.get(plain, "other")


def _shown(kind: pa.DataType) -> str:
    if is_list(kind):
        size = f", {kind.list_size}" if pa.types.is_fixed_size_list(kind) else ""
        return f"list<{_shown(kind.value_type)}{size}>"
    return str(kind)
