"""Logs added to a folded table: what may differ from day to day, and one manifest for all days."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from recfold.fold.columns import Extent, element_type, wider
from recfold.fold.finish import SKETCHES
from recfold.fold.settings import FoldSettings
from recfold.spec import FeatureSpec, InputError, Schema
from recfold.table import FoldedTable
from recfold.table.conform import type_of_text, type_text
from recfold.table.expand import feature_columns
from recfold.table.manifest import Accounting, Appended, FeatureStats, GroupStats, Manifest, SplitEntry

KEPT = ("fold_by", "session_gap_minutes", "row_group_samples")
"""Settings that every day has in common."""
_PER_SAMPLE_KEYS = ("session", "session.made", "user")
_GIVEN = ("column", "weights", "transforms", "table", "side")
"""What the logs say of a feature, besides its kind and group."""


def append_settings(before: Manifest, settings: FoldSettings) -> FoldSettings:
    """The settings of a day: those of the table where all days must have the same.

    Raises:
        InputError: one of these is given and differs.
    """
    own = {name: before.settings[name] for name in KEPT if name in before.settings}
    for name, value in own.items():
        given = getattr(settings, name)
        if name in settings.model_fields_set and given != value:
            raise InputError(
                f"the table was folded with another {name}", got=repr(given), expected=repr(value), todo="leave it out"
            )
    return settings.model_copy(update=own)


def appended_schema(table: Schema, logs: Schema) -> Schema:
    """The schema of the table and of a day's logs together: groups as the table has them, new features at the end.

    Raises:
        InputError: anything else differs.
    """
    _same("the keys", list(logs.keys.columns()), list(table.keys.columns()))
    _same("the labels", *({name: spec.model_dump() for name, spec in s.labels.items()} for s in (logs, table)))
    features: dict[str, FeatureSpec] = {}
    for name, known in table.features.items():
        if name not in logs.features:
            raise InputError(
                f"the table has feature {name!r}, but the logs have not",
                got=", ".join(logs.features)[:200],
                todo="give the logs such a column (it may be null throughout) and name it in features.toml",
            )
        new = logs.features[name]
        _same(f"feature {name!r}", _said(new), _said(known))
        if new.group is not None:
            _same(f"the group of feature {name!r}", new.group, known.group)
        features[name] = known
    added = {name: feature for name, feature in logs.features.items() if name not in table.features}
    groups = dict(table.groups)
    for group, spec in logs.groups.items():
        if group in groups:
            _same(f"group {group!r}", (spec.kind, spec.key), (groups[group].kind, groups[group].key))
        groups.setdefault(group, spec)
    for name, feature in added.items():
        if feature.group in table.groups and table.groups[feature.group].kind == "window":
            raise InputError(
                f"new feature {name!r} cannot join window group {feature.group!r}: its merged lists are there already",
                todo="give it a group of its own",
            )
        _check_default(name, feature)
    return logs.model_copy(
        update={"features": {**features, **added}, "groups": groups, "tables": {**logs.tables, **table.tables}}
    )


def _said(feature: FeatureSpec) -> dict[str, Any]:
    return {"kind": feature.kind, **{noun: getattr(feature, noun) for noun in _GIVEN}}


def _same(what: str, got: Any, expected: Any) -> None:
    if got != expected:
        if isinstance(got, dict) and isinstance(expected, dict):
            names = [name for name in {**expected, **got} if got.get(name) != expected.get(name)]
            got, expected = ({name: found.get(name) for name in names} for found in (got, expected))
        raise InputError(
            f"{what} of the logs and of the table differ",
            got=str(got),
            expected=str(expected),
            todo="make them the same, or fold these logs into a table of their own",
        )


def check_defaults(schema: Schema) -> None:
    """Raises:
    InputError: a default is of another type than the feature.
    """
    for name, feature in schema.features.items():
        if feature.default is None or feature.type is None:
            continue
        type = pa.type_for_alias(feature.type)
        try:
            pa.array(feature.default if isinstance(feature.default, list) else [feature.default], type)
        except (pa.ArrowException, OverflowError, TypeError):
            raise InputError(
                f"the default of feature {name!r} is of another type than its values",
                got=repr(feature.default),
                expected=feature.type,
            ) from None


def _check_default(name: str, feature: FeatureSpec) -> None:
    if feature.default is not None and isinstance(feature.default, list) != (
        feature.is_list or feature.kind == "vector"
    ):
        raise InputError(
            f"the default of feature {name!r} does not fit its kind",
            got=repr(feature.default),
            expected="a list" if feature.is_list else "one value",
        )


def known_extents(table: FoldedTable) -> dict[str, Extent]:
    """Canonical column -> what it holds in the table, so that the types of a day start from there."""
    schema = table.schema
    found: dict[str, Extent] = {}
    for name, feature in schema.features.items():
        assert feature.type is not None
        column, *weights = feature_columns(schema, name)
        is_list = feature.is_list or feature.kind == "vector"
        # of a feature that was null in every sample so far nothing is known
        nothing = feature.distinct == 0 or (not feature.is_id and feature.type == "int8")
        found[column] = Extent(pa.int8(), is_list) if nothing else _extent(pa.type_for_alias(feature.type), is_list)
        found |= {each: Extent(pa.float32(), True) for each in weights}
    for name, type in stored_columns(table).items():
        key = name.removeprefix("sample.")
        if not name.startswith(("feature.", "label.")) and key in (
            "request",
            "candidate",
            "position",
            "session",
            "user",
        ):
            found[key] = _extent(element_type(type), False)
    if schema.keys.session is None:
        found.pop("session", None)  # those of the table are made up
    return found


def _extent(type: pa.DataType, is_list: bool) -> Extent:
    if not pa.types.is_integer(type):
        return Extent(type, is_list)
    limit = 1 << (type.bit_width - 1)
    return Extent(pa.int64(), is_list, -limit, limit - 1)


def stored_columns(table: FoldedTable) -> dict[str, pa.DataType]:
    """Name -> type of the columns of every part."""
    manifest = table.manifest
    if manifest.columns:
        return {name: type_of_text(text) for name, text in manifest.columns.items()}
    return table.parts(table.splits()[0])[0].types()


def appended_manifest(table: FoldedTable, day: Manifest, columns: Mapping[str, pa.DataType]) -> Manifest:
    """The manifest of all days.

    Args:
        day: of the new parts alone, whose files have names that the table does not use yet; its schema is the table's
            with the day's additions. columns: of its parts.
    """
    before = table.manifest
    together = _columns_together(stored_columns(table), columns)
    record = Appended(
        description=day.description,
        digest=day.digest,
        cut=day.cut,
        samples={split: entry.samples for split, entry in day.splits.items()},
        changes=_changes(before.log_schema, day.log_schema),
    )
    names = [*before.splits, *(split for split in day.splits if split not in before.splits)]
    splits = {split: _split(before.splits.get(split), day.splits.get(split)) for split in sorted(names)}
    return before.model_copy(
        update={
            "format_version": day.format_version,
            "log_schema": day.log_schema,
            "recfold_version": day.recfold_version,
            "inferred": tuple(dict.fromkeys((*before.inferred, *day.inferred))),
            "splits": splits,
            "features": _stats(before.features, day.features, _feature),
            "groups": _stats(before.groups, day.groups, _group),
            "weighed": day.weighed,
            "quarantine": (*before.quarantine, *day.quarantine),
            "sketches": day.sketches,
            "columns": {name: type_text(type) for name, type in together.items()},
            "appended": (*before.appended, record),
            "accounting": _accounting(before.accounting, day.accounting),
        }
    )


def _columns_together(a: Mapping[str, pa.DataType], b: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
    """A key is per sample if it is so anywhere; types as wide as the widest."""
    found: dict[str, pa.DataType] = {}
    for columns in (a, b):
        for name, type in columns.items():
            if f"sample.{name}" in a or f"sample.{name}" in b:
                name, type = f"sample.{name}", pa.list_(type)
            found[name] = wider(found[name], type) if name in found else type
    return found


def _changes(before: Schema, now: Schema) -> tuple[str, ...]:
    lines = []
    for name, feature in now.features.items():
        if name not in before.features:
            default = "null" if feature.default is None else repr(feature.default)
            lines.append(f"new feature {name!r} in group {now.group_of(name)!r}: {default} in the samples before")
        elif feature.type != before.features[name].type:
            lines.append(f"feature {name!r}: {before.features[name].type} -> {feature.type}")
    return tuple(lines)


def _split(a: SplitEntry | None, b: SplitEntry | None) -> SplitEntry:
    if a is None or b is None:
        found = a or b
        assert found is not None
        return found
    groups = dict.fromkeys((*a.distinct, *b.distinct))
    shared = dict.fromkeys((*a.dictionaries, *b.dictionaries))
    return SplitEntry(
        samples=a.samples + b.samples,
        units=a.units + b.units,
        parts=(*a.parts, *b.parts),
        dictionaries={group: (*a.dictionaries.get(group, ()), *b.dictionaries.get(group, ())) for group in shared},
        distinct={group: a.distinct.get(group, 0) + b.distinct.get(group, 0) for group in groups},
        codes=a.codes,
    )


def _feature(a: FeatureStats, b: FeatureStats) -> FeatureStats:
    return FeatureStats(**{name: getattr(a, name) + getattr(b, name) for name in FeatureStats.model_fields})


def _group(a: GroupStats, b: GroupStats) -> GroupStats:
    return GroupStats(**{name: getattr(a, name) + getattr(b, name) for name in GroupStats.model_fields})


def _stats(a: Mapping[str, Mapping[str, Any]], b: Mapping[str, Mapping[str, Any]], add: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in {**a, **b}:
        of_a, of_b = a.get(name, {}), b.get(name, {})
        found[name] = {
            split: add(of_a[split], of_b[split]) if split in of_a and split in of_b else {**of_a, **of_b}[split]
            for split in sorted({**of_a, **of_b})
        }
    return found


def _accounting(a: Accounting, b: Accounting) -> Accounting:
    def sums(name: str) -> dict[str, int]:
        return dict(sorted((Counter(getattr(a, name)) + Counter(getattr(b, name))).items()))

    found = Accounting(
        candidate_rows_in=a.candidate_rows_in + b.candidate_rows_in,
        samples=sums("samples"),
        quarantined_candidates=sums("quarantined_candidates"),
        outcomes_in=a.outcomes_in + b.outcomes_in,
        joined=a.joined + b.joined,
        quarantined_outcomes=sums("quarantined_outcomes"),
        quarantined_sides=sums("quarantined_sides"),
    )
    found.check()
    return found


def strays(table: FoldedTable) -> list[Path]:
    """Files that a killed append left: named as those of a table, but not in its manifest."""
    named = {entry.path for entry in table.manifest.files()}
    folders = [table.path / split for split in ("train", "validation")]
    found = [path for folder in (*folders, table.path / "quarantine") for path in folder.glob("*-?????*.parquet")]
    found += table.path.glob(f"{SKETCHES}*.safetensors")
    return [path for path in sorted(found) if path.relative_to(table.path).as_posix() not in named]
