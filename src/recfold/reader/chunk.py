"""A chunk: the units of some batches, decoded once, from which the batches are cut.

Legend: U units of the chunk, S their samples, R rows of a group (runs, windows, dictionary rows, or samples).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from recfold.reader.column import Column
from recfold.reader.layout import GroupLayout, Layout
from recfold.reader.made import Made, made_of
from recfold.reader.stored import Stored
from recfold.transform import Lists


@dataclass(frozen=True)
class ChunkGroup:
    """One group: either rows that are transformed already, or columns of which each batch transforms what it takes.

    Session groups and per-sample features are transformed batch by batch: a unit lies in one batch, or in few, and rows
    that were just gathered are still in the processor's cache. Windows and dictionary rows are needed by many batches.

    Args:
        layout: of the group.
        rows: int64 [S], the row that each sample uses; None where every sample has its own.
        made: R rows, or None.
        columns: feature -> R lists as stored, where `made` is None.
        merged: int64 [U + 1], where each unit's merged list lies in the buffers, if `layout.windows`; else None.
    """

    layout: GroupLayout
    rows: np.ndarray | None
    made: Made | None
    columns: Mapping[str, Column]
    merged: np.ndarray | None = None


@dataclass(frozen=True)
class Chunk:
    """U units: sample offsets int64 [U + 1], per-sample values, groups."""

    layout: Layout
    offsets: np.ndarray
    keys: dict[str, np.ndarray]
    labels: np.ndarray
    weight: np.ndarray | None
    groups: tuple[ChunkGroup, ...]


@dataclass(frozen=True)
class Dictionaries:
    """Where dictionary rows come from.

    Args:
        shared: group -> all rows of the split's dictionary, transformed.
        own: (group, part) -> the rows of a part's dictionary as stored.
    """

    shared: Callable[[str], Made]
    own: Callable[[str, int], dict[str, Column]]


def chunk_of(stored: Stored, part_of_unit: np.ndarray, layout: Layout, dictionaries: Dictionaries) -> Chunk:
    """Make some units ready for cutting batches.

    Args:
        stored: the units.
        part_of_unit: int64 [U], which part's user dictionaries each refers to.
    """
    samples = dict(stored.samples)
    labels = [samples.pop(f"label.{label}") for label in layout.labels]
    weight = samples.pop("weight", None)
    unit_of_sample = np.repeat(np.arange(stored.num_units), np.diff(stored.offsets))
    groups = []
    for group in layout.groups:
        if group.stored_as == "sample":
            groups.append(ChunkGroup(group, None, None, stored.columns))
            continue
        inverse = stored.inverse[group.name]
        if group.stored_as == "session":
            rows = stored.runs[group.name][unit_of_sample] + inverse
            groups.append(ChunkGroup(group, rows, None, stored.columns))
        elif group.stored_as == "window":
            rows = stored.runs[group.name][unit_of_sample] + inverse
            made = made_of(group, layout, _windows(group, stored))
            merged = stored.columns[group.features[0]].offsets if group.windows else None
            groups.append(ChunkGroup(group, rows, made, {}, merged))
        elif group.shared:
            groups.append(ChunkGroup(group, inverse, dictionaries.shared(group.name), {}))
        else:
            rows, columns = _look_up(group, inverse, part_of_unit[unit_of_sample], dictionaries.own)
            raw = {feature: column.lists() for feature, column in columns.items()}
            groups.append(ChunkGroup(group, rows, made_of(group, layout, raw), {}))
    return Chunk(layout, stored.offsets, samples, np.stack(labels, axis=1), weight, tuple(groups))


def _windows(group: GroupLayout, stored: Stored) -> dict[str, Lists]:
    """The R windows of each feature, as stored in the part."""
    start, length = stored.windows[group.name]
    unit_of_window = np.repeat(np.arange(stored.num_units), np.diff(stored.runs[group.name]))
    lists = {}
    for feature in group.features:
        column = stored.columns[feature]
        assert column.offsets is not None
        begin = column.offsets[unit_of_window] + start
        # a length of -1 means a null list
        lists[feature] = Lists(column.values, column.valid, column.weights, begin, np.maximum(length, 0))
    return lists


def _look_up(
    group: GroupLayout, references: np.ndarray, part: np.ndarray, dictionary: Callable[[str, int], dict[str, Column]]
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
