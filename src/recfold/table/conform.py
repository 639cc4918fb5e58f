"""Parts that days added to a table made alike: a column of another day's width, or one that it had not yet.

Legend: N units of a row group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from recfold.spec import SAMPLE_GROUP, InputError, Schema
from recfold.table.expand import feature_columns
from recfold.table.lists import flatten, list_array, offsets_of, one_array

FALSE_KEY = "session.made"


@dataclass(frozen=True)
class Columns:
    """The columns of every part of a table.

    Attributes:
        types: column -> type, in order (those of dictionaries are in their files). schema: of the table.
    """

    types: Mapping[str, pa.DataType]
    schema: Schema

    def needed(self, wanted: Sequence[str], stored: Sequence[str]) -> list[str]:
        """The columns of a part with columns `stored` from which `conform` makes the wanted ones."""
        found: dict[str, None] = {}
        for name in wanted:
            if name in stored:
                found[name] = None
                continue
            key = name.removeprefix("sample.")
            others = [key, "n"] if key in stored else ["n"]
            if name.startswith("feature."):
                inverse = f"{self._group(name)}.inverse"
                others += [inverse] if inverse in stored else []
            found |= dict.fromkeys(others)
        return list(found)

    def conform(self, raw: pa.Table, wanted: Sequence[str]) -> pa.Table:
        """The wanted columns of a row group, in the table's types; what the part has not is what it stands for."""
        return pa.table({name: self._column(raw, name) for name in wanted})

    def conform_dictionary(self, group: str, rows: pa.Table | None) -> pa.Table:
        """A dictionary (None: there was none yet, and everybody referred to a row of defaults)."""
        columns = {}
        for feature in self.schema.features_of(group):
            for name, type in _dictionary_types(self.schema, feature).items():
                if rows is not None and name in rows.column_names:
                    columns[name] = widened(one_array(rows[name]), type)
                else:
                    columns[name] = self._defaults(name, type, 1 if rows is None else rows.num_rows)
        return pa.table(columns)

    def _group(self, column: str) -> str:
        return self.schema.group_of(column.split(".")[1])

    def _column(self, raw: pa.Table, name: str) -> pa.Array:
        type = self.types[name]
        if name in raw.column_names:
            return widened(one_array(raw[name]), type)
        counts = one_array(raw["n"]).to_numpy().astype(np.int64)
        if name.startswith("feature."):
            return self._missing_feature(raw, name, counts)
        key = name.removeprefix("sample.")
        if key in raw.column_names or key == FALSE_KEY:
            values = one_array(raw[key]) if key in raw.column_names else pa.array(np.zeros(len(counts), bool))
            if key == name:
                return values
            owner = np.repeat(np.arange(len(counts)), counts)
            return widened(list_array(offsets_of(counts), values.take(pa.array(owner))), type)
        if name.endswith(".inverse"):
            return list_array(offsets_of(counts), pa.array(np.zeros(counts.sum()), type.value_type))
        if name.endswith((".start", ".length")):
            one = np.zeros(len(counts)) if name.endswith(".start") else np.full(len(counts), -1)
            return list_array(np.arange(len(counts) + 1), pa.array(one, type.value_type))
        raise InputError(f"a part has no column {name!r}", got=", ".join(raw.column_names)[:200], todo="fold again")

    def _missing_feature(self, raw: pa.Table, name: str, counts: np.ndarray) -> pa.Array:
        group = self._group(name)
        type = self.types[name]
        if group != SAMPLE_GROUP and self.schema.groups[group].kind == "window":
            return list_array(np.zeros(len(counts) + 1, np.int64), pa.array([], type.value_type))
        stored = counts
        if group != SAMPLE_GROUP:
            inverse = f"{group}.inverse"
            stored = np.ones(len(counts), np.int64)
            if inverse in raw.column_names:  # the inverse of a unit rises to its last run
                flat = flatten(one_array(raw[inverse]))
                stored = flat.values.to_numpy()[flat.offsets[1:] - 1].astype(np.int64) + 1
        return list_array(offsets_of(stored), self._defaults(name, type.value_type, int(stored.sum())))

    def _defaults(self, column: str, type: pa.DataType, count: int) -> pa.Array:
        feature = self.schema.features[column.split(".")[1]]
        default = feature.default if column == f"feature.{column.split('.')[1]}" else None
        return pa.repeat(pa.scalar(default, type), count)


def _dictionary_types(schema: Schema, feature: str) -> dict[str, pa.DataType]:
    """The columns of a feature in a dictionary, which is one row per thing."""
    spec = schema.features[feature]
    assert spec.type is not None
    type = pa.type_for_alias(spec.type)
    value, *weights = feature_columns(schema, feature)
    found = {value: pa.list_(type) if spec.is_list or spec.kind == "vector" else type}
    return found | {name: pa.list_(pa.float32()) for name in weights}


def widened(column: pa.Array, type: pa.DataType) -> pa.Array:
    """A column in a wider type of the same shape; values stay the same."""
    return column if column.type == type else column.cast(type)


def type_text(type: pa.DataType) -> str:
    """A type as the manifest writes it.

    >>> type_text(pa.list_(pa.list_(pa.int16())))
    '[[int16]]'
    """
    return f"[{type_text(type.value_type)}]" if pa.types.is_list(type) else str(type)


def type_of_text(text: str) -> pa.DataType:
    """The inverse of `type_text`.

    >>> type_of_text("[float]")
    ListType(list<item: float>)
    """
    return pa.list_(type_of_text(text[1:-1])) if text.startswith("[") else pa.type_for_alias(text)
