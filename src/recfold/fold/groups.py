"""Which features are stored together: what the user says is used as it is, the rest by how often values change."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from recfold.fold.bits import bits_of, changed
from recfold.fold.partition import UNIT
from recfold.spec import SAMPLE_GROUP, FeatureSpec, GroupSpec, InputError, Schema
from recfold.table.expand import feature_columns
from recfold.table.lists import one_array

MIN_DEDUP_FACTOR = 1.25
"""Below it a feature is stored once per sample: an inverse and a gather would cost about what they save."""
_SLACK = 1.05
"""A feature joins a group if neither then stores more than 5 % more lists."""


def declared_groups(schema: Schema) -> Schema:
    """The schema with a group for every side feature and a kind for every group that a feature names.

    Raises:
        InputError: a side feature in a group that is no dictionary of that side table alone, or a name that is not
            allowed.
    """
    features = dict(schema.features)
    groups = dict(schema.groups)
    for name, feature in schema.features.items():
        if feature.side is not None and feature.group is None:
            features[name] = feature.model_copy(update={"group": feature.side})
            key = schema.sides[feature.side].key
            groups.setdefault(feature.side, GroupSpec(kind="dictionary", key=key, chosen="one row per side table row"))
        elif feature.group is not None and feature.group != SAMPLE_GROUP:
            why = "its features name it and say no kind"
            groups.setdefault(feature.group, GroupSpec(kind="session", chosen=why))
    found = schema.model_copy(update={"features": features, "groups": groups})
    used = {name: spec for name, spec in groups.items() if found.features_of(name)}
    found = found.model_copy(update={"groups": used})
    for name, spec in used.items():
        if name.startswith("part-") or name in ("feature", "label"):
            raise InputError(f"a group cannot be called {name!r}: files and columns have such names", todo="rename it")
        _check_sides(found, name, spec)
    for name in found.features_of(SAMPLE_GROUP):
        if found.features[name].side is not None:
            raise InputError(f"side feature {name!r} cannot be stored per sample", todo="leave its group out")
    return found


def _check_sides(schema: Schema, group: str, spec: GroupSpec) -> None:
    sides = {schema.features[name].side for name in schema.features_of(group)}
    if sides == {None}:
        return
    if len(sides) > 1:
        raise InputError(
            f"group {group!r} mixes features of {len(sides)} tables",
            expected="all of one side table, or none",
            todo="split the group",
        )
    (side,) = sides
    assert side is not None
    if spec.kind != "dictionary" or spec.key != schema.sides[side].key:
        raise InputError(
            f"group {group!r} holds features of side table {side!r}",
            got=f"kind {spec.kind!r}, key {spec.key!r}",
            expected=f"kind 'dictionary', key {schema.sides[side].key!r}",
        )


@dataclass
class _Candidate:
    features: list[str]
    change: np.ndarray  # which samples start a run [B]

    @property
    def lists(self) -> int:
        return int(self.change.sum())


def choose_groups(schema: Schema, sample: pa.Table) -> Schema:
    """Group the features that have no group, by how they change in some whole units.

    Features whose values change at the same samples share a session group; with S samples per unit and a chance p that
    a feature changes at the next sample its dedup factor is S / (1 + (S - 1) p); a feature that would not reach
    MIN_DEDUP_FACTOR is stored per sample.

    Args:
        sample: sorted samples of whole units, with `unit`.
    Source: RecD (Zhao et al., MLSys 2023).
    """
    open_features = {name: f for name, f in schema.features.items() if f.group is None}
    if not open_features:
        return schema
    unit = one_array(sample[UNIT]).to_numpy()
    begins = np.ones(len(unit), bool)
    begins[1:] = unit[1:] != unit[:-1]
    num_samples, num_units = len(unit), int(begins.sum())
    candidates: list[_Candidate] = []
    features: dict[str, FeatureSpec] = {}
    for name, feature in open_features.items():
        change = begins.copy()
        for column in feature_columns(schema, name):
            change |= changed(bits_of(one_array(sample[column])))
        if num_samples < MIN_DEDUP_FACTOR * change.sum():
            features[name] = feature.model_copy(update={"group": SAMPLE_GROUP})
            continue
        for candidate in candidates:
            together = int((candidate.change | change).sum())
            if together <= _SLACK * min(candidate.lists, int(change.sum())):
                candidate.features.append(name)
                candidate.change |= change
                break
        else:
            candidates.append(_Candidate([name], change))
    groups = dict(schema.groups)
    for candidate in candidates:
        group = _free_name(groups)
        groups[group] = _explained(candidate, num_samples, num_units)
        for name in candidate.features:
            features[name] = schema.features[name].model_copy(update={"group": group})
    return schema.model_copy(update={"features": {**schema.features, **features}, "groups": groups})


def _explained(candidate: _Candidate, num_samples: int, num_units: int) -> GroupSpec:
    pairs = num_samples - num_units
    p = (candidate.lists - num_units) / pairs if pairs else 0.0
    per_unit = num_samples / num_units
    factor = per_unit / (1 + (per_unit - 1) * p)
    reason = "changes together" if len(candidate.features) > 1 else "repeats"
    measured = f"p = {p:.3f}, S = {per_unit:.1f} on {num_samples} samples"
    return GroupSpec(kind="session", chosen=f"{reason}: {measured}, expected dedup factor {factor:.2f}")


def _free_name(groups: Mapping[str, GroupSpec]) -> str:
    number = 0
    while f"session_{number}" in groups:
        number += 1
    return f"session_{number}"
