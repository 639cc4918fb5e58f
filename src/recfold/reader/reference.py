"""The slow, obvious twin of the reader: every sample as a plain Python row."""

from typing import Any

import numpy as np

from recfold.reader.dealing import Deal, deal_reference
from recfold.reader.order import course_reference, load_units
from recfold.reader.schema import effective_schema
from recfold.reader.settings import ReaderSettings
from recfold.spec import Schema, xxh64_strings
from recfold.table import FoldedTable, sample_keys
from recfold.transform import NULL_ID, Row, apply_reference, check_transforms

_KEYS = ("request", "candidate", "position", "session", "user", "time")


def read_reference(
    table: FoldedTable,
    split: str = "train",
    settings: ReaderSettings = ReaderSettings(),  # noqa: B008 (frozen)
    *,
    schema: Schema | None = None,
    epoch: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> list[list[dict[str, Any]]]:
    """The batches of one epoch and rank, sample by sample from the expanded table.

    Returns:
        for every batch its samples: `key.<name>`, `label.<name>`, `weight` (where there are) and each feature's name: a
        `Row` of ids, or of floats.
    """
    effective = effective_schema(table.schema, schema)
    units = _expanded_units(table, split, effective)
    order = course_reference(load_units(table, split), settings.order, settings.seed, epoch, settings.shuffle_window)
    counts = [len(units[u]) for u in order]
    steps = -(-sum(counts) // settings.batch_size)
    deal = Deal(world_size, settings.batch_size, steps)
    batches, _ = deal_reference(counts, [deal], settings.block_samples)
    mine = [batch[rank] for batch in batches if batch[rank]]
    return [[units[order[unit]][sample] for unit, sample in batch] for batch in mine]


def _expanded_units(table: FoldedTable, split: str, schema: Schema) -> list[list[dict[str, Any]]]:
    """The samples of every unit, in the order of the files."""
    units = []
    for part in table.parts(split):
        expanded = part.expand(table.manifest)
        for number, canonical in enumerate(expanded):
            raw = part.row_group(number)
            keys, rows = sample_keys(raw).to_pylist(), canonical.to_pylist()
            begin = 0
            for count in raw["n"].to_pylist():
                samples = range(begin, begin + count)
                units.append([_sample(keys[b], rows[b], schema) for b in samples])
                begin += count
    return units


def _sample(keys: dict[str, Any], row: dict[str, Any], schema: Schema) -> dict[str, Any]:
    found: dict[str, Any] = {f"key.{name}": _key(keys[name]) for name in _KEYS if name in keys}
    for label in schema.labels:
        value = keys[f"label.{label}"]
        found[f"label.{label}"] = float("nan") if value is None else value
    if "weight" in keys:
        found["weight"] = 1.0 if keys["weight"] is None else keys["weight"]
    stored = {name: _row(name, row, schema) for name in schema.features}
    kinds = check_transforms(schema)
    for name, feature in schema.features.items():
        done = apply_reference(stored[name], feature.transforms, stored)
        if kinds[name] in ("dense", "vector", "dense_sequence"):
            done = Row([float(np.float32(0 if value is None else value)) for value in done.values])
        found[name] = done
    return found


def _row(name: str, row: dict[str, Any], schema: Schema) -> Row:
    feature, value = schema.features[name], row[f"feature.{name}"]
    if feature.kind in ("id", "dense"):
        return Row([value])
    if feature.kind == "vector":
        return Row([None] * (feature.width or 0) if value is None else value)
    if feature.weights is None:
        return Row(value or [])
    weights = row[f"feature.{name}.weights"] or [1.0] * len(value or [])
    return Row(value or [], [1.0 if weight is None else weight for weight in weights])


def _key(value: int | str | None) -> int:
    if value is None:
        return NULL_ID
    return int(xxh64_strings([value]).view(np.int64)[0]) if isinstance(value, str) else value
