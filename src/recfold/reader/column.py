"""One feature's stored lists as flat numpy buffers.

Legend: R lists, V values of all lists.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from recfold.spec import InputError
from recfold.spec.schema import FeatureSpec
from recfold.transform import Lists, buffer_of, spans, string_hashes, windows_of

_ALIGNMENT = 64


@dataclass(frozen=True)
class Column:
    """R lists one after the other.

    Args:
        values: [V] integers, uint64 hashes of strings, or float32 / float64.
        valid: bool [V], or None where no element is null.
        weights: float32 [V] or None.
        offsets: int64 [R + 1]; None for scalars: R = V lists of length one.
        null: bool [R], which lists are null, or None where none is.
    """

    values: np.ndarray
    valid: np.ndarray | None = None
    weights: np.ndarray | None = None
    offsets: np.ndarray | None = None
    null: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def between(self, low: int, high: int) -> "Column":
        """The lists numbered [low, high); views, no copy of values."""
        null = None if self.null is None else self.null[low:high]
        if self.offsets is None:
            return self._values_at(slice(low, high), None, null)
        first, last = self.offsets[low], self.offsets[high]
        return self._values_at(slice(first, last), self.offsets[low : high + 1] - first, null)

    def take(self, rows: np.ndarray) -> "Column":
        """The lists numbered `rows`, in that order."""
        if self.offsets is None:
            return self._values_at(rows, None, None)
        start = self.offsets[rows]
        at, offsets = spans(start, self.offsets[rows + 1] - start)
        return self._values_at(at, offsets, None if self.null is None else self.null[rows])

    def lists(self) -> Lists:
        """The same as windows of one buffer."""
        if self.offsets is None:
            start, length = np.arange(len(self.values)), np.ones(len(self.values), dtype=np.int64)
        else:
            start, length = self.offsets[:-1], np.diff(self.offsets)
        if self.null is not None:
            length = np.where(self.null, 0, length)
        return Lists(self.values, self.valid, self.weights, start, length)

    @staticmethod
    def concat(columns: Sequence["Column"], room: "Room | None" = None) -> "Column":
        """The lists of all columns, one after the other.

        Args:
            room: where to put the values; in memory of their own where not given.
        """
        if len(columns) == 1:
            return columns[0]
        values = [column.values for column in columns]
        sizes = [len(part) for part in values]
        offsets = None
        if columns[0].offsets is not None:
            firsts = np.cumsum(sizes) - sizes
            ends = [c.offsets[1:] + first for c, first in zip(columns, firsts, strict=True) if c.offsets is not None]
            offsets = np.concatenate([[0], *ends])
        return Column(
            values=np.concatenate(values) if room is None else room.concatenate(values),
            valid=_concat_flags([column.valid for column in columns], sizes, True),
            weights=None if columns[0].weights is None else np.concatenate([c.weights for c in columns]),
            offsets=offsets,
            null=_concat_flags([column.null for column in columns], [len(column) for column in columns], False),
        )

    def _values_at(self, at: np.ndarray | slice, offsets: np.ndarray | None, null: np.ndarray | None) -> "Column":
        return Column(
            self.values[at],
            None if self.valid is None else self.valid[at],
            None if self.weights is None else self.weights[at],
            offsets,
            null,
        )


class Memory:
    """Memory that is used again once no array lies in it: the system takes long to give fresh pages."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, dtype=np.uint8)

    def room(self, num_bytes: int, num_arrays: int) -> "Room":
        """Room for so many arrays of so many bytes together."""
        needed = num_bytes + num_arrays * _ALIGNMENT
        free = sys.getrefcount(self._buffer) == 2  # this object and the call: arrays that lie in it would count
        if not free or needed > len(self._buffer):
            self._buffer = np.empty(needed, dtype=np.uint8)
        return Room(self._buffer)


class Room:
    """Memory for many arrays."""

    def __init__(self, buffer: np.ndarray) -> None:
        self._buffer = buffer
        self._used = 0

    def concatenate(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """As `np.concatenate`."""
        dtype = np.result_type(*(part.dtype for part in parts))
        size = sum(len(part) for part in parts) * dtype.itemsize
        if self._used + size > len(self._buffer):  # of mixed types, which grew
            return np.concatenate(parts)
        out = self._buffer[self._used : self._used + size].view(dtype)
        self._used += size + -size % _ALIGNMENT
        return np.concatenate(parts, out=out)


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column of a table as one array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def elements(array: pa.Array) -> tuple[np.ndarray, np.ndarray | None]:
    """Scalars as numpy values and their validity; strings as uint64 hashes, float16 as float32."""
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or pa.types.is_dictionary(array.type):
        return string_hashes(array)
    if pa.types.is_null(array.type):
        array = array.cast(pa.int64())
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    return buffer_of(array)


def column_of(array: pa.Array, feature: FeatureSpec, weights: pa.Array | None = None) -> Column:
    """Take one feature's stored values apart; no copy where nothing is null.

    Args:
        array: R scalars, or R lists.
        feature: says which.
        weights: R lists of floats, aligned with the ids. A list of weights that is null counts as ones.
    Raises:
        InputError: weights of another length than the ids, or vectors of another width than the schema says.
    """
    if feature.kind in ("id", "dense"):
        values, valid = elements(array)
        return Column(_floats(values) if feature.kind == "dense" else values, valid)
    if feature.kind != "vector" and weights is None and pa.types.is_list(array.type) and not array.null_count:
        return _packed_lists(array, feature.kind == "dense_sequence")
    child, start, length, lists_valid = windows_of(array)
    values, valid = elements(child)
    null = None if lists_valid is None else ~lists_valid
    if feature.kind == "vector":
        return _vectors(_floats(values), valid, start, length, null, feature.width or 0)
    if feature.kind == "dense_sequence":
        values = _floats(values)
    # a null list owns no values: where a file has gaps or a slice begins late, the lists are moved together
    if len(length) and not (start[0] == 0 and np.array_equal(start[1:], start[:-1] + length[:-1])):
        at, offsets = spans(start, length)
        values, valid = values[at], None if valid is None else valid[at]
    else:
        offsets = np.concatenate([[0], np.cumsum(length)])
        values, valid = values[: offsets[-1]], None if valid is None else valid[: offsets[-1]]
    flat_weights = None if weights is None else _weights(weights, offsets)
    return Column(values, valid, flat_weights, offsets, null)


def _packed_lists(array: pa.Array, as_floats: bool) -> Column:
    """Lists none of which is null lie one after the other already: the same as below, with fewer steps."""
    offsets = array.offsets.to_numpy().astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    values, valid = elements(array.values.slice(first, last - first))
    if first:
        offsets -= first
    return Column(_floats(values) if as_floats else values, valid, None, offsets)


def _floats(values: np.ndarray) -> np.ndarray:
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)


def _vectors(
    values: np.ndarray,
    valid: np.ndarray | None,
    start: np.ndarray,
    length: np.ndarray,
    null: np.ndarray | None,
    width: int,
) -> Column:
    """Vectors as lists of one fixed length; a null vector becomes `width` null elements."""
    wrong = length != width
    if null is not None:
        wrong &= ~null
    if wrong.any():
        raise InputError("a vector has a wrong width", got=int(length[wrong][0]), expected=width)
    if null is not None:
        there = np.repeat(~null, width)
        at = np.zeros(len(there), dtype=np.int64)
        at[there] = spans(start, length)[0]
        values = values[at] if len(values) else np.zeros(len(at), dtype=values.dtype)
        valid = there if valid is None else valid[at] & there
    elif len(start):
        where = slice(int(start[0]), int(start[0]) + len(start) * width)
        values, valid = values[where], None if valid is None else valid[where]
    else:
        values, valid = values[:0], None
    return Column(values, valid, None, np.arange(len(start) + 1) * width)


def _weights(weights: pa.Array, offsets: np.ndarray) -> np.ndarray:
    """One float32 per id; a null weight counts as 1."""
    child, start, length, lists_valid = windows_of(weights)
    values, valid = buffer_of(child)
    values = values.astype(np.float32, copy=False)
    if valid is not None:
        values = np.where(valid, values, np.float32(1))
    expected = np.diff(offsets)
    there = np.ones(len(length), dtype=bool) if lists_valid is None else lists_valid
    if not np.array_equal(length[there], expected[there]):
        raise InputError("a list of weights has another length than its list of ids", todo="fold again")
    found = np.ones(int(offsets[-1]), dtype=np.float32)
    found[spans(offsets[:-1], length)[0]] = values[spans(start, length)[0]]
    return found


def _concat_flags(parts: Sequence[np.ndarray | None], sizes: Sequence[int], otherwise: bool) -> np.ndarray | None:
    if all(part is None for part in parts):
        return None
    return np.concatenate(
        [np.full(size, otherwise) if part is None else part for part, size in zip(parts, sizes, strict=True)]
    )
