"""Equality and hashes of rows, bit for bit, against obvious Python."""

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.fold import bits as room
from recfold.fold.bits import bits_of, changed, content_hash, distinct_rows, element_hash, rows_equal
from recfold.fold.reference import bits

OTHER_NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]
ELEMENTS = {
    "int64": (pa.int64(), st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)])),
    "int8": (pa.int8(), st.sampled_from([0, 1, -128])),
    "double": (pa.float64(), st.sampled_from([0.0, -0.0, float("nan"), OTHER_NAN, float("inf"), 1.5])),
    "float": (pa.float32(), st.sampled_from([0.0, -0.0, float("nan"), 1.5])),
    "string": (pa.string(), st.sampled_from(["", "a", "aa", "é", "a\0"])),
}


@st.composite
def columns(draw: st.DrawFn) -> pa.Array:
    """A column of any kind, maybe a slice of a longer one."""
    type, elements = ELEMENTS[draw(st.sampled_from(sorted(ELEMENTS)))]
    values = st.none() | elements
    if draw(st.booleans()):
        type, values = pa.list_(type), st.none() | st.lists(values, max_size=3)
    column = pa.array(draw(st.lists(values, max_size=9)), type)
    return column.slice(draw(st.integers(0, 2)))


def contents(column: pa.Array) -> list[Any]:
    return [bits(value) for value in column.to_pylist()]


@given(columns())
def test_changed_compares_with_the_row_before(column: pa.Array) -> None:
    rows = contents(column)
    expected = [i == 0 or rows[i] != rows[i - 1] for i in range(len(rows))]
    assert changed(bits_of(column)).tolist() == expected


@given(columns(), st.data())
def test_rows_equal_compares_any_two_rows(column: pa.Array, data: st.DataObject) -> None:
    rows = contents(column)
    some = st.lists(st.integers(0, len(rows) - 1), min_size=4, max_size=4) if rows else st.just([])
    a, b = np.array(data.draw(some), int), np.array(data.draw(some), int)
    part = bits_of(column)
    assert rows_equal(part, a, part, b).tolist() == [rows[i] == rows[j] for i, j in zip(a, b, strict=True)]


@given(columns())
def test_content_hash_is_equal_exactly_for_equal_rows(column: pa.Array) -> None:
    rows, hashes = contents(column), content_hash(bits_of(column)).tolist()
    for i in range(len(rows)):
        for j in range(i):
            assert (hashes[i] == hashes[j]) == (rows[i] == rows[j])


def first_occurrences(rows: list[Any]) -> tuple[list[int], list[int]]:
    """The slow twin of `distinct_rows`."""
    first: list[int] = []
    known: dict[Any, int] = {}
    for i, row in enumerate(rows):
        if row not in known:
            known[row] = len(first)
            first.append(i)
    return first, [known[row] for row in rows]


@given(columns(), st.data())
def test_distinct_rows_are_numbered_by_first_occurrence(column: pa.Array, data: st.DataObject) -> None:
    other = pa.array(data.draw(st.lists(st.integers(0, 1), min_size=len(column), max_size=len(column))), pa.int64())
    first, inverse = distinct_rows([column, other])
    expected = first_occurrences(list(zip(contents(column), other.to_pylist(), strict=True)))
    assert (first.tolist(), inverse.tolist()) == expected


def test_a_hash_collision_is_found_and_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = room.content_hash

    def weak(column: room.Bits, seed: int = 0) -> np.ndarray:
        return honest(column, seed) & np.uint64(0 if seed < 2 else 2**64 - 1)

    monkeypatch.setattr(room, "content_hash", weak)
    first, inverse = distinct_rows([pa.array([5, 6, 5])])
    assert first.tolist() == [0, 1]
    assert inverse.tolist() == [0, 1, 0]


def test_the_hash_of_an_integer_does_not_depend_on_its_width() -> None:
    values = [0, -1, 100]
    hashes = [element_hash(pa.array(values, type)).tolist() for type in (pa.int8(), pa.int32(), pa.int64())]
    assert hashes[0] == hashes[1] == hashes[2]


def test_the_hash_of_a_string_does_not_depend_on_its_neighbours() -> None:
    assert element_hash(pa.array(["x", None, "abc", "abc"]))[2] == element_hash(pa.array(["abc"]))[0]
