"""A chunk: the units of some batches, decoded and transformed once, from which the batches are cut.

Legend: U units of the chunk, S their samples, R rows of a group (runs, windows, dictionary rows, or samples).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from recfold.reader.column import Column
from recfold.reader.layout import GroupLayout, Layout
from recfold.reader.stored import Stored
from recfold.transform import Lists, apply

Dictionary = Callable[[str, int], dict[str, Column]]
"""(group, part) -> the decoded dictionary; the part is -1 for one that the whole split shares."""


@dataclass(frozen=True)
class ChunkGroup:
    """One group, transformed.

    Args:
        layout: of the group.
        rows: int64 [S], the row that each sample uses; None where every sample has its own.
        lists, dense_lists: feature -> R lists: int64 ids without nulls, float32 without nulls.
        dense: float32 [R, W] or None.
        num_rows: R.
        merged: int64 [U + 1], where each unit's merged list lies in the buffers, if `layout.windows`; else None.
    """

    layout: GroupLayout
    rows: np.ndarray | None
    lists: dict[str, Lists]
    dense_lists: dict[str, Lists]
    dense: np.ndarray | None
    num_rows: int
    merged: np.ndarray | None


@dataclass(frozen=True)
class Chunk:
    """U units: sample offsets int64 [U + 1], per-sample values, groups."""

    layout: Layout
    offsets: np.ndarray
    keys: dict[str, np.ndarray]
    labels: np.ndarray
    weight: np.ndarray | None
    groups: tuple[ChunkGroup, ...]


def chunk_of(stored: Stored, part_of_unit: np.ndarray, layout: Layout, dictionary: Dictionary) -> Chunk:
    """Transform the distinct lists of some units.

    Args:
        stored: the units.
        part_of_unit: int64 [U], which part's user dictionaries each refers to.
    """
    samples = dict(stored.samples)
    labels = [samples.pop(f"label.{label}") for label in layout.labels]
    weight = samples.pop("weight", None)
    unit_of_sample = np.repeat(np.arange(stored.num_units), np.diff(stored.offsets))
    groups = []
    rows: np.ndarray | None
    for group in layout.groups:
        if group.stored_as == "dictionary":
            part = np.full(len(unit_of_sample), -1) if group.shared else part_of_unit[unit_of_sample]
            rows, columns = _look_up(group, stored.inverse[group.name], part, dictionary)
            raw = {feature: column.lists() for feature, column in columns.items()}
        else:
            rows, raw = _stored_rows(group, stored, unit_of_sample)
        groups.append(_transformed(group, layout, rows, raw, stored))
    return Chunk(layout, stored.offsets, samples, np.stack(labels, axis=1), weight, tuple(groups))


def _stored_rows(
    group: GroupLayout, stored: Stored, unit_of_sample: np.ndarray
) -> tuple[np.ndarray | None, dict[str, Lists]]:
    """Row of each sample and the R lists of each feature, as stored in the part."""
    columns = {feature: stored.columns[feature] for feature in group.features}
    if group.stored_as == "sample":
        return None, {feature: column.lists() for feature, column in columns.items()}
    rows = stored.runs[group.name][unit_of_sample] + stored.inverse[group.name]
    if group.stored_as == "session":
        return rows, {feature: column.lists() for feature, column in columns.items()}
    start, length = stored.windows[group.name]
    unit_of_window = np.repeat(np.arange(stored.num_units), np.diff(stored.runs[group.name]))
    lists = {}
    for feature, column in columns.items():
        assert column.offsets is not None
        begin = column.offsets[unit_of_window] + start
        # a length of -1 means a null list
        lists[feature] = Lists(column.values, column.valid, column.weights, begin, np.maximum(length, 0))
    return rows, lists


def _look_up(
    group: GroupLayout, references: np.ndarray, part: np.ndarray, dictionary: Dictionary
) -> tuple[np.ndarray, dict[str, Column]]:
    """The dictionary rows that a chunk refers to, by part and row, each once; and which one each sample uses."""
    rows = np.empty(len(references), dtype=np.int64)
    found: list[dict[str, Column]] = []
    first = 0
    for number in np.unique(part):
        here = part == number
        distinct, inverse = np.unique(references[here], return_inverse=True)
        rows[here] = inverse + first
        first += len(distinct)
        columns = dictionary(group.name, int(number))
        found.append({feature: column.take(distinct) for feature, column in columns.items()})
    return rows, {feature: Column.concat([columns[feature] for columns in found]) for feature in group.features}


def _transformed(
    group: GroupLayout, layout: Layout, rows: np.ndarray | None, raw: dict[str, Lists], stored: Stored
) -> ChunkGroup:
    features = layout.schema.features
    done = {name: apply(raw[name], features[name].transforms, raw) for name in group.features}
    dense_lists = {name: _as_floats(done[name]) for name in group.dense_lists}
    dense = None
    if group.dense:
        columns = zip(group.dense, group.widths, strict=True)
        dense = np.concatenate([_as_floats(done[name]).values.reshape(-1, width) for name, width in columns], axis=1)
    lists = {name: done[name] for name in group.lists}
    merged = stored.columns[group.features[0]].offsets if group.windows else None
    return ChunkGroup(group, rows, lists, dense_lists, dense, raw[group.features[0]].num_lists, merged)


def _as_floats(lists: Lists) -> Lists:
    values = lists.values.astype(np.float32, copy=False)
    if lists.valid is not None:
        values = np.where(lists.valid, values, np.float32(0))
    return replace(lists, values=values, valid=None)
