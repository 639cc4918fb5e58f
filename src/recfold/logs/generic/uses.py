"""What a schema reads from the files: keys, labels, features, outcomes, sides; and what it leaves to be inferred."""

import pyarrow as pa

from recfold.logs.generic.block import Columns
from recfold.logs.generic.column_type import ColumnType
from recfold.logs.generic.roles import Use
from recfold.spec import FeatureSpec, InputError, Schema, nearest
from recfold.spec.schema import Kind


def impression_uses(schema: Schema) -> tuple[Use, ...]:
    """The canonical columns of the impressions."""
    uses = []
    for name, column in schema.keys.columns().items():
        said = f"keys.{name}"
        if name == "time":
            uses.append(Use(name, column, "time", said, unit=schema.keys.time_unit))
        elif name == "split":
            uses.append(Use(name, column, "text", said))
        elif name in ("position", "weight"):
            uses.append(Use(name, column, "number", said, pa.int64() if name == "position" else pa.float32()))
        else:
            uses.append(Use(name, column, "key", said))
    for name, label in schema.labels.items():
        if label.column is not None:
            uses.append(Use(f"label.{name}", label.column, "number", f"labels.{name}", pa.float32()))
    return (*uses, *feature_uses(schema, None))


def feature_uses(schema: Schema, side: str | None) -> tuple[Use, ...]:
    """The feature columns of the impressions (None) or of a side table."""
    uses = []
    for name, feature in schema.features.items():
        if feature.side != side:
            continue
        uses.append(Use(f"feature.{name}", feature.column or name, feature.kind, f"features.{name}"))
        if feature.weights is not None:
            said = f"features.{name}.weights"
            uses.append(Use(f"feature.{name}.weights", feature.weights, "weights", said))
    return tuple(uses)


def outcome_uses(schema: Schema) -> tuple[Use, ...]:
    """The canonical columns of the outcomes log."""
    outcomes = schema.outcomes
    if outcomes is None:
        raise InputError("logs.outcomes names files, but there is no [outcomes] section", todo="say what is in them")
    uses = [Use("request", outcomes.request, "key", "outcomes.request")]
    if outcomes.candidate is not None:
        uses.append(Use("candidate", outcomes.candidate, "key", "outcomes.candidate"))
    if outcomes.event is not None:
        uses.append(Use("event", outcomes.event, "text", "outcomes.event"))
    if outcomes.value is not None:
        uses.append(Use("value", outcomes.value, "number", "outcomes.value", pa.float64()))
    if outcomes.time is not None:
        uses.append(Use("time", outcomes.time, "time", "outcomes.time", unit=outcomes.time_unit))
    return tuple(uses)


def only_event(schema: Schema) -> str | None:
    """The event of outcomes that have no event column; None where they have one.

    Raises:
        InputError: the labels are of several events.
    """
    if schema.outcomes is None or schema.outcomes.event is not None:
        return None
    events = sorted({label.event for label in schema.labels.values() if label.event is not None})
    if len(events) > 1:
        raise InputError(
            f"the outcomes have no event column, but the labels are of the events {', '.join(events)}",
            todo="name the column with outcomes.event",
        )
    return events[0] if events else "outcome"


def side_uses(schema: Schema, side: str) -> tuple[Use, ...]:
    """The canonical columns of a side table."""
    spec = schema.sides[side]
    uses = [Use("key", spec.column, "key", f"sides.{side}.column")]
    if spec.split is not None:
        uses.append(Use("split", spec.split, "text", f"sides.{side}.split"))
    return (*uses, *feature_uses(schema, side))


def check_present(uses: tuple[Use, ...], columns: Columns) -> None:
    """Check that every file has every column that is used.

    Raises:
        InputError: names the file, the column and the nearest one.
    """
    for file, names in columns.present.items():
        for use in uses:
            if use.column not in names:
                guess = nearest(use.column, names)
                raise InputError(
                    f"{file} has no column {use.column!r}, which {use.said} names",
                    got=f"columns {', '.join(sorted(names))}"[:300] if names else "no columns at all",
                    todo=f"did you mean {guess!r}?" if guess else None,
                )


def infer_features(schema: Schema, columns: Columns) -> tuple[Schema, tuple[str, ...]]:
    """Give every column of the impressions that is nowhere named a feature of the kind that its type suggests.

    Returns:
        the schema with these features, and a line for each such column.
    Raises:
        InputError: a column's name cannot be a feature's, or is one of another column, or `ignore` names no column.
    """
    for name in schema.ignore:
        if not any(name in names for names in columns.present.values()):
            guess = nearest(name, columns.types)
            todo = f"did you mean {guess!r}?" if guess else "leave it out"
            raise InputError(f"ignore names {name!r}, which is no column of the impressions", todo=todo)
    if not schema.infer:
        return schema, ()
    named = {use.column for use in impression_uses(schema)} | set(schema.ignore)
    features: dict[str, FeatureSpec] = {}
    lines = []
    for name, found in columns.types.items():
        if name in named:
            continue
        kind = inferred_kind(found)
        if kind is None:
            why = "it holds no values" if found.element == "null" else "no kind of feature holds this type"
            lines.append(f"column {name!r} ({found.shown}) is left out: {why}")
            continue
        _check_name(name, schema)
        features[name] = FeatureSpec(kind=kind)
        lines.append(f"column {name!r} ({found.shown}) -> feature {name!r} of kind {kind}")
    return schema.model_copy(update={"features": {**schema.features, **features}}), tuple(lines)


def inferred_kind(found: ColumnType) -> Kind | None:
    """The kind of feature that a type suggests; None where none does.

    >>> inferred_kind(ColumnType("integer")), inferred_kind(ColumnType("float32", is_list=True, width=8))
    ('id', 'vector')
    """
    if found.element in ("integer", "string", "huge", "mixed"):
        return "ids" if found.is_list else "id"
    if found.element in ("float32", "float64"):
        return ("vector" if found.width else "dense_sequence") if found.is_list else "dense"
    return None


def _check_name(name: str, schema: Schema) -> None:
    if not name or "." in name or "/" in name:
        raise InputError(
            f"column {name!r} cannot be a feature of that name",
            expected="no '.', no '/', not empty",
            todo=f"declare it under another name with column = {name!r}, or add it to ignore",
        )
    if name in schema.features:
        taken = schema.features[name]
        raise InputError(
            f"column {name!r} would be a feature of that name, but features.{name} reads "
            f"{taken.column or name!r}" + (f" of side table {taken.side!r}" if taken.side else ""),
            todo=f"declare it under another name with column = {name!r}, or add it to ignore",
        )
