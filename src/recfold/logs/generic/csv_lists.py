"""Lists in CSV fields: `[1, 2, null]` or `1|2|`; an empty element between bars is a null."""

import json
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recfold.logs.canonical import LARGEST, lists_of
from recfold.logs.generic.column_type import Element, merge_elements

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_BARE = r"(0|-?[1-9][0-9]*)"
_GAP = r"[ \t\n\r]*"
_INTEGERS = rf"^{_BARE}?(\|{_BARE}?)*$|^\[{_GAP}\]$|^\[{_GAP}({_BARE}|null)({_GAP},{_GAP}({_BARE}|null))*{_GAP}\]$"
_FLOAT = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(?i:nan|inf)")


def list_element(column: pa.Array) -> tuple[Element, bool]:
    """What every element of every list of a column can be read as, and whether all values are lists.

    >>> list_element(pa.array(["1|2", "[3, null]", "[]"])), list_element(pa.array(['["1"]', "2", "[x"]))
    (('integer', True), ('mixed', False))
    """
    quick = integer_lists(column)
    if quick is not None:
        return ("null" if quick.values.null_count == len(quick.values) else "integer"), True
    element: Element = "null"
    parsed = {text: parse_list(text) for text in column.unique().drop_null().to_pylist()}
    for text, values in parsed.items():
        kind_of = _kind if text.startswith("[") else _kind_of_text
        for kind in sorted({kind_of(value) for value in values or []}):
            element = merge_elements(element, kind)
    return element, None not in parsed.values()


def list_column(column: pa.Array, element: Element) -> tuple[pa.Array, np.ndarray]:
    """Texts as lists of one type of element, and which of them (bool) are no lists."""
    quick = integer_lists(column) if element == "integer" else None
    if quick is not None:
        return quick, np.zeros(len(column), bool)
    return list_column_reference(column, element)


def list_column_reference(column: pa.Array, element: Element) -> tuple[pa.Array, np.ndarray]:
    """The slow twin of `list_column`, which serves every type of element: text by text, equal ones once."""
    coded = column.dictionary_encode()
    parsed = [parse_list(text) for text in coded.dictionary.to_pylist()]
    kind = {"integer": pa.int64(), "float64": pa.float64(), "null": pa.null()}.get(element, pa.string())
    lists = [None if values is None else [_value(value, element) for value in values] for values in parsed]
    which = pc.fill_null(coded.indices, len(lists))
    wrong = np.array([*(values is None for values in parsed), False])
    return pa.array([*lists, None], pa.list_(kind)).take(which), wrong[which.to_numpy()]


def integer_lists(column: pa.Array) -> pa.Array | None:
    """Texts that are all lists of 64-bit integers, without a loop over them; None where one is something else.

    >>> integer_lists(pa.array(["[1, null]", "2||-3", "[]", None])).to_pylist()
    [[1, None], [2, None, -3], [], None]
    """
    if not pc.all(pc.match_substring_regex(column, _INTEGERS), min_count=0).as_py():
        return None
    bare = pc.replace_substring_regex(column, r"[\[\] \t\n\r]", "")
    # an empty list must not be split into one empty element
    pieces = pc.split_pattern_regex(pc.if_else(pc.equal(bare, ""), None, bare), "[,|]")
    texts = pieces.flatten()
    try:
        values = pc.if_else(pc.is_in(texts, pa.array(["", "null"])), None, texts).cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    return lists_of(pieces, values, column.is_null())


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
