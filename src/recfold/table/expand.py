"""A folded table back to one row per sample: fast, and the slow obvious twin that is also the format's meaning."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recfold.spec import SAMPLE_GROUP, Schema
from recfold.table.lists import flatten, list_array, offsets_of, one_array, ranges, to_int64
from recfold.table.manifest import Manifest

KEYS = ("request", "candidate", "position", "session", "user", "time", "weight")


def feature_columns(schema: Schema, feature: str) -> tuple[str, ...]:
    """Columns of a feature: its values and, where it has them, its weights.

    >>> from recfold.spec import FeatureSpec, LabelSpec, Schema
    >>> schema = Schema.parse({"keys": {"request": "r", "user": "u", "time": "t"}, "labels": {"y": {"column": "y"}},
    ...                        "features": {"x": {"kind": "ids", "weights": "w"}}}, "here")
    >>> feature_columns(schema, "x")
    ('feature.x', 'feature.x.weights')
    """
    name = f"feature.{feature}"
    return (name, f"{name}.weights") if schema.features[feature].weights is not None else (name,)


def sample_keys(raw: pa.Table) -> pa.Table:
    """The keys and labels of every sample of a row group.

    Args:
        raw: raw columns of a part, at least `n`; those that are there are used.
    Returns:
        one row per sample: those of request, candidate, position, session, user, time, weight, `session.made` and
        `label.<name>` that the table has, as stored. `session` is made up where the logs gave none.
    """
    lengths = one_array(raw["n"]).to_numpy()
    unit_of_sample = pa.array(np.repeat(np.arange(len(lengths)), lengths))
    found: dict[str, pa.Array] = {}
    for name in ("request", "candidate", "position", "session", "session.made", "user", "time", "weight"):
        if f"sample.{name}" in raw.column_names:
            found[name] = flatten(one_array(raw[f"sample.{name}"])).values
        elif name in raw.column_names:
            found[name] = one_array(raw[name]).take(unit_of_sample)
    for name in raw.column_names:
        if name.startswith("label."):
            found[name] = flatten(one_array(raw[name])).values
    return pa.table(found)


def expand_rows(raw: pa.Table, manifest: Manifest, dictionaries: Mapping[str, pa.Table], split: str) -> pa.Table:
    """Canonical rows, one per sample, of some rows of a part.

    Args:
        raw: all columns of those rows.
        dictionaries: dictionary group -> its rows.
        split: what goes into the `split` column.
    Returns:
        columns request, candidate, position, session, user, time, split, weight, labels, features, as far as the logs
        had them; integers as int64, vectors as lists.
    """
    schema = manifest.log_schema
    keys = sample_keys(raw)
    found = _canonical_keys(keys, schema, split)
    lengths = one_array(raw["n"]).to_numpy()
    unit_of_sample = np.repeat(np.arange(len(lengths)), lengths)
    for name in [name for name in keys.column_names if name.startswith("label.")]:
        found[name] = one_array(keys[name])
    indexes: dict[str, np.ndarray] = {}
    for feature in schema.features:
        group = schema.group_of(feature)
        kind = "sample" if group == SAMPLE_GROUP else schema.groups[group].kind
        for column in feature_columns(schema, feature):
            if kind == "sample":
                values = flatten(one_array(raw[column])).values
            elif kind == "dictionary":
                values = one_array(dictionaries[group][column]).take(flatten(one_array(raw[f"{group}.inverse"])).values)
            elif kind == "session":
                stored = flatten(one_array(raw[column]))
                if group not in indexes:
                    inverse = flatten(one_array(raw[f"{group}.inverse"])).values.to_numpy()
                    indexes[group] = stored.offsets[unit_of_sample] + inverse
                values = stored.values.take(pa.array(indexes[group]))
            else:
                values = _windows(raw, group, column, unit_of_sample)
            found[column] = to_int64(values)
    order = [name for feature in schema.features for name in feature_columns(schema, feature)]
    return pa.table({**{name: found[name] for name in found if name not in order}, **{n: found[n] for n in order}})


def _canonical_keys(keys: pa.Table, schema: Schema, split: str) -> dict[str, pa.Array]:
    found: dict[str, pa.Array] = {}
    for name in ("request", "candidate", "position", "session", "user", "time"):
        if name in keys.column_names and (name not in ("session", "user") or getattr(schema.keys, name) is not None):
            found[name] = to_int64(one_array(keys[name]))
    if "session.made" in keys.column_names:
        session = found["session"]
        found["session"] = pc.if_else(one_array(keys["session.made"]), pa.scalar(None, session.type), session)
    found["split"] = pa.array([split]).take(pa.array(np.zeros(keys.num_rows, np.int64)))
    if "weight" in keys.column_names:
        found["weight"] = one_array(keys["weight"])
    return found


def _windows(raw: pa.Table, group: str, column: str, unit_of_sample: np.ndarray) -> pa.Array:
    """Every sample's window of its unit's merged list."""
    merged = flatten(one_array(raw[column]))
    start, length = flatten(one_array(raw[f"{group}.start"])), flatten(one_array(raw[f"{group}.length"]))
    inverse = flatten(one_array(raw[f"{group}.inverse"])).values.to_numpy()
    window = start.offsets[unit_of_sample] + inverse
    begin = merged.offsets[unit_of_sample] + start.values.to_numpy()[window]
    size = length.values.to_numpy()[window].astype(np.int64)
    null = size < 0
    size = np.where(null, 0, size)
    values = merged.values.take(pa.array(ranges(begin, size)))
    return list_array(offsets_of(size), values, null if null.any() else None)


def expand_rows_reference(
    raw: pa.Table, manifest: Manifest, dictionaries: Mapping[str, pa.Table], split: str
) -> list[dict[str, Any]]:
    """The slow twin of `expand_rows`: what each column of the format means, one sample at a time."""
    schema = manifest.log_schema
    looked_up = {group: table.to_pylist() for group, table in dictionaries.items()}
    rows = []
    for unit in raw.to_pylist():
        for b in range(unit["n"]):
            row: dict[str, Any] = {}
            for key in (*KEYS, "session.made"):
                if f"sample.{key}" in unit:
                    row[key] = unit[f"sample.{key}"][b]
                elif key in unit:
                    row[key] = unit[key]
            if row.pop("session.made", False):
                row["session"] = None
            if schema.keys.session is None:
                row.pop("session", None)
            row["split"] = split
            row |= {f"label.{label}": unit[f"label.{label}"][b] for label in schema.labels}
            for feature in schema.features:
                group = schema.group_of(feature)
                for column in feature_columns(schema, feature):
                    if group == SAMPLE_GROUP:
                        row[column] = unit[column][b]
                        continue
                    u = unit[f"{group}.inverse"][b]
                    if schema.groups[group].kind == "session":
                        row[column] = unit[column][u]
                    elif schema.groups[group].kind == "dictionary":
                        row[column] = looked_up[group][u][column]
                    elif unit[f"{group}.length"][u] < 0:
                        row[column] = None
                    else:
                        begin = unit[f"{group}.start"][u]
                        row[column] = unit[column][begin : begin + unit[f"{group}.length"][u]]
            rows.append(row)
    return rows
