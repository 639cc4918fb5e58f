"""Lists in CSV fields: `[1, 2, null]` or `1|2|`; an empty element between bars is a null."""

import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recfold.logs.canonical import LARGEST
from recfold.logs.generic.column_type import Element, merge_elements

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_FLOAT = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(?i:nan|inf)")


def list_element(column: pa.Array) -> tuple[Element, bool]:
    """What every element of every list of a column can be read as, and whether all values are lists.

    >>> list_element(pa.array(["1|2", "[3, null]", "[]"])), list_element(pa.array(['["1"]', "2", "[x"]))
    (('integer', True), ('mixed', False))
    """
    element: Element = "null"
    parsed = {text: parse_list(text) for text in column.unique().drop_null().to_pylist()}
    for text, values in parsed.items():
        kind_of = _kind if text.startswith("[") else _kind_of_text
        for kind in sorted({kind_of(value) for value in values or []}):
            element = merge_elements(element, kind)
    return element, None not in parsed.values()


def list_column(column: pa.Array, element: Element) -> tuple[pa.Array, np.ndarray]:
    """Texts as lists of one type of element, and which of them (bool) are no lists."""
    coded = column.dictionary_encode()
    parsed = [parse_list(text) for text in coded.dictionary.to_pylist()]
    kind = {"integer": pa.int64(), "float64": pa.float64(), "null": pa.null()}.get(element, pa.string())
    lists = [None if values is None else [_value(value, element) for value in values] for values in parsed]
    which = pc.fill_null(coded.indices, len(lists))
    wrong = np.array([*(values is None for values in parsed), False])
    return pa.array([*lists, None], pa.list_(kind)).take(which), wrong[which.to_numpy()]


def parse_list(text: str) -> list[Any] | None:
    """The elements of a list in a CSV field (the empty text is the empty list); None where it is none.

    >>> parse_list("a||b"), parse_list('["a", null]'), parse_list("7"), parse_list("[1"), parse_list("[[1]]")
    (['a', None, 'b'], ['a', None], ['7'], None, None)
    """
    if not text.startswith("["):
        return [] if not text else [piece or None for piece in text.split("|")]
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if any(isinstance(value, list | dict) for value in values) else values


def _value(value: Any, element: Element) -> Any:
    if value is None:
        return None
    if element == "integer":
        return int(value)
    if element == "float64":
        return float(value)
    return value if isinstance(value, str) else json.dumps(value)


def _kind(value: Any) -> Element:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "string"
    if isinstance(value, float):
        return "float64"
    return "integer" if -LARGEST - 1 <= value <= LARGEST else "huge"


def _kind_of_text(text: str | None) -> Element:
    if text is None:
        return "null"
    if _INTEGER.fullmatch(text):
        return _kind(int(text))
    return "float64" if _FLOAT.fullmatch(text) else "string"
