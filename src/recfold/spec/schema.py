"""What the columns of a log are: features, groups, embedding tables, keys and labels.

A `Schema` is written by hand as `features.toml` (or made by an adapter), completed by the fold (kinds, groups, types
and table sizes that were not said), and kept in the manifest of the folded table.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from recfold.spec.errors import InputError, unknown
from recfold.spec.settings import Settings
from recfold.spec.transforms import Bucketize, Cross, Hash, Ngram, TransformSpec

Kind = Literal["id", "ids", "sequence", "dense", "dense_sequence", "vector"]
GroupKind = Literal["session", "window", "dictionary"]
TimeUnit = Literal["s", "ms", "us", "ns"]

ID_KINDS: tuple[Kind, ...] = ("id", "ids", "sequence")
LIST_KINDS: tuple[Kind, ...] = ("ids", "sequence", "dense_sequence")
SAMPLE_GROUP = "sample"
"""The name of no group: a feature of group 'sample' is stored once per sample."""


class FeatureSpec(Settings):
    """One model input.

    Args:
        kind: `id` one id · `ids` a bag of ids, pooled · `sequence` an ordered history of ids · `dense` one float ·
            `dense_sequence` an ordered history of floats · `vector` floats of one fixed width.
        column: column of the log; the feature's own name where not given.
        weights: column of per-id weights, aligned with the ids (`ids` and `sequence` only).
        transforms: applied in this order, once per distinct list.
        table: embedding table of an id feature; its own name where not given.
        group: group that stores it; 'sample' for once per sample; chosen by the fold where not given.
        side: side table that its column is in, instead of the impressions.
        type: Arrow type of an element as stored ("int32", "string", "float"); filled in by the fold.
        default: value in samples that were folded before the feature was added to the table; null where not given.
        width: floats in a `vector`; filled in by the fold.
        distinct: about how many distinct ids occur; filled in by the fold.
    """

    kind: Kind
    column: str | None = None
    weights: str | None = None
    transforms: tuple[TransformSpec, ...] = ()
    table: str | None = None
    group: str | None = None
    side: str | None = None
    type: str | None = None
    default: int | float | str | list[int] | list[float] | list[str] | None = None
    width: int | None = Field(default=None, gt=0)
    distinct: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> "FeatureSpec":
        if self.weights is not None and self.kind not in ("ids", "sequence"):
            raise ValueError(f"weights belong to ids and sequence features, not to {self.kind}")
        if self.table is not None and not self.is_id:
            raise ValueError(f"a table belongs to id features, not to {self.kind}; bucketize it first")
        if self.default is not None and self.weights is not None:
            raise ValueError("a weighted feature has no default: its weights would be missing")
        return self

    @property
    def is_id(self) -> bool:
        """Whether the model sees ids (after the transforms) and so looks up a table."""
        return self.kind in ID_KINDS or any(isinstance(t, Bucketize) for t in self.transforms)

    @property
    def is_list(self) -> bool:
        return self.kind in LIST_KINDS


class GroupSpec(Settings):
    """Features that share one `inverse`.

    Args:
        kind: `session` runs inside a session · `window` lists that are windows of one merged list · `dictionary` rows
            that repeat across sessions.
        key: what a dictionary group belongs to: `user` (kept in its partition) or `item` (one for the split).
        chosen: why the fold chose it, where it did; None for a group that the user wrote.
    """

    kind: GroupKind
    key: Literal["user", "item"] | None = None
    chosen: str | None = None

    @model_validator(mode="after")
    def _key_of_dictionary(self) -> "GroupSpec":
        if (self.kind == "dictionary") != (self.key is not None):
            raise ValueError("a dictionary group needs key = 'user' or 'item', and only a dictionary group has one")
        return self


class SideSpec(Settings):
    """A table with one row per user (or item, and split) that impressions refer to: its features are stored once.

    Args:
        files: glob below the logs' folder.
        key: `user` or `item`: which key of the impression it is looked up by.
        column: the key's column in the side table.
        split: column that says which split a row is for; without it a row serves every split.
    """

    files: str
    key: Literal["user", "item"]
    column: str
    split: str | None = None


class TableSpec(Settings):
    """An embedding table.

    Args:
        rows: number of rows; where not given: the distinct ids of its features rounded up to a power of two.
        dim: width of a row.
        pooling: of the `ids` features that read it.
        dtype: of the rows.
        init: rows start uniform in ±init; 1 / sqrt(rows) where not given.
        optimizer, learning_rate, eps, weight_decay, beta1, beta2: exact, one update per table and step; None takes the
            trainer's.
    """

    rows: int | None = Field(default=None, gt=0)
    dim: int = Field(default=16, gt=0)
    pooling: Literal["sum", "mean"] = "sum"
    dtype: Literal["float32", "float16", "bfloat16", "float64"] = "float32"
    init: float | None = Field(default=None, ge=0)
    optimizer: Literal["sgd", "adagrad", "rowwise_adagrad", "adam"] | None = None
    learning_rate: float | None = Field(default=None, gt=0)
    eps: float | None = Field(default=None, gt=0)
    weight_decay: float | None = Field(default=None, ge=0)
    beta1: float | None = Field(default=None, ge=0, lt=1)
    beta2: float | None = Field(default=None, ge=0, lt=1)


class KeySpec(Settings):
    """Which columns identify a sample.

    At least one of session and user. `time` may be an integer (then `time_unit` says of what since 1970), a timestamp
    or ISO text. `split` names a column that already says train or validation. `weight` is the sample's weight in the
    loss.
    """

    request: str
    candidate: str | None = None
    position: str | None = None
    session: str | None = None
    user: str | None = None
    time: str
    time_unit: TimeUnit = "us"
    split: str | None = None
    weight: str | None = None

    @model_validator(mode="after")
    def _someone(self) -> "KeySpec":
        if self.session is None and self.user is None:
            raise ValueError("a log needs a session or a user column, or both")
        return self

    def columns(self) -> dict[str, str]:
        """Canonical key -> the log's column, for the keys that the log has."""
        names = ("request", "candidate", "position", "session", "user", "time", "split", "weight")
        return {name: column for name in names if (column := getattr(self, name)) is not None}


class OutcomeSpec(Settings):
    """Columns of the outcomes log. Without `event` all outcomes are of one event; without `time` no window applies."""

    request: str
    candidate: str | None = None
    event: str | None = None
    value: str | None = None
    time: str | None = None
    time_unit: TimeUnit = "us"


class LabelSpec(Settings):
    """One label: from an event of the outcomes log, or a column of an already joined log.

    Args:
        event: label is 1 where such an outcome joined, else 0.
        column: label column of the impressions, instead of an event.
        use: `seen` (0 or 1) or `value` (the outcome's value; 0 where there is none).
        weight: its share in the loss.
    """

    event: str | None = None
    column: str | None = None
    use: Literal["seen", "value"] = "seen"
    weight: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _one_source(self) -> "LabelSpec":
        if (self.event is None) == (self.column is None):
            raise ValueError("a label comes from an event or from a column: give one of them")
        return self


class LogFiles(Settings):
    """Where the logs lie, as globs below the logs' folder, and how they are written."""

    impressions: str = "impressions*"
    outcomes: str | None = None
    format: Literal["parquet", "csv", "jsonl"] | None = None


class Schema(Settings):
    """Everything that `features.toml` says.

    `infer`: columns of the impressions that are nowhere named become features of the kind that their type suggests.
    """

    version: Literal[1] = 1
    logs: LogFiles = LogFiles()
    keys: KeySpec
    outcomes: OutcomeSpec | None = None
    labels: dict[str, LabelSpec] = Field(min_length=1)
    features: dict[str, FeatureSpec] = Field(default_factory=dict)
    groups: dict[str, GroupSpec] = Field(default_factory=dict)
    tables: dict[str, TableSpec] = Field(default_factory=dict)
    sides: dict[str, SideSpec] = Field(default_factory=dict)
    infer: bool = True
    ignore: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _references(self) -> "Schema":
        for name in (*self.features, *self.labels, *self.groups, *self.sides):
            if not name or "." in name or "/" in name:
                raise ValueError(f"the name {name!r} is not allowed: no '.', no '/', not empty")
        for name in (SAMPLE_GROUP,):
            if name in self.groups:
                raise ValueError(f"a group cannot be called {name!r}: that means stored once per sample")
        window = {name for name, group in self.groups.items() if group.kind == "window"}
        for name, feature in self.features.items():
            if feature.side is not None and feature.side not in self.sides:
                raise ValueError(str(unknown("side table", feature.side, self.sides)) + f" (feature {name!r})")
            if feature.group in window and feature.kind not in ("sequence", "dense_sequence", "ids"):
                raise ValueError(f"feature {name!r} of kind {feature.kind} cannot be in window group {feature.group!r}")
            for transform in feature.transforms:
                if isinstance(transform, Cross) and transform.other not in self.features:
                    raise ValueError(str(unknown("feature", transform.other, self.features)) + f" (cross in {name!r})")
        needs_outcomes = [name for name, label in self.labels.items() if label.event is not None]
        if needs_outcomes and self.outcomes is None:
            raise ValueError(f"label {needs_outcomes[0]!r} comes from an event, but there is no [outcomes] section")
        return self

    def group_of(self, feature: str) -> str:
        """Name of the group that stores a feature ('sample' where it is stored once per sample or not yet chosen)."""
        return self.features[feature].group or SAMPLE_GROUP

    def features_of(self, group: str) -> tuple[str, ...]:
        """Names of the features of a group (or of 'sample'), in schema order."""
        return tuple(name for name in self.features if self.group_of(name) == group)

    def table_of(self, feature: str) -> str:
        """Name of the embedding table that an id feature reads."""
        return self.features[feature].table or feature

    def table_features(self) -> dict[str, tuple[str, ...]]:
        """Embedding table -> the id features that read it, both in schema order."""
        found: dict[str, list[str]] = {}
        for name, feature in self.features.items():
            if feature.is_id:
                found.setdefault(self.table_of(name), []).append(name)
        return {table: tuple(names) for table, names in found.items()}

    def resolved_tables(self) -> dict[str, TableSpec]:
        """Every embedding table with its `rows` known.

        A declared size wins; else a `hash`, `cross`, `ngram` or `bucketize` transform of its features says it; else the
        distinct ids, rounded up to a power of two.

        Raises:
            InputError: two features of one table that are hashed to different sizes, or to more rows than it has.
        """
        resolved: dict[str, TableSpec] = {}
        for table, names in self.table_features().items():
            spec = self.tables.get(table, TableSpec())
            said = {size for name in names if (size := rows_after(self.features[name])) is not None}
            if spec.rows is None and len(said) > 1:
                raise InputError(
                    f"the features of table {table!r} are mapped to different numbers of rows",
                    got=", ".join(str(size) for size in sorted(said)),
                    todo=f"use one size, or set tables.{table}.rows",
                )
            if spec.rows is not None and said and max(said) > spec.rows:
                raise InputError(
                    f"table {table!r} has {spec.rows} rows, but a feature is mapped to {max(said)}",
                    todo="make the table as large, or hash to fewer rows",
                )
            distinct = sum(self.features[name].distinct or 1 for name in names)
            rows = spec.rows or (said.pop() if said else power_of_two(distinct))
            resolved[table] = spec.model_copy(update={"rows": rows})
        return resolved

    def with_default_hashes(self) -> "Schema":
        """A copy in which every id feature ends in rows of its table: a `hash` is added where no transform does so."""
        tables = self.resolved_tables()
        features = {
            name: feature.model_copy(
                update={"transforms": (*feature.transforms, Hash(rows=tables[self.table_of(name)].rows or 1))}
            )
            if feature.is_id and rows_after(feature) is None
            else feature
            for name, feature in self.features.items()
        }
        return self.model_copy(update={"features": features, "tables": tables})


def rows_after(feature: FeatureSpec) -> int | None:
    """Number of rows that a feature's last id-making transform maps to; None where nothing maps it yet."""
    rows: int | None = None
    for transform in feature.transforms:
        if isinstance(transform, Hash | Cross | Ngram):
            rows = transform.rows
        elif isinstance(transform, Bucketize):
            rows = len(transform.borders) + 2
    return rows


def power_of_two(count: int) -> int:
    """The smallest power of two >= count (and >= 1).

    >>> [power_of_two(n) for n in (0, 1, 5, 1024, 1025)]
    [1, 1, 8, 1024, 2048]
    """
    return 1 << max(count - 1, 0).bit_length()


def load_schema(path: Path) -> Schema:
    """Read a `features.toml`.

    Raises:
        InputError: no such file, not TOML, or a wrong key or value (one line that names the file and the key).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read schema {path}", got=str(error)) from None
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML", got=str(error)) from None
    return Schema.parse(data, str(path))


KINDS: tuple[str, ...] = get_args(Kind)
