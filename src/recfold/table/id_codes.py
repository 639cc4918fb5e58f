"""Ids as codes: frequent ids become small numbers, so that a page's entropy coder can use that they are frequent.

With K frequent ids and the smallest id `low` that was seen when they were counted:

    code = place of the id among the frequent ones      0 <= code < K
           K + (id - low)                               other ids from low on
           id - low                                     ids below low: code < 0

    >>> coding = IdCoding(np.array([70, 12]), low=10)
    >>> codes = coding.encode(np.array([12, 70, 70, 11, 3]))
    >>> codes.tolist(), coding.decode(codes, np.dtype(np.int16)).tolist()
    ([1, 0, 0, 3, -7], [12, 70, 70, 11, 3])
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recfold.table.lists import is_list

_FEW = 1 << 20
"""So many codes are tabulated even for a few ids."""
_FEATURE, _LOW, _IDS = "feature", "low", "ids"


@dataclass(frozen=True)
class IdCoding:
    """How the ids of one feature of a split are written.

    Args:
        frequent: int64 [K], distinct, most frequent first. low: see above.
    """

    frequent: np.ndarray
    low: int

    def encode(self, ids: np.ndarray) -> np.ndarray:
        """Codes of ids, int64; `fits` must hold."""
        k = len(self.frequent)
        wide = ids.astype(np.int64)
        codes = wide - self.low
        if not len(codes):
            return codes
        if int(codes.min()) >= 0 and int(codes.max()) < max(_FEW, len(codes)):
            code_of = np.arange(k, k + int(codes.max()) + 1)
            here = self.frequent <= int(wide.max())  # the difference of others may be no int64
            code_of[self.frequent[here] - self.low] = np.flatnonzero(here)
            return code_of[codes]
        codes[codes >= 0] += k
        if k:
            order = np.argsort(self.frequent, kind="stable")
            ordered = self.frequent[order]
            place = np.minimum(np.searchsorted(ordered, wide), k - 1)
            known = ordered[place] == wide
            codes[known] = order[place[known]]
        return codes

    def decode(self, codes: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Ids of codes, as integers of type `dtype`."""
        k = len(self.frequent)
        if k == 0:
            return (codes.astype(np.int64) + self.low).astype(dtype)
        table = np.append(self.frequent, 0).astype(dtype)
        ids = table.take(codes, mode="clip")
        other = np.flatnonzero(codes >= k)
        ids[other] = codes[other].astype(np.int64) - k + self.low
        if len(codes) and codes.min() < 0:
            below = np.flatnonzero(codes < 0)
            ids[below] = codes[below].astype(np.int64) + self.low
        return ids

    def fits(self, smallest: int, largest: int) -> bool:
        """Whether the codes of all ids between these two are int64."""
        return largest - self.low + len(self.frequent) < 1 << 63 and smallest - self.low >= -(1 << 63)


def change_elements(column: pa.Array, change: Callable[[np.ndarray], np.ndarray]) -> pa.Array:
    """The same lists (of lists) with other integers in them; nulls stay where they are.

    >>> change_elements(pa.array([[[1, None], []], None]), lambda ids: ids * 10).to_pylist()
    [[[10, None], []], None]
    """
    buffers = column.buffers()
    if is_list(column.type):
        inside = change_elements(column.values, change)
        type = pa.list_(inside.type)
        return pa.Array.from_buffers(type, len(column), buffers[:2], column.null_count, column.offset, [inside])
    numbers = column.fill_null(0) if column.null_count else column
    changed = np.ascontiguousarray(change(numbers.to_numpy(zero_copy_only=False)))
    if not column.null_count:
        return pa.array(changed)
    return pa.array(changed, mask=column.is_null().to_numpy(zero_copy_only=False))


def with_element(type: pa.DataType, element: pa.DataType) -> pa.DataType:
    """The same lists (of lists) of another element.

    >>> with_element(pa.list_(pa.int64()), pa.int8())
    ListType(list<item: int8>)
    """
    return pa.list_(with_element(type.value_type, element)) if is_list(type) else element


def save_codings(path: Path, codings: dict[str, IdCoding]) -> int:
    """Write the codings of a split, one row per feature.

    Returns:
        number of rows.
    """
    lists = [coding.frequent for coding in codings.values()]
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in lists])]).astype(np.int32)
    ids = np.concatenate(lists) if lists else np.zeros(0, np.int64)
    table = pa.table(
        {
            _FEATURE: list(codings),
            _LOW: pa.array([coding.low for coding in codings.values()], pa.int64()),
            _IDS: pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids)),
        }
    )
    encodings = {f"{_IDS}.list.element": "BYTE_STREAM_SPLIT"}
    pq.write_table(
        table, path, compression="zstd", use_dictionary=False, column_encoding=encodings, write_page_checksum=True
    )
    return len(codings)


def load_codings(rows: pa.Table) -> dict[str, IdCoding]:
    """The inverse of `save_codings`, of the file's rows."""
    found = {}
    for feature, low, ids in zip(*(rows[name] for name in (_FEATURE, _LOW, _IDS)), strict=True):
        found[feature.as_py()] = IdCoding(ids.values.to_numpy(zero_copy_only=False), low.as_py())
    return found
