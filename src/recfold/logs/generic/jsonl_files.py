"""JSON Lines: one object a line; a missing key is a null."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recfold.logs.canonical import LARGEST, as_json
from recfold.logs.generic.block import BLOCK_ROWS, BadRow, Block, Columns, Format
from recfold.logs.generic.column_type import ColumnType, Element, merge
from recfold.spec import InputError

_BLOCK_BYTES = 8 << 20
_SHOWN: dict[Element, str] = {
    "null": "null",
    "integer": "integers",
    "huge": "integers beyond 64 bits",
    "float64": "floats",
    "string": "text",
    "mixed": "values of several types",
    "other": "objects or lists of lists",
}


def jsonl_columns(files: tuple[Path, ...], lists: Collection[str]) -> Columns:
    """The columns by all lines of all files.

    Raises:
        InputError: a file cannot be read, or no file holds an object.
    """
    types: dict[str, ColumnType] = {}
    for path in files:
        kinds: dict[str, set[tuple[Element, bool]]] = {}
        for _, _, row in _rows(path):
            if isinstance(row, dict):
                for name, value in row.items():
                    kinds.setdefault(name, set()).update(_kinds(value))
        for name, found in kinds.items():
            if any(is_list and element != "null" for element, is_list in found):
                found.discard(("null", True))
            for element, is_list in sorted(found):
                one = ColumnType(element, is_list, seen=((_shown(element, is_list), path),))
                types[name] = merge(types[name], one) if name in types else one
    if not types:
        raise InputError(f"{files[0]} holds no JSON objects", expected="one object a line")
    return Columns(types, dict.fromkeys(files, frozenset(types)))


def jsonl_blocks(path: Path, wanted: Mapping[str, ColumnType]) -> Iterator[Block]:
    """The rows, in order; a line that is no JSON object is a bad row.

    Raises:
        InputError: the file is damaged or has vanished.
    """
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    bad: list[BadRow] = []
    size = 0
    for number, num_bytes, row in _rows(path):
        if isinstance(row, dict):
            rows.append(row)
            numbers.append(number)
        else:
            bad.append(BadRow(number, "unparsable row", row))
        size += num_bytes
        if len(rows) + len(bad) == BLOCK_ROWS or size >= _BLOCK_BYTES:
            yield _block(rows, numbers, bad, wanted)
            rows, numbers, bad, size = [], [], [], 0
    yield _block(rows, numbers, bad, wanted)


def _block(
    rows: list[dict[str, Any]], numbers: list[int], bad: list[BadRow], wanted: Mapping[str, ColumnType]
) -> Block:
    columns = {name: _column([row.get(name) for row in rows], found) for name, found in wanted.items()}
    return Block(pa.table(columns), np.array(numbers, np.int64), bad=tuple(bad))


def _column(values: list[Any], found: ColumnType) -> pa.Array:
    kind = _arrow(found.element)
    try:
        return pa.array(values, pa.list_(kind) if found.is_list else kind)
    except (pa.ArrowInvalid, TypeError):
        return _column_reference(values, found)


def _column_reference(values: list[Any], found: ColumnType) -> pa.Array:
    """The slow twin of `_column`, which also takes bools for integers, huge integers for floats, anything for text."""
    if found.is_list:
        lists = [None if value is None else [_value(inner, found.element) for inner in value] for value in values]
        return pa.array(lists, pa.list_(_arrow(found.element)))
    return pa.array([_value(value, found.element) for value in values], _arrow(found.element))


def _value(value: Any, element: Element) -> Any:
    if value is None:
        return None
    if element == "integer":
        return int(value)
    if element in ("float64", "huge"):
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")
    return value if isinstance(value, str) else json.dumps(value)


def _arrow(element: Element) -> pa.DataType:
    kinds: dict[Element, pa.DataType] = {
        "null": pa.null(),
        "integer": pa.int64(),
        "float64": pa.float64(),
        "huge": pa.float64(),
    }
    return kinds.get(element, pa.string())


def _rows(path: Path) -> Iterator[tuple[int, int, dict[str, Any] | str]]:
    """Line number, bytes and object; what is no object comes as JSON text. Blank lines are no rows."""
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            for number, line in enumerate(_lines(stream)):
                if line and not line.isspace():
                    yield number, len(line), _parse(line)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {path} as JSON lines", got=(str(error) or "an error").splitlines()[0]) from None


def _lines(stream: pa.NativeFile) -> Iterator[bytes]:
    rest = b""
    while block := stream.read(1 << 20):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _parse(line: bytes) -> dict[str, Any] | str:
    try:
        row = json.loads(line)
        if b"\\u" in line:
            as_json(row).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError):
        return as_json(line.decode(errors="replace").rstrip("\r"))
    return row if isinstance(row, dict) else as_json(row)


def _kinds(value: Any) -> set[tuple[Element, bool]]:
    if isinstance(value, list):
        # most lists hold one type: look at every element only where they do not, or where integers may be too large
        if {type(inner) for inner in value} <= {int} and max(map(abs, value), default=0) <= LARGEST:
            return {("null", True), ("integer", True)} if value else {("null", True)}
        return {("null", True), *((_kind(inner), True) for inner in value)}
    return {(_kind(value), False)}


def _kind(value: Any) -> Element:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "integer"
    if isinstance(value, int):
        return "integer" if -LARGEST - 1 <= value <= LARGEST else "huge"
    if isinstance(value, float):
        return "float64"
    return "string" if isinstance(value, str) else "other"


def _shown(element: Element, is_list: bool) -> str:
    return f"lists of {_SHOWN[element]}" if is_list else _SHOWN[element]


JSONL = Format((".jsonl", ".ndjson", ".json"), jsonl_columns, jsonl_blocks)
