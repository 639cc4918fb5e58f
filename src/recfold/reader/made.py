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
        lists, dense_lists: blocks of lists in order of the batch's features: each of one feature, or of several one
            after the other (k x U lists, feature-major). int64 ids without nulls; float32 without nulls.
        dense: float32 [U, W] or None.
        num_rows: U.
    """

    lists: tuple[Lists, ...]
    dense_lists: tuple[Lists, ...]
    dense: np.ndarray | None
    num_rows: int


Blocks = list[tuple[tuple[str, ...], Lists]]
"""Features and their lists, feature-major."""


def made_of(group: GroupLayout, layout: Layout, raw: Mapping[str, Lists]) -> Made:
    """Transform every list, feature by feature.

    Args:
        raw: feature -> U lists as stored.
    """
    features = layout.schema.features
    order = (*group.lists, *group.dense_lists, *group.dense)
    return _sorted(group, [((name,), apply(raw[name], features[name].transforms, raw)) for name in order])


def made_of_rows(group: GroupLayout, layout: Layout, columns: Mapping[str, Column], rows_U: np.ndarray) -> Made:
    """Take rows of columns and transform their lists: those of features that are alike together, in one call.

    Does what `made_of` does with `Column.take`, its slow twin.

    Args:
        columns: feature -> R lists.
        rows_U: int64.
    """
    features = layout.schema.features
    if group.crosses:
        return made_of(group, layout, {name: columns[name].take(rows_U).lists() for name in group.features})
    runs = _runs(rows_U)
    done: Blocks = []
    for bundle in group.bundles:
        for alike in _of_one_form(bundle, columns):
            lists = _gather([columns[name] for name in alike], rows_U, runs)
            done.append((alike, apply(lists, features[alike[0]].transforms)))
    return _sorted(group, done)


def _runs(rows_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last row of each run of rows that follow each other: their lists are one slice of the values."""
    if not len(rows_U):
        return rows_U, rows_U
    cuts = np.flatnonzero(rows_U[1:] != rows_U[:-1] + 1)
    first = np.concatenate([[0], cuts + 1])
    last = np.concatenate([cuts, [len(rows_U) - 1]])
    return rows_U[first], rows_U[last]


def _of_one_form(bundle: tuple[str, ...], columns: Mapping[str, Column]) -> list[tuple[str, ...]]:
    """A bundle where its columns are of one form; else its features one by one."""
    forms = {
        (column.values.dtype, column.valid is None, column.weights is None, column.offsets is None)
        for column in (columns[name] for name in bundle)
    }
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

    def taken(parts: Sequence[np.ndarray]) -> np.ndarray:
        out = np.empty(sum(sizes), dtype=parts[0].dtype)
        low = 0
        for part, at, size in zip(parts, positions, sizes, strict=True):
            if size:
                part.take(at, out=out[low : low + size], mode="clip")
            low += size
        return out

    values = taken([column.values for column in columns])
    valid = [column.valid for column in columns if column.valid is not None]
    weights = [column.weights for column in columns if column.weights is not None]
    return Lists(values, taken(valid) if valid else None, taken(weights) if weights else None, start, length)


def _sorted(group: GroupLayout, done: Blocks) -> Made:
    """Transformed features by what they are in a batch."""
    features, first = done[0]
    num_rows = first.num_lists // len(features)
    dense = np.empty((num_rows, sum(group.widths)), dtype=np.float32) if group.dense else None
    begins = dict(zip(group.dense, np.cumsum((0, *group.widths)).tolist(), strict=False))
    lists, dense_lists = [], []
    for features, block in done:
        if features[0] in begins:
            assert dense is not None
            width = len(block.values) // (len(features) * num_rows) if num_rows else 0
            values = _as_floats(block).values.reshape(len(features), num_rows, width)
            for number, name in enumerate(features):
                dense[:, begins[name] : begins[name] + width] = values[number]
        elif features[0] in group.dense_lists:
            dense_lists.append(_as_floats(block))
        else:
            lists.append(block)
    return Made(tuple(lists), tuple(dense_lists), dense, num_rows)


def _as_floats(lists: Lists) -> Lists:
    values = lists.values.astype(np.float32, copy=False)
    if lists.valid is not None:
        values = np.where(lists.valid, values, np.float32(0))
    return replace(lists, values=values, valid=None)
