"""List arrays as flat buffers: the few vectorised moves that writing and expanding a folded table need.

Legend: n lists, V elements in all; `offsets` int64 [n + 1] starts at 0; a null list has no elements.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Flat:
    """A list array taken apart: offsets [n + 1], elements [V], and which lists are null [n] (None: none is)."""

    offsets: np.ndarray
    values: pa.Array
    null: np.ndarray | None

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array.

    Raises:
        ValueError: it is too large for 32-bit offsets.
    """
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    joined = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return joined


def is_list(type: pa.DataType) -> bool:
    return pa.types.is_list(type) or pa.types.is_fixed_size_list(type) or pa.types.is_large_list(type)


def null_mask(array: pa.Array) -> np.ndarray | None:
    """Which entries are null, or None where none is."""
    return array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None


def flatten(array: pa.Array) -> Flat:
    """Take a list array apart.

    >>> flat = flatten(pa.array([[7, 9], None, [], [4]]))
    >>> flat.offsets.tolist(), flat.values.to_pylist(), flat.null.tolist()
    ([0, 2, 2, 2, 3], [7, 9, 4], [False, True, False, False])
    """
    null = null_mask(array)
    if pa.types.is_fixed_size_list(array.type):
        lengths = np.full(len(array), array.type.list_size, np.int64)
        if null is not None:
            lengths[null] = 0
    else:
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = offsets_of(lengths)
    values = array.flatten()
    return Flat(offsets, values, null)


def offsets_of(lengths: np.ndarray) -> np.ndarray:
    """Lengths [n] to offsets [n + 1].

    >>> offsets_of(np.array([2, 0, 1])).tolist()
    [0, 2, 2, 3]
    """
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def list_array(offsets: np.ndarray, values: pa.Array, null: np.ndarray | None = None) -> pa.Array:
    """Put a list array together; the inverse of `flatten`.

    Raises:
        ValueError: more than 2**31 - 1 elements.
    """
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"{offsets[-1]} elements in one piece of a column: use more partitions")
    mask = pa.array(null) if null is not None else None
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values, mask=mask)


def ranges(start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Indices of every element of the ranges [start, start + length), one after the other.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(length)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(start - (ends - length), length)


def to_int64(array: pa.Array) -> pa.Array:
    """Integers at any depth of lists widened to int64; anything else as it is."""
    if pa.types.is_integer(array.type):
        return array.cast(pa.int64())
    if is_list(array.type) and not pa.types.is_fixed_size_list(array.type):
        flat = flatten(array)
        if pa.types.is_integer(flat.values.type) or is_list(flat.values.type):
            return list_array(flat.offsets, to_int64(flat.values), flat.null)
    return array
