"""Rows of a group after their transforms, and how they are made from stored columns.

Legend: F features, U rows, V values of all lists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recfold.reader.column import Column
from recfold.reader.layout import GroupLayout, Layout
from recfold.transform import Lists, apply, spans


@dataclass(frozen=True)
class Made:
    """U transformed rows of a group.

    Args:
        lists, dense_lists: feature -> U lists: int64 ids without nulls, float32 without nulls.
        dense: float32 [U, W] or None.
        num_rows: U.
    """

    lists: dict[str, Lists]
    dense_lists: dict[str, Lists]
    dense: np.ndarray | None
    num_rows: int


def made_of(group: GroupLayout, layout: Layout, raw: Mapping[str, Lists]) -> Made:
    """Transform every list, feature by feature.

    Args:
        raw: feature -> U lists as stored.
    """
    features = layout.schema.features
    return _sorted(group, {name: apply(raw[name], features[name].transforms, raw) for name in group.features})


def made_of_rows(group: GroupLayout, layout: Layout, columns: Mapping[str, Column], rows_U: np.ndarray) -> Made:
    """Take rows of columns and transform their lists: those of features that are alike together, in one call.

    Does what `made_of` does with `Column.take`, its slow twin.

    Args:
        columns: feature -> R lists.
        rows_U: int64.
    """
    runs = _runs(rows_U)
    done: dict[str, Lists] = {}
    raw: dict[str, Lists] = {}
    features = layout.schema.features
    for bundle in group.bundles:
        for alike in _of_one_type(bundle, columns):
            lists = _gather([columns[name] for name in alike], rows_U, runs)
            parts = _split(lists, len(rows_U), len(alike))
            raw |= dict(zip(alike, parts, strict=True))
            if group.crosses:
                continue
            parts = _split(apply(lists, features[alike[0]].transforms), len(rows_U), len(alike))
            done |= dict(zip(alike, parts, strict=True))
    return made_of(group, layout, raw) if group.crosses else _sorted(group, done)


def _runs(rows_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last row of each run of rows that follow each other: their lists are one slice of the values."""
    if not len(rows_U):
        return rows_U, rows_U
    cuts = np.flatnonzero(rows_U[1:] != rows_U[:-1] + 1)
    first = np.concatenate([[0], cuts + 1])
    last = np.concatenate([cuts, [len(rows_U) - 1]])
    return rows_U[first], rows_U[last]


def _of_one_type(bundle: Sequence[str], columns: Mapping[str, Column]) -> list[Sequence[str]]:
    """A bundle where its columns are of one form; else its features one by one."""
    forms = {(c.values.dtype, c.valid is None, c.weights is None, c.offsets is None) for c in map(columns.get, bundle) if c}
    return [bundle] if len(forms) == 1 else [(name,) for name in bundle]


def _gather(columns: Sequence[Column], rows_U: np.ndarray, runs: tuple[np.ndarray, np.ndarray]) -> Lists:
    """The rows of all columns, one column after the other, in a buffer of their own: F x U lists."""
    first, last = runs
    if columns[0].offsets is None:
        positions = [rows_U] * len(columns)
        sizes = [len(rows_U)] * len(columns)
        length = np.ones(len(columns) * len(rows_U), dtype=np.int64)
        start = np.arange(len(length))
    else:
        positions, sizes, lengths = [], [], []
        for column in columns:
            assert column.offsets is not None
            begin = column.offsets[first]
            at, ends = spans(begin, column.offsets[last + 1] - begin)
            positions.append(at)
            sizes.append(int(ends[-1]))
            lengths.append(column.offsets[rows_U + 1] - column.offsets[rows_U])
        length = np.concatenate(lengths)
        start = np.cumsum(length) - length

    def taken(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
        if parts[0] is None:
            return None
        out = np.empty(sum(sizes), dtype=parts[0].dtype)
        low = 0
        for part, at, size in zip(parts, positions, sizes, strict=True):
            if size:
                np.take(part, at, out=out[low : low + size], mode="clip")
            low += size
        return out

    values = taken([column.values for column in columns])
    assert values is not None
    return Lists(values, taken([c.valid for c in columns]), taken([c.weights for c in columns]), start, length)


def _split(lists: Lists, num_rows: int, num_features: int) -> list[Lists]:
    """F x U lists as U lists of each feature, over the same buffer."""
    if num_features == 1:
        return [lists]
    cuts = [slice(number * num_rows, (number + 1) * num_rows) for number in range(num_features)]
    return [replace(lists, start=lists.start[cut], length=lists.length[cut]) for cut in cuts]


def _sorted(group: GroupLayout, done: Mapping[str, Lists]) -> Made:
    """Transformed features by what they are in a batch."""
    dense_lists = {name: _as_floats(done[name]) for name in group.dense_lists}
    num_rows = done[group.features[0]].num_lists
    dense = None
    if group.dense:
        dense = np.empty((num_rows, sum(group.widths)), dtype=np.float32)
        first = 0
        for name, width in zip(group.dense, group.widths, strict=True):
            lists = done[name]
            low = int(lists.start[0]) if num_rows else 0
            flat = replace(
                lists,
                values=lists.values[low : low + num_rows * width],
                valid=None if lists.valid is None else lists.valid[low : low + num_rows * width],
            )
            dense[:, first : first + width] = _as_floats(flat).values.reshape(-1, width)
            first += width
    return Made({name: done[name] for name in group.lists}, dense_lists, dense, num_rows)


def _as_floats(lists: Lists) -> Lists:
    values = lists.values.astype(np.float32, copy=False)
    if lists.valid is not None:
        values = np.where(lists.valid, values, np.float32(0))
    return replace(lists, values=values, valid=None)
