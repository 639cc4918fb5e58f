"""What a folded table holds and what folding it saved, as typed values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recfold.spec import SAMPLE_GROUP
from recfold.table.expand import feature_columns
from recfold.table.explain import explain
from recfold.table.files import Progress
from recfold.table.folded import FoldedTable, open_table
from recfold.table.manifest import Accounting, Form, Weighed


@dataclass(frozen=True)
class FeatureInspection:
    """One feature over all splits.

    Attributes:
        kind, group, type: as in the schema; group is 'sample' where it is stored per sample.
        lists: distinct lists stored; dedup_factor: samples per distinct list.
        values: elements stored; expanded_values: elements if every sample had its own copy.
        distinct: about how many distinct ids occur; None for features without ids.
        bytes: compressed on disk; raw_bytes: about what the expanded values take in memory.
        encodings: column -> how Parquet holds its elements: dictionary, plain or byte-stream-split; several, with a
            plus, where files differ.
        chosen: why the fold stores it per sample; None for a feature of a group, or where the user wrote it.
        explained: of a feature that is stored per sample: what that takes, and what other forms would.
    """

    name: str
    kind: str
    group: str
    type: str
    lists: int
    dedup_factor: float
    values: int
    expanded_values: int
    distinct: int | None
    bytes: int
    raw_bytes: int
    encodings: dict[str, str] = field(default_factory=dict)
    chosen: str | None = None
    explained: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroupInspection:
    """One group over all splits.

    Attributes:
        kind: session, window, dictionary (user), dictionary (item) or sample.
        lists: distinct lists stored; dedup_factor: samples per distinct list.
        bytes: compressed, inverse and features.
        chosen: why the fold chose it; None where the user wrote it.
        explained: what it takes, and what other forms would; empty where there is no other.
        encodings: of its index columns, as those of a feature.
        forms: what it was weighed against, the stored form first.
    """

    name: str
    kind: str
    features: tuple[str, ...]
    lists: int
    dedup_factor: float
    bytes: int
    chosen: str | None
    explained: tuple[str, ...] = ()
    encodings: dict[str, str] = field(default_factory=dict)
    forms: tuple[Form, ...] = ()


@dataclass(frozen=True)
class SplitInspection:
    name: str
    samples: int
    units: int
    parts: int
    bytes: int


@dataclass(frozen=True)
class Inspection:
    """What `recfold inspect` prints.

    Attributes:
        bytes: all files of all splits, quarantine excluded; raw_bytes: about what the expanded features take.
        verified: whether every checksum was compared.
        encodings: of every column, keys and labels included, as those of a feature; empty where not asked for.
    """

    path: Path
    description: str
    fold_by: str
    samples: int
    splits: tuple[SplitInspection, ...]
    features: tuple[FeatureInspection, ...]
    groups: tuple[GroupInspection, ...]
    accounting: Accounting
    bytes: int
    raw_bytes: int
    inferred: tuple[str, ...]
    verified: bool
    encodings: dict[str, str] = field(default_factory=dict)


def inspect(
    table: FoldedTable | Path | str,
    *,
    verify: bool = False,
    encodings: bool = False,
    progress: Progress | None = None,
) -> Inspection:
    """Describe a folded table from its manifest.

    Args:
        verify: also read every file and compare its checksum.
        encodings: also read the footer of every file, which says how columns are encoded.
    Raises:
        InputError: no such table, or (with `verify` or `encodings`) a damaged file.
    """
    opened = table if isinstance(table, FoldedTable) else open_table(table)
    if verify:
        opened.verify(progress)
    manifest = opened.manifest
    samples = sum(entry.samples for entry in manifest.splits.values())
    held = opened.encodings() if encodings else {}
    features = tuple(_feature(opened, name, samples, held) for name in opened.schema.features)
    splits = tuple(_split(opened, name) for name in opened.splits())
    return Inspection(
        path=opened.path,
        description=manifest.description,
        fold_by=manifest.fold_by,
        samples=samples,
        splits=splits,
        features=features,
        groups=tuple(_group(opened, name, samples, held) for name in (*opened.schema.groups, SAMPLE_GROUP)),
        accounting=manifest.accounting,
        bytes=sum(split.bytes for split in splits),
        raw_bytes=sum(feature.raw_bytes for feature in features),
        inferred=manifest.inferred,
        verified=verify,
        encodings=held,
    )


def _feature(table: FoldedTable, name: str, samples: int, encodings: Mapping[str, str]) -> FeatureInspection:
    spec = table.schema.features[name]
    weighed = _weighed(table, SAMPLE_GROUP, name)
    stats = table.manifest.features[name].values()
    lists = sum(entry.lists for entry in stats)
    return FeatureInspection(
        name=name,
        kind=spec.kind,
        group=table.schema.group_of(name),
        type=spec.type or "",
        lists=lists,
        dedup_factor=samples / max(lists, 1),
        values=sum(entry.values for entry in stats),
        expanded_values=sum(entry.expanded_values for entry in stats),
        distinct=spec.distinct,
        bytes=sum(entry.bytes for entry in stats),
        raw_bytes=sum(entry.expanded_values * entry.value_bytes // max(entry.values, 1) for entry in stats),
        encodings={c: encodings[c] for c in feature_columns(table.schema, name) if c in encodings},
        chosen=weighed.chosen if weighed is not None else None,
        explained=explain(weighed) if weighed is not None else (),
    )


def _weighed(table: FoldedTable, group: str, feature: str) -> Weighed | None:
    """What the group of a feature was weighed against."""
    return next((w for w in table.manifest.weighed if w.group == group and feature in w.features), None)


def _group(table: FoldedTable, name: str, samples: int, encodings: Mapping[str, str]) -> GroupInspection:
    features = table.schema.features_of(name)
    stored = sum(entry.bytes for feature in features for entry in table.manifest.features[feature].values())
    if name == SAMPLE_GROUP:
        return GroupInspection(name, name, features, samples, 1.0, stored, None)
    spec = table.schema.groups[name]
    stats = table.manifest.groups[name].values()
    weighed = _weighed(table, name, features[0])
    lists = sum(entry.lists for entry in stats)
    return GroupInspection(
        name=name,
        kind=spec.kind if spec.key is None else f"{spec.kind} ({spec.key})",
        features=features,
        lists=lists,
        dedup_factor=samples / max(lists, 1),
        bytes=stored + sum(entry.index_bytes for entry in stats),
        chosen=spec.chosen,
        explained=explain(weighed) if weighed is not None else (),
        encodings={
            column: encodings[column]
            for column in (f"{name}.inverse", f"{name}.start", f"{name}.length")
            if column in encodings
        },
        forms=weighed.forms if weighed is not None else (),
    )


def _split(table: FoldedTable, name: str) -> SplitInspection:
    entry = table.manifest.splits[name]
    files = [file for part in entry.parts for file in (part.file, *part.dictionaries.values())]
    shared = [file for entries in entry.dictionaries.values() for file in entries]
    shared += [] if entry.codes is None else [entry.codes]
    total = sum(file.bytes for file in (*files, *shared))
    return SplitInspection(name, entry.samples, entry.units, len(entry.parts), total)
