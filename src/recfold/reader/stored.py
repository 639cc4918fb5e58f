"""Units as they are stored in one row group (or several, joined), as flat numpy buffers.

Legend: U units, S samples of all units, R runs or windows of all units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from recfold.reader.column import Column, Memory, column_of, elements, one_array
from recfold.reader.layout import GroupLayout, Layout
from recfold.spec import InputError
from recfold.transform import NULL_ID, windows_of

_KEYS = ("session", "user", "request", "candidate", "position", "time")


@dataclass(frozen=True)
class Stored:
    """U units.

    Args:
        offsets: int64 [U + 1] of the samples.
        samples: name -> [S]: keys (int64), `weight` and `label.<name>` (float32).
        inverse: group -> int64 [S]: run or window of the unit, or row of the dictionary.
        runs: session or window group -> int64 [U + 1] offsets of the units' runs or windows.
        windows: window group -> start, length, int64 [R], counted in the unit's merged list.
        columns: feature -> its lists: one per sample, per run, or (window groups) per unit.
    """

    offsets: np.ndarray
    samples: dict[str, np.ndarray]
    inverse: dict[str, np.ndarray]
    runs: dict[str, np.ndarray]
    windows: dict[str, tuple[np.ndarray, np.ndarray]]
    columns: dict[str, Column]

    @property
    def num_units(self) -> int:
        return len(self.offsets) - 1

    def between(self, low: int, high: int, layout: Layout) -> "Stored":
        """The units numbered [low, high); views, no copy of values."""
        samples = slice(self.offsets[low], self.offsets[high])
        runs, windows, columns = {}, {}, {}
        for group in layout.groups:
            rows = samples if group.stored_as == "sample" else slice(low, high)
            if group.name in self.runs:
                bounds = self.runs[group.name][low : high + 1]
                at = slice(bounds[0], bounds[-1])
                runs[group.name] = bounds - bounds[0]
                if group.stored_as == "session":
                    rows = at
                else:
                    start, length = self.windows[group.name]
                    windows[group.name] = (start[at], length[at])
            for feature in group.features if group.stored_as != "dictionary" else ():
                columns[feature] = self.columns[feature].between(rows.start, rows.stop)
        return Stored(
            self.offsets[low : high + 1] - self.offsets[low],
            {name: values[samples] for name, values in self.samples.items()},
            {name: inverse[samples] for name, inverse in self.inverse.items()},
            runs,
            windows,
            columns,
        )

    @staticmethod
    def concat(parts: Sequence["Stored"], memory: Memory) -> "Stored":
        """The units of all parts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        sizes = [column.values.nbytes for part in parts for column in part.columns.values()]
        room = memory.room(sum(sizes), len(first.columns))
        return Stored(
            _concat_offsets([part.offsets for part in parts]),
            {name: np.concatenate([part.samples[name] for part in parts]) for name in first.samples},
            {name: np.concatenate([part.inverse[name] for part in parts]) for name in first.inverse},
            {name: _concat_offsets([part.runs[name] for part in parts]) for name in first.runs},
            {
                name: (
                    np.concatenate([part.windows[name][0] for part in parts]),
                    np.concatenate([part.windows[name][1] for part in parts]),
                )
                for name in first.windows
            },
            {name: Column.concat([part.columns[name] for part in parts], room) for name in first.columns},
        )


def key_columns(available: Sequence[str]) -> dict[str, str]:
    """Keys of a sample -> their columns in a part with these columns: one value per sample, else one per unit."""
    found = {}
    for name in _KEYS:
        column = f"sample.{name}" if f"sample.{name}" in available else name
        if column in available:
            found[name] = column
    return found


def stored_columns(layout: Layout, available: Sequence[str]) -> list[str]:
    """Names of the columns of a part that a reader needs.

    Args:
        available: columns that the part has: keys are read where they are there.
    """
    wanted = ["n", *(f"label.{label}" for label in layout.labels)]
    wanted += key_columns(available).values()
    if "sample.weight" in available:
        wanted.append("sample.weight")
    for group in layout.groups:
        if group.stored_as != "sample":
            wanted.append(f"{group.name}.inverse")
        if group.stored_as == "window":
            wanted += [f"{group.name}.start", f"{group.name}.length"]
        if group.stored_as != "dictionary":
            for feature in group.features:
                wanted += feature_columns(layout, feature)
    return wanted


def feature_columns(layout: Layout, feature: str) -> list[str]:
    """Columns of a feature: its values, and its weights where it has them."""
    weighted = layout.schema.features[feature].weights is not None
    return [f"feature.{feature}", *([f"feature.{feature}.weights"] if weighted else [])]


def decode(table: pa.Table, layout: Layout, path: Path) -> Stored:
    """Take the raw columns of a row group apart.

    Args:
        path: file that they come from, for messages.
    Raises:
        InputError: columns that do not fit each other.
    """
    try:
        return _decode(table, layout)
    except InputError as error:
        raise InputError(f"{path} is damaged", got=str(error), todo="fold again") from None


def decode_dictionary(table: pa.Table, group: GroupLayout, layout: Layout, path: Path) -> dict[str, Column]:
    """The features of a dictionary group, one list per dictionary row.

    Raises:
        InputError: as `decode`.
    """
    try:
        return {feature: _feature(table, layout, feature, None) for feature in group.features}
    except InputError as error:
        raise InputError(f"{path} is damaged", got=str(error), todo="fold again") from None


def _decode(table: pa.Table, layout: Layout) -> Stored:
    counts = one_array(table["n"]).to_numpy().astype(np.int64)
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    inverse, runs, windows, columns = {}, {}, {}, {}
    for group in layout.groups:
        if group.stored_as != "sample":
            inverse[group.name] = _integers(table, f"{group.name}.inverse", offsets)
        if group.stored_as == "window":
            start = _outer(table, f"{group.name}.start")
            runs[group.name] = start[1]
            windows[group.name] = (
                elements(start[0])[0].astype(np.int64),
                _integers(table, f"{group.name}.length", start[1]),
            )
        for feature in group.features if group.stored_as != "dictionary" else ():
            if group.stored_as == "window":
                columns[feature] = _feature(table, layout, feature, None)
                continue
            bounds = offsets if group.stored_as == "sample" else runs.get(group.name)
            if bounds is None:
                bounds = runs[group.name] = _outer(table, f"feature.{feature}")[1]
            columns[feature] = _feature(table, layout, feature, bounds)
    return Stored(offsets, _samples(table, layout, offsets, counts), inverse, runs, windows, columns)


def _samples(table: pa.Table, layout: Layout, offsets: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    found = {}
    for name, column in key_columns(table.column_names).items():
        if column == name:
            found[name] = np.repeat(_key(one_array(table[column])), counts)
        else:
            found[name] = _key(_nested(table, column, offsets))
    if "sample.weight" in table.column_names:
        found["weight"] = _float32(_nested(table, "sample.weight", offsets), 1.0)
    for label in layout.labels:
        found[f"label.{label}"] = _float32(_nested(table, f"label.{label}", offsets), np.nan)
    return found


def _feature(table: pa.Table, layout: Layout, feature: str, bounds: np.ndarray | None) -> Column:
    """A feature's lists; with `bounds` from one level deeper: its lists of each unit."""
    arrays = [
        one_array(table[name]) if bounds is None else _nested(table, name, bounds)
        for name in feature_columns(layout, feature)
    ]
    return column_of(arrays[0], layout.schema.features[feature], arrays[1] if len(arrays) > 1 else None)


def _outer(table: pa.Table, name: str) -> tuple[pa.Array, np.ndarray]:
    """A column of lists, one per unit: its elements and int64 [U + 1] offsets."""
    array = one_array(table[name])
    if pa.types.is_list(array.type) and not array.null_count:
        offsets = array.offsets.to_numpy().astype(np.int64)
        first = int(offsets[0])
        if first:
            offsets -= first
        return array.values.slice(first, int(offsets[-1])), offsets
    child, start, length, valid = windows_of(array)
    if valid is not None:
        raise InputError(f"column {name!r} has a null where a unit's list should be")
    offsets = np.zeros(len(length) + 1, dtype=np.int64)
    np.cumsum(length, out=offsets[1:])
    first = int(start[0]) if len(start) else 0
    return child.slice(first, int(offsets[-1])), offsets


def _nested(table: pa.Table, name: str, bounds: np.ndarray) -> pa.Array:
    child, offsets = _outer(table, name)
    if not np.array_equal(offsets, bounds):
        raise InputError(f"the lists of column {name!r} have other lengths than those of its group")
    return child


def _integers(table: pa.Table, name: str, bounds: np.ndarray) -> np.ndarray:
    values, valid = elements(_nested(table, name, bounds))
    if valid is not None:
        raise InputError(f"column {name!r} has a null")
    return values.astype(np.int64)


def _key(array: pa.Array) -> np.ndarray:
    """A key as int64: integers as they are, strings as the bits of xxh64, null as NULL_ID."""
    values, valid = elements(array)
    values = values.view(np.int64) if values.dtype == np.uint64 else values.astype(np.int64)
    return values if valid is None else np.where(valid, values, NULL_ID)


def _float32(array: pa.Array, null: float) -> np.ndarray:
    values, valid = elements(array)
    values = values.astype(np.float32, copy=False)
    return values if valid is None else np.where(valid, values, np.float32(null))


def _concat_offsets(parts: Sequence[np.ndarray]) -> np.ndarray:
    firsts = np.cumsum([0, *(part[-1] for part in parts[:-1])])
    return np.concatenate([[0], *(part[1:] + first for part, first in zip(parts, firsts, strict=True))])
