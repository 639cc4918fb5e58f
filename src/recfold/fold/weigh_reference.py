"""The slow, obvious twin of `weigh`: Python lists, one sample at a time."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from recfold.fold.partition import UNIT
from recfold.fold.reference import Row, bits
from recfold.fold.weigh import LENGTH_BYTES, MAX_CHANGE, TEXT_BYTES
from recfold.spec import Schema
from recfold.table.expand import feature_columns

Forms = dict[tuple[str, str | None], tuple[float, float]]
"""(kind, key) -> dedup factor, bytes per sample."""
Widths = dict[str, tuple[bool, int | None]]
"""Column -> whether it holds lists, and the bytes of an element (None for text)."""


def forms_reference(schema: Schema, sample: pa.Table, features: Sequence[str], num_samples: int) -> Forms:
    """What `Weighing.forms` estimates, of a sample out of `num_samples`."""
    rows = sample.to_pylist()
    columns = [column for name in features for column in feature_columns(schema, name)]
    widths = {column: _element_width(sample.schema.field(column).type) for column in columns}
    n = len(rows)
    runs = [i for i in range(n) if i == 0 or _differ(rows[i - 1], rows[i], [UNIT, *columns])]
    found: Forms = {("sample", None): (1.0, _stored(rows, widths) / n)}
    inverse = n * _width(max(Counter(rows[i][UNIT] for i in runs).values()) - 1)
    found["session", None] = n / len(runs), (_stored([rows[i] for i in runs], widths) + inverse) / n
    if all(schema.features[name].is_list for name in features) and _line_up(rows, columns):
        merged, starts, lengths = _merge([rows[i] for i in runs], columns)
        stored = sum(_elements(merged, column, widths) for column in columns)
        index = len(runs) * (_width(max(starts)) + _width(max(lengths))) + inverse
        expanded = sum(len(row[column] or ()) for row in rows for column in columns)
        kept = len(merged) * len(columns)
        found["window", None] = expanded / kept if kept else n / len(runs), (stored + index) / n
    lists = any(is_list for is_list, _ in widths.values())
    for key, column in (("item", "candidate"), ("user", "user")):
        if lists and column in rows[0] and all(_belongs(schema, rows, name, column) for name in features):
            found["dictionary", key] = _dictionary(rows, widths, key, num_samples)
    return found


def _dictionary(rows: Sequence[Row], widths: Widths, key: str, num_samples: int) -> tuple[float, float]:
    contents: dict[Any, Row] = {}
    owners: dict[Any, set[Any]] = {}
    for row in rows:
        content = (row.get("split"), *(bits(row[column]) for column in widths))
        contents.setdefault(content, row)
        owners.setdefault(content, set()).add(_owner(row))
    more = num_samples / len(rows) - 1
    with_one_owner = sum(len(found) == 1 for found in owners.values())
    expected = len(contents) + more * (with_one_owner if key == "item" else len(contents))
    expected = min(expected, num_samples)
    row_bytes = _stored(list(contents.values()), widths) / len(contents)
    return num_samples / expected, (expected * row_bytes) / num_samples + _width(int(expected) - 1)


def _owner(row: Row) -> Any:
    return ("user", row["user"]) if row.get("user") is not None else ("unit", row[UNIT])


def _belongs(schema: Schema, rows: Sequence[Row], feature: str, key: str) -> bool:
    contents = [tuple(bits(row[column]) for column in feature_columns(schema, feature)) for row in rows]
    last: dict[Any, int] = {}
    met = differ = 0
    for i, row in enumerate(rows):
        whose = (row.get("split"), _owner(row) if key == "user" else row[key])
        before = last.get(whose)
        if before is not None and rows[before][UNIT] != row[UNIT]:
            met += 1
            differ += contents[before] != contents[i]
        last[whose] = i
    any_two = 1 - sum((count / len(rows)) ** 2 for count in Counter(contents).values())
    return met > 0 and differ / met <= MAX_CHANGE * any_two


def _differ(a: Row, b: Row, columns: Sequence[str]) -> bool:
    return any(bits(a[column]) != bits(b[column]) for column in columns)


def _line_up(rows: Sequence[Row], columns: Sequence[str]) -> bool:
    return all(len({None if row[c] is None else len(row[c]) for c in columns}) == 1 for row in rows)


def _merge(windows: Sequence[Row], columns: Sequence[str]) -> tuple[list[tuple[Any, ...]], list[int], list[int]]:
    """Merged lists of all units, each element a tuple of the columns; start and length of each window."""
    merged, starts, lengths = [], [], []
    for unit in dict.fromkeys(row[UNIT] for row in windows):
        lists = [
            [] if row[columns[0]] is None else list(zip(*(row[column] for column in columns), strict=True))
            for row in windows
            if row[UNIT] == unit
        ]
        live = [window for window in lists if window]
        forward = sum(_overlap(a, b) for a, b in itertools.pairwise(live))
        backward = sum(_overlap(b, a) for a, b in itertools.pairwise(live))
        whole: list[tuple[Any, ...]] = []
        ends = []
        before: list[tuple[Any, ...]] = []
        for window in lists:
            if window:
                shared = _overlap(window, before) if backward > forward else _overlap(before, window)
                new = window[: len(window) - shared] if backward > forward else window[shared:]
                whole = [*new, *whole] if backward > forward else [*whole, *new]
                before = window
            ends.append(len(whole))
        for window, end in zip(lists, ends, strict=True):
            starts.append(0 if not window else len(whole) - end if backward > forward else end - len(window))
            lengths.append(len(window))
        merged += whole
    return merged, starts, lengths


def _overlap(a: list[Any], b: list[Any]) -> int:
    """How many of the last of `a` are the first of `b`."""
    pairs = range(min(len(a), len(b)), 0, -1)
    return next((k for k in pairs if [bits(list(x)) for x in a[-k:]] == [bits(list(x)) for x in b[:k]]), 0)


def _elements(merged: Sequence[tuple[Any, ...]], column: str, widths: Widths) -> int:
    at = list(widths).index(column)
    return sum(_size(element[at], widths[column][1]) for element in merged)


def _stored(rows: Sequence[Row], widths: Widths) -> int:
    """What the values of some rows take."""
    total = 0
    for column, (is_list, width) in widths.items():
        for row in rows:
            values = (row[column] or []) if is_list else [row[column]]
            total += LENGTH_BYTES * is_list + sum(_size(value, width) for value in values)
    return total


def _size(value: Any, width: int | None) -> int:
    return width if width is not None else TEXT_BYTES + len((value or "").encode())


def _element_width(type: pa.DataType) -> tuple[bool, int | None]:
    is_list = pa.types.is_nested(type)
    inner = type.value_type if is_list else type
    return is_list, None if pa.types.is_string(inner) else inner.bit_width // 8


def _width(largest: int) -> int:
    return next(width for width in (1, 2, 4, 8) if largest < 1 << (8 * width - 1))
