"""What a column is read as, and whether its type allows that."""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from recfold.logs.generic.column_type import ColumnType
from recfold.spec import InputError
from recfold.spec.schema import Kind, TimeUnit

Role = Literal["key", "time", "number", "text", "weights"] | Kind

_IDS: dict[str, pa.DataType] = {"integer": pa.int64(), "null": pa.int64(), "string": pa.string()}
_FLOATS: dict[str, pa.DataType] = {
    "float32": pa.float32(),
    "float64": pa.float64(),
    "integer": pa.float64(),
    "huge": pa.float64(),
    "null": pa.float64(),
}
_LISTS: tuple[Role, ...] = ("ids", "sequence", "dense_sequence", "vector", "weights")
_EXPECTED: dict[Role, str] = {
    "key": "integers or strings",
    "id": "integers or strings",
    "ids": "lists of integers or of strings",
    "sequence": "lists of integers or of strings",
    "dense": "numbers",
    "dense_sequence": "lists of numbers",
    "vector": "lists of numbers, all of one length",
    "weights": "lists of numbers",
    "number": "numbers",
    "time": "times",
    "text": "text",
}


@dataclass(frozen=True)
class Use:
    """One use of a column of the files.

    Args:
        name: canonical column that it becomes.
        column: as the files call it.
        role: what it is read as.
        said: where that is said ("features.age"), for messages.
        type: Arrow type of a `number`.
        unit: of a `time` in numbers.
    """

    name: str
    column: str
    role: Role
    said: str
    type: pa.DataType | None = None
    unit: TimeUnit = "us"

    @property
    def is_list(self) -> bool:
        return self.role in _LISTS


def target_type(use: Use, found: ColumnType) -> pa.DataType:
    """The Arrow type of the canonical column.

    Raises:
        InputError: the files' type does not allow the use.
    """
    if use.role == "time":
        return _checked(use, found, not found.is_list and found.element != "other", pa.int64())
    if use.role == "number":
        allowed = not found.is_list and found.element not in ("other", "time")
        return _checked(use, found, allowed, use.type)
    if use.role == "text":
        allowed = not found.is_list and found.element in ("string", "integer", "null")
        return _checked(use, found, allowed, pa.string())
    ids = use.role in ("key", "id", "ids", "sequence")
    element = (_IDS if ids else _FLOATS).get(found.element)
    nothing = found.element == "null" and not found.is_list
    allowed = element is not None and (nothing or found.is_list == use.is_list)
    if not use.is_list:
        return _checked(use, found, allowed, element)
    element = pa.float32() if use.role == "weights" else element
    if use.role == "vector" and found.width is not None:
        return _checked(use, found, allowed, pa.list_(element or pa.null(), found.width))
    return _checked(use, found, allowed, pa.list_(element or pa.null()))


def _checked(use: Use, found: ColumnType, allowed: bool, target: pa.DataType | None) -> pa.DataType:
    if allowed and target is not None:
        return target
    if found.element == "huge":
        shown, file = found.seen[-1]
        raise InputError(
            f"column {use.column!r} of {file} holds integers above 2**63 - 1",
            todo="write them as signed integers or as strings",
        )
    if len(found.seen) > 1:
        (shown, file), (other, other_file) = found.seen[0], found.seen[-1]
        both = (
            f"{shown} and {other} in {file}" if file == other_file else f"{shown} in {file} but {other} in {other_file}"
        )
        raise InputError(
            f"column {use.column!r} is {both}",
            expected=f"{_EXPECTED[use.role]} ({use.said})",
            todo="write it with one type in all files",
        )
    where = f" of {found.seen[0][1]}" if found.seen else ""
    raise InputError(
        f"column {use.column!r}{where} is {found.shown}, which {use.said} cannot be read from",
        expected=_EXPECTED[use.role],
        todo="name another column, or another kind of feature" if use.said.startswith("features.") else None,
    )
