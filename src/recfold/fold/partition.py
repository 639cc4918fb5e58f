"""Folding as a pure function: sorted samples of one split of one partition in, unit rows and dictionaries out.

No file, no clock, no global: this is what a distributed engine would map over partitions.

Legend: B samples, N units (sessions, or what `fold_by` says), U runs, windows or dictionary rows of a group.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recfold.fold.bits import Bits, bits_of, changed, distinct_rows, element_hash
from recfold.fold.sketch import Sketch, sketch
from recfold.fold.windows import merge_windows
from recfold.spec import SAMPLE_GROUP, InputError, Schema
from recfold.table.expand import feature_columns
from recfold.table.lists import flatten, is_list, list_array, offsets_of, one_array

UNIT = "unit"
"""Column of the sorted samples: number of the unit, rising by 1."""
SIDE = "side."
"""Prefix of columns that say which row of a side table a sample refers to."""


@dataclass(frozen=True)
class FeatureCount:
    """What one feature takes: see `recfold.table.FeatureStats`."""

    lists: int
    values: int
    expanded_values: int
    value_bytes: int


@dataclass(frozen=True)
class Folded:
    """One split of one partition, folded.

    Attributes:
        units: one row per unit, columns as FORMAT.md names them; session and user are unit columns where every unit
            has one of them, else `sample.` columns.
        dictionaries: dictionary group -> its rows.
        features: what each feature takes; lists: how many lists each group stores.
        sketches: distinct ids of each id feature.
        last: largest inverse (or start, or length) of each index column.
    """

    units: pa.Table
    dictionaries: dict[str, pa.Table]
    features: dict[str, FeatureCount]
    lists: dict[str, int]
    sketches: dict[str, Sketch]
    last: dict[str, int] = field(default_factory=dict)


def fold_partition(rows: pa.Table, sides: Mapping[str, pa.Table], schema: Schema) -> Folded:
    """Fold the sorted samples of one split.

    Args:
        rows: canonical columns plus `unit` and, per side table, `side.<name>`: the row of it that a sample refers to.
        sides: side table -> its feature columns; its last row is all null.
        schema: every feature has a group or is stored per sample.
    Raises:
        InputError: features of one window group whose lists differ in length.
    """
    return _Folder(rows, sides, schema).fold()


class _Folder:
    """The columns that are being collected for one `Folded`."""

    def __init__(self, rows: pa.Table, sides: Mapping[str, pa.Table], schema: Schema) -> None:
        self.rows = rows
        self.sides = sides
        self.schema = schema
        unit = one_array(rows[UNIT]).to_numpy()
        unit = unit - unit[0]
        self.begin = np.flatnonzero(np.diff(unit, prepend=-1))  # first sample of each unit [N]
        self.counts = np.diff(np.append(self.begin, len(unit)))
        self.unit = unit
        self.columns: dict[str, pa.Array] = {}
        self.dictionaries: dict[str, pa.Table] = {}
        self.features: dict[str, FeatureCount] = {}
        self.lists: dict[str, int] = {}
        self.sketches: dict[str, Sketch] = {}
        self.last: dict[str, int] = {}

    def fold(self) -> Folded:
        self._keys()
        for group in (SAMPLE_GROUP, *self.schema.groups):
            names = self.schema.features_of(group)
            if not names:
                continue
            if group == SAMPLE_GROUP:
                self._per_sample(names)
            elif self.schema.groups[group].kind == "session":
                self._session(group, names)
            elif self.schema.groups[group].kind == "window":
                self._window(group, names)
            else:
                self._dictionary(group, names)
        units = pa.table(self.columns)
        return Folded(units, self.dictionaries, self.features, self.lists, self.sketches, self.last)

    def _keys(self) -> None:
        names = self.rows.column_names
        per_unit: dict[str, pa.Array] = {}
        per_sample: dict[str, pa.Array] = {}
        for name in ("session", "session.made", "user"):
            if name not in names:
                continue
            values = self._column(name)
            change = changed(bits_of(values))
            change[self.begin] = False
            if change.any():
                per_sample[name] = values
            else:
                per_unit[name] = values.take(pa.array(self.begin))
        per_unit["first_time"] = self._column("time").take(pa.array(self.begin))
        per_unit["n"] = pa.array(self.counts.astype(np.int32))
        for name in ("request", "candidate", "position", "time", "weight"):
            if name in names:
                per_sample[name] = self._column(name)
        self.columns |= per_unit
        self.columns |= {f"sample.{name}": self._by_unit(values) for name, values in per_sample.items()}
        for label in self.schema.labels:
            self.columns[f"label.{label}"] = self._by_unit(self._column(f"label.{label}"))

    def _per_sample(self, names: tuple[str, ...]) -> None:
        for name in names:
            for column in feature_columns(self.schema, name):
                values = self._column(column)
                self.columns[column] = self._by_unit(values)
                self._count(name, column, values, None, len(values))

    def _session(self, group: str, names: tuple[str, ...]) -> None:
        columns = self._bits(names)
        new = self._runs(columns)
        first = np.flatnonzero(new)
        self._inverse(group, np.cumsum(new) - 1, first)
        per_unit = offsets_of(np.add.reduceat(new.astype(np.int64), self.begin))
        multiplicity = np.diff(np.append(first, len(new)))
        for name in names:
            for column in feature_columns(self.schema, name):
                values = self._column(column).take(pa.array(first))
                self.columns[column] = list_array(per_unit, values)
                self._count(name, column, values, multiplicity, len(first))
        self.lists[group] = len(first)

    def _window(self, group: str, names: tuple[str, ...]) -> None:
        columns = self._bits(names)
        self._check_aligned(group, columns)
        new = self._runs(columns)
        first = np.flatnonzero(new)
        self._inverse(group, np.cumsum(new) - 1, first)
        multiplicity = np.diff(np.append(first, len(new)))
        windows = {column: self._column(column).take(pa.array(first)) for column in columns}
        taken = {column: bits_of(values) for column, values in windows.items()}
        merged = merge_windows(list(taken.values()), self.unit[first], len(self.begin))
        per_unit = offsets_of(np.add.reduceat(new.astype(np.int64), self.begin))
        self._index(f"{group}.start", per_unit, merged.start)
        self._index(f"{group}.length", per_unit, merged.length)
        expanded = int((np.maximum(merged.length, 0) * multiplicity).sum())
        for name in names:
            for column in feature_columns(self.schema, name):
                values = taken[column].values.take(pa.array(merged.take))
                self.columns[column] = list_array(merged.offsets, values)
                self._count(name, column, values, None, len(first), expanded)
        self.lists[group] = len(first)

    def _dictionary(self, group: str, names: tuple[str, ...]) -> None:
        columns = [column for name in names for column in feature_columns(self.schema, name)]
        side = self.schema.features[names[0]].side
        if side is None:
            first, inverse = distinct_rows([self._column(column) for column in columns])
            rows = {column: self._column(column).take(pa.array(first)) for column in columns}
        else:
            reference = self._column(SIDE + side).to_numpy()
            used, position = np.unique(reference, return_inverse=True)
            table = self.sides[side].select(columns).take(pa.array(used))
            first, same = distinct_rows([one_array(table[column]) for column in columns])
            first, inverse = _by_first_use(first, same[position])
            rows = {column: one_array(table[column]).take(pa.array(first)) for column in columns}
        multiplicity = np.bincount(inverse, minlength=len(first))
        self._index(f"{group}.inverse", offsets_of(self.counts), inverse)
        for name in names:
            for column in feature_columns(self.schema, name):
                self._count(name, column, rows[column], multiplicity, len(first))
        self.dictionaries[group] = pa.table(rows)
        self.lists[group] = len(first)

    def _column(self, name: str) -> pa.Array:
        return one_array(self.rows[name])

    def _by_unit(self, values: pa.Array) -> pa.Array:
        return list_array(offsets_of(self.counts), values)

    def _bits(self, names: tuple[str, ...]) -> dict[str, Bits]:
        columns = [column for name in names for column in feature_columns(self.schema, name)]
        return {column: bits_of(self._column(column)) for column in columns}

    def _runs(self, columns: Mapping[str, Bits]) -> np.ndarray:
        """Which samples start a run: the first of a unit, and those where any column changed. [B] bool"""
        new = np.zeros(len(self.unit), bool)
        new[self.begin] = True
        for column in columns.values():
            new |= changed(column)
        return new

    def _inverse(self, group: str, run: np.ndarray, first: np.ndarray) -> None:
        self._index(f"{group}.inverse", offsets_of(self.counts), run - np.repeat(run[self.begin], self.counts))

    def _index(self, column: str, offsets: np.ndarray, values: np.ndarray) -> None:
        self.last[column] = int(values.max(initial=0))
        self.columns[column] = list_array(offsets, pa.array(values))

    def _check_aligned(self, group: str, columns: Mapping[str, Bits]) -> None:
        (name, base), *rest = columns.items()
        for other, column in rest:
            assert base.offsets is not None
            assert column.offsets is not None
            nulls = [np.zeros(len(self.unit), bool) if c.null_row is None else c.null_row for c in (base, column)]
            wrong = np.flatnonzero((np.diff(base.offsets) != np.diff(column.offsets)) | (nulls[0] != nulls[1]))
            if len(wrong):
                request = self._column("request")[int(wrong[0])].as_py()
                raise InputError(
                    f"{name!r} and {other!r} of window group {group!r} differ in length in request {request!r}",
                    todo="put them into different groups, or make their lists line up",
                )

    def _count(
        self,
        name: str,
        column: str,
        values: pa.Array,
        multiplicity: np.ndarray | None,
        lists: int,
        expanded_values: int | None = None,
    ) -> None:
        """Add what a column of a feature takes: its lists `values`, each used `multiplicity` times."""
        elements = elements_of(values)
        lengths = flatten(values).lengths if is_list(values.type) else None
        if column != f"feature.{name}":  # weights: only their bytes count
            known = self.features[name]
            self.features[name] = FeatureCount(
                known.lists, known.values, known.expanded_values, known.value_bytes + bytes_of(elements)
            )
            return
        if expanded_values is None:
            times = np.ones(lists, np.int64) if multiplicity is None else multiplicity
            expanded_values = int(times.sum() if lengths is None else (lengths * times).sum())
        self.features[name] = FeatureCount(lists, len(elements), expanded_values, bytes_of(elements))
        if self.schema.features[name].kind in ("id", "ids", "sequence"):
            self.sketches[name] = sketch(element_hash(elements.drop_null().unique()))


def _by_first_use(first: np.ndarray, inverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number dictionary rows by their first use in `inverse`."""
    used, at = np.unique(inverse, return_index=True)
    order = np.argsort(at, kind="stable")
    rank = np.empty(len(used), np.int64)
    rank[order] = np.arange(len(used))
    return first[used[order]], rank[np.searchsorted(used, inverse)]


def elements_of(values: pa.Array) -> pa.Array:
    """The elements of all lists, or the scalars themselves."""
    return values.flatten() if is_list(values.type) else values


def bytes_of(elements: pa.Array) -> int:
    """What elements take in memory."""
    if pa.types.is_string(elements.type):
        return int(pc.sum(pc.binary_length(elements)).as_py() or 0)
    return len(elements) * elements.type.bit_width // 8
