"""The value that transforms work on: lists as windows of one buffer.

Legend: U lists, V values in the buffer.

    values   7 9 4 5 6        (V = 5)
    start    0 0 2            (U = 3)
    length   2 2 3
    lists    [7,9] [7,9] [4,5,6]
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

_OF_LISTS = (pa.types.is_list, pa.types.is_large_list)


def spans(start: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions that windows cover, one window after the other.

    Args:
        start, length: int64 [U].
    Returns:
        positions int64 [sum of length] and offsets int64 [U + 1].

    Example:
        >>> index, offsets = spans(np.array([4, 0]), np.array([2, 3]))
        >>> index.tolist(), offsets.tolist()
        ([4, 5, 0, 1, 2], [0, 2, 5])
    """
    offsets = np.zeros(len(length) + 1, dtype=np.int64)
    np.cumsum(length, out=offsets[1:])
    index = np.arange(offsets[-1], dtype=np.int64)
    index += np.repeat(start - offsets[:-1], length)
    return index, offsets


def adjoining(start: np.ndarray, length: np.ndarray) -> bool:
    """Whether each window begins where the one before ends, so that together they are one slice."""
    return bool(np.array_equal(start[1:], start[:-1] + length[:-1]))


@dataclass(frozen=True)
class Lists:
    """U lists as windows of one buffer. A list that is null has length 0 here, as an empty one.

    Args:
        values: [V] ids: any integer type but uint64, which means xxh64 hashes of string ids (see `string_hashes`),
            or an Arrow array of strings; or floats: float32 or float64.
        valid: bool [V], False where an element is null; None where none is. An Arrow array carries its own nulls.
        weights: float32 [V] or None.
        start, length: int64 [U]; windows may overlap.

    Example:
        >>> lists = Lists.from_pylists([[7, 9], None, [4, None]])
        >>> lists.to_pylists()
        [[7, 9], [], [4, None]]
        >>> [x.tolist() for x in lists.compact()]
        [[7, 9, 4, 0], [0, 2, 2, 4]]
    """

    values: np.ndarray | pa.Array
    valid: np.ndarray | None
    weights: np.ndarray | None
    start: np.ndarray
    length: np.ndarray

    @property
    def num_lists(self) -> int:
        return len(self.length)

    def take(self, rows: np.ndarray) -> "Lists":
        """The lists numbered `rows`, over the same buffer."""
        return replace(self, start=self.start[rows], length=self.length[rows])

    def packed(self) -> "Lists":
        """The same lists with a buffer of their own: one after the other, nothing between them."""
        if not len(self.length) or adjoining(self.start, self.length):
            first = int(self.start[0]) if len(self.length) else 0
            total = int(self.length.sum())
            if not total:
                first = 0
            where: slice | np.ndarray = slice(first, first + total)
            begin = self.start - first if total else np.zeros_like(self.start)
            values = self.values[where]
        else:
            where, offsets = spans(self.start, self.length)
            begin = offsets[:-1]
            values = self.values.take(pa.array(where)) if isinstance(self.values, pa.Array) else self.values[where]
        return Lists(
            values=values,
            valid=None if self.valid is None else self.valid[where],
            weights=None if self.weights is None else self.weights[where],
            start=begin,
            length=self.length,
        )

    def compact(self) -> tuple[np.ndarray | pa.Array, np.ndarray]:
        """Values of the packed lists and their offsets, int64 [U + 1]."""
        packed = self.packed()
        offsets = np.zeros(len(self.length) + 1, dtype=np.int64)
        np.cumsum(self.length, out=offsets[1:])
        return packed.values, offsets

    def to_pylists(self) -> list[list]:
        """The lists as Python lists, None for a null element."""
        flat = self.values.to_pylist() if isinstance(self.values, pa.Array) else self.values.tolist()
        if self.valid is not None:
            flat = [value if ok else None for value, ok in zip(flat, self.valid.tolist(), strict=True)]
        bounds = zip(self.start.tolist(), self.length.tolist(), strict=True)
        return [flat[start : start + length] for start, length in bounds]

    def weight_pylists(self) -> list[list[float]] | None:
        """The weights of each list, or None where the lists have none."""
        if self.weights is None:
            return None
        bounds = zip(self.start.tolist(), self.length.tolist(), strict=True)
        return [self.weights[start : start + length].tolist() for start, length in bounds]

    @classmethod
    def from_pylists(
        cls, lists: Sequence[Sequence | None], weights: Sequence[Sequence[float] | None] | None = None
    ) -> "Lists":
        """Lists from Python lists of ints, strings or floats (float64)."""
        flat = pa.array([value for row in lists for value in row or ()])
        length = np.array([len(row or ()) for row in lists], dtype=np.int64)
        start = np.cumsum(length) - length
        flat_weights = None
        if weights is not None:
            flat_weights = np.array([w for row in weights for w in row or ()], dtype=np.float32)
        if pa.types.is_string(flat.type):
            return cls(flat, None, flat_weights, start, length)
        values, valid = buffer_of(flat if len(flat) and flat.type != pa.null() else flat.cast(pa.int64()))
        return cls(values, valid, flat_weights, start, length)


def buffer_of(array: pa.Array) -> tuple[np.ndarray, np.ndarray | None]:
    """Values of a numeric or boolean Arrow array (0 where null) and whether each is valid (None: all are).

    No copy where nothing is null.

    Example:
        >>> values, valid = buffer_of(pa.array([1, None, 3]))
        >>> values.tolist(), valid.tolist()
        ([1, 0, 3], [True, False, True])
    """
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    if not array.null_count:
        return array.to_numpy(zero_copy_only=False), None
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    return array.fill_null(pa.scalar(0, array.type)).to_numpy(zero_copy_only=False), valid


def windows_of(array: pa.Array) -> tuple[pa.Array, np.ndarray, np.ndarray, np.ndarray | None]:
    """An Arrow array of lists as windows of its child array, without a copy.

    Args:
        array: of type list, large_list or fixed_size_list; may be a slice of another.
    Returns:
        child array; start, length int64 [U] (a null list has length 0); bool [U] whether each list is not null, None
        where all are.

    Example:
        >>> child, start, length, valid = windows_of(pa.array([[7, 9], None, [4]]))
        >>> child.to_pylist(), start.tolist(), length.tolist(), valid.tolist()
        ([7, 9, 4], [0, 2, 2], [2, 0, 1], [True, False, True])
    """
    valid = array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else None
    if pa.types.is_fixed_size_list(array.type):
        width = array.type.list_size
        start = (np.arange(len(array), dtype=np.int64) + array.offset) * width
        length = np.full(len(array), width, dtype=np.int64)
    elif any(is_kind(array.type) for is_kind in _OF_LISTS):
        offsets = array.offsets.to_numpy().astype(np.int64)
        start, length = offsets[:-1], np.diff(offsets)
    else:
        raise TypeError(f"expected an Arrow array of lists, got {array.type}")
    if valid is not None:
        length = np.where(valid, length, 0)
    return array.values, start, length, valid
