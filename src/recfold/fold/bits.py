"""Columns as bit patterns: which rows are equal bit for bit, and a hash of what is in them.

Equal means: null, empty list, null element, NaN payload, -0.0 and length included.

Legend: n rows, V elements of all rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import pyarrow as pa

from recfold.spec import splitmix64
from recfold.table.lists import flatten, is_list, null_mask, ranges

_NULL_ROW = np.uint64(0xA5A5A5A5DEADBEEF)
_NULL_ELEMENT = np.uint64(0x5BD1E995C0FFEE11)
_LENGTH = np.uint64(0x9FB21C651E98DF25)


@dataclass(frozen=True)
class Bits:
    """One column as bit patterns.

    Attributes:
        offsets: row i has the elements [offsets[i], offsets[i+1]); None for a scalar column (one element a row).
        bits: integers that are equal exactly where elements are; 0 where null. [V]
        null: which elements are null; None where none is. [V]
        null_row: which rows are a null list; None where none is (and for scalars). [n]
        values: the elements as Arrow has them. [V]
    """

    offsets: np.ndarray | None
    bits: np.ndarray
    null: np.ndarray | None
    null_row: np.ndarray | None
    values: pa.Array

    def __len__(self) -> int:
        return len(self.bits) if self.offsets is None else len(self.offsets) - 1


def bits_of(column: pa.Array) -> Bits:
    """Take a column of scalars or of lists of scalars apart."""
    if is_list(column.type):
        flat = flatten(column)
        return Bits(flat.offsets, element_bits(flat.values), null_mask(flat.values), flat.null, flat.values)
    return Bits(None, element_bits(column), null_mask(column), None, column)


def element_bits(values: pa.Array) -> np.ndarray:
    """Integers that are equal exactly where two elements of this array are (nulls are 0 and need their own mask).

    >>> bits = element_bits(pa.array([0.0, -0.0, float("nan"), float("nan")]))
    >>> (bits[0] == bits[1]).item(), (bits[2] == bits[3]).item()
    (False, True)
    >>> element_bits(pa.array(["b", "a", None, "b"])).tolist()
    [0, 1, 0, 0]
    """
    if pa.types.is_string(values.type):
        codes = values.dictionary_encode().indices
        return codes.fill_null(0).to_numpy(zero_copy_only=False)
    if values.null_count:
        values = values.fill_null(0)
    numbers = values.to_numpy(zero_copy_only=False)
    return numbers.view(f"i{numbers.dtype.itemsize}")


def changed(column: Bits) -> np.ndarray:
    """Which rows differ from the row before; row 0 always does. [n] bool

    >>> changed(bits_of(pa.array([[1, 2], [1, 2], None, [], [2]]))).tolist()
    [True, False, True, True, True]
    """
    n = len(column)
    result = np.ones(n, bool)
    if n < 2:
        return result
    bits, null, offsets = column.bits, column.null, column.offsets
    if offsets is None:
        np.not_equal(bits[1:], bits[:-1], out=result[1:])
        if null is not None:
            result[1:] |= null[1:] != null[:-1]
        return result
    lengths = np.diff(offsets)
    result[1:] = lengths[1:] != lengths[:-1]
    if column.null_row is not None:
        result[1:] |= column.null_row[1:] != column.null_row[:-1]
    full = np.flatnonzero(lengths)
    if len(full) == 0:
        return result
    # element e of a list belongs opposite e - length of the list before; nonsense where lengths differ, which is known
    before = np.arange(len(bits)) - np.repeat(lengths, lengths)
    differs = bits != bits.take(before, mode="clip")
    if null is not None:
        differs |= null != null.take(before, mode="clip")
    result[full] |= np.logical_or.reduceat(differs, offsets[full])
    return result


def rows_equal(a: Bits, rows_a: np.ndarray, b: Bits, rows_b: np.ndarray) -> np.ndarray:
    """Whether row rows_a[k] of `a` equals row rows_b[k] of `b`, bit for bit. [len(rows_a)] bool

    For strings `a` and `b` must be one column (their codes are its own).
    """
    if a.offsets is None or b.offsets is None:
        return _elements_equal(a, rows_a, b, rows_b)
    start_a, start_b = a.offsets[rows_a], b.offsets[rows_b]
    length = a.offsets[rows_a + 1] - start_a
    equal = length == b.offsets[rows_b + 1] - start_b
    if a.null_row is not None or b.null_row is not None:
        equal &= _at(a.null_row, rows_a) == _at(b.null_row, rows_b)
    todo = np.flatnonzero(equal & (length > 0))
    if len(todo):
        size = length[todo]
        same = _elements_equal(a, ranges(start_a[todo], size), b, ranges(start_b[todo], size))
        equal[todo] = np.logical_and.reduceat(same, np.cumsum(size) - size)
    return equal


def _elements_equal(a: Bits, at_a: np.ndarray, b: Bits, at_b: np.ndarray) -> np.ndarray:
    equal = a.bits[at_a] == b.bits[at_b]
    if a.null is not None or b.null is not None:
        equal &= _at(a.null, at_a) == _at(b.null, at_b)
    return equal


def _at(mask: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    return mask[rows] if mask is not None else np.zeros(len(rows), bool)


def element_hash(values: pa.Array, seed: int = 0) -> np.ndarray:
    """64-bit hash of each element: of an integer's value (any width), a float's bits, a string's bytes. uint64 [V]"""
    if pa.types.is_string(values.type):
        encoded = values.dictionary_encode()
        hashes = np.append(_string_hash(encoded.dictionary, seed), _NULL_ELEMENT)
        result = hashes[encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)]
        return result
    result = splitmix64(element_bits(values), seed)
    null = null_mask(values)
    if null is not None:
        result[null] = _NULL_ELEMENT
    return result


def _string_hash(strings: pa.Array, seed: int) -> np.ndarray:
    """Sum of the hashes of (byte, position), mixed with the length; vectorised over all bytes."""
    _, offsets_buffer, data_buffer = strings.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[strings.offset : strings.offset + len(strings) + 1].astype(
        np.int64
    )
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.zeros(0, np.uint8)
    data = data[offsets[0] : offsets[-1]].astype(np.int64)
    offsets -= offsets[0]
    position = np.arange(len(data)) - np.repeat(offsets[:-1], np.diff(offsets))
    return _sum_of(splitmix64(data + (position << 8), seed), offsets, seed)


def _sum_of(terms: np.ndarray, offsets: np.ndarray, seed: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        sums = np.zeros(len(terms) + 1, np.uint64)
        np.cumsum(terms, dtype=np.uint64, out=sums[1:])
        return splitmix64(sums[offsets[1:]] - sums[offsets[:-1]] + np.diff(offsets).astype(np.uint64) * _LENGTH, seed)


def content_hash(column: Bits, seed: int = 0) -> np.ndarray:
    """64-bit hash of each row's content: elements, their order, nulls and length. uint64 [n]"""
    hashes = element_hash(column.values, seed)
    if column.offsets is None:
        return hashes
    position = np.arange(len(hashes)) - np.repeat(column.offsets[:-1], np.diff(column.offsets))
    result = _sum_of(splitmix64(hashes ^ splitmix64(position, seed + 1), seed), column.offsets, seed)
    if column.null_row is not None:
        result[column.null_row] = _NULL_ROW
    return result


def row_hash(columns: Sequence[pa.Array], seed: int = 0) -> np.ndarray:
    """64-bit hash of what is in each row of a table. uint64 [n]"""
    return reduce(_mix, (content_hash(bits_of(column), seed) for column in columns))


def distinct_rows(columns: Sequence[pa.Array], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows of a table, by a 128-bit content hash that is verified bit for bit.

    Args:
        columns: at least one, of n rows each.
    Returns:
        first: the first row of each distinct content, rising [U]; inverse: which of them each row is [n].

    >>> first, inverse = distinct_rows([pa.array([[7, 9], [4], [7, 9], None])])
    >>> first.tolist(), inverse.tolist()
    ([0, 1, 3], [0, 1, 0, 2])
    """
    parts = [bits_of(column) for column in columns]
    high, low = (reduce(_mix, (content_hash(part, s) for part in parts)) for s in (2 * seed, 2 * seed + 1))
    order = np.lexsort((low, high))
    new = np.ones(len(order), bool)
    new[1:] = (high[order[1:]] != high[order[:-1]]) | (low[order[1:]] != low[order[:-1]])
    # lexsort is stable: the first of a run of equal hashes is the first row that has it
    first = order[new]
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    inverse = np.empty(len(order), np.int64)
    inverse[order] = rank[np.cumsum(new) - 1]
    first = np.sort(first)
    rows = np.arange(len(order))
    repeats = rows[first[inverse] != rows]
    if not all(rows_equal(part, repeats, part, first[inverse[repeats]]).all() for part in parts):
        return distinct_rows(columns, seed + 1)  # two contents with one hash: hash them anew
    return first, inverse


def _mix(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return splitmix64(splitmix64(a) ^ b)
