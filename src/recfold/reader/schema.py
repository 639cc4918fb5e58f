"""Which schema a reader follows: the table's, with transforms and embedding tables from the user's."""

from recfold.spec import SAMPLE_GROUP, InputError, Schema, unknown
from recfold.spec.schema import FeatureSpec
from recfold.transform import check_transforms


def effective_schema(stored: Schema, override: Schema | None = None) -> Schema:
    """The schema of the batches: every id feature ends in rows of its table.

    Args:
        stored: the folded table's schema.
        override: its transforms, embedding tables and label weights replace the table's; features and labels that it
            leaves out are not read. How things are stored (group, type, width) always comes from the table.
    Raises:
        InputError: the override has a feature, group or label that the table has not, or says another kind or group;
            a transform that a feature's kind does not take; a feature without a stored type.
    """
    schema = stored if override is None else _overridden(stored, override)
    used = {schema.group_of(name) for name in schema.features}
    groups = {name: group for name, group in schema.groups.items() if name in used}
    for name, feature in schema.features.items():
        if feature.kind == "vector" and feature.width is None:
            raise InputError(f"the width of vector feature {name!r} is not known", todo="fold again")
    schema = schema.model_copy(update={"groups": groups}).with_default_hashes()
    check_transforms(schema)
    return schema


def _overridden(stored: Schema, override: Schema) -> Schema:
    for name, group in override.groups.items():
        if name not in stored.groups:
            raise unknown("group", name, stored.groups)
        _same(f"group {name!r}", "kind", group.kind, stored.groups[name].kind)
    for label in override.labels:
        if label not in stored.labels:
            raise unknown("label", label, stored.labels)
        for noun in ("event", "column", "use"):
            got, own_value = getattr(override.labels[label], noun), getattr(stored.labels[label], noun)
            _same(f"label {label!r}", noun, got, own_value)
    _same("the samples", "weight column", override.keys.weight, stored.keys.weight)
    features: dict[str, FeatureSpec] = {}
    for name, feature in override.features.items():
        if name not in stored.features:
            raise unknown("feature", name, stored.features)
        own = stored.features[name]
        _same(f"feature {name!r}", "kind", feature.kind, own.kind)
        if feature.group is not None:
            _same(f"feature {name!r}", "group", feature.group, own.group or SAMPLE_GROUP)
        for noun in ("column", "weights"):
            if getattr(feature, noun) is not None:
                _same(f"feature {name!r}", noun, getattr(feature, noun), getattr(own, noun))
        changes = {"transforms": feature.transforms, "table": feature.table}
        features[name] = own.model_copy(update=changes)
    labels = {
        name: label.model_copy(update={"weight": override.labels[name].weight})
        for name, label in stored.labels.items()
        if name in override.labels
    }
    # in the table's order, so that an override changes no order of features in a batch
    ordered = {name: features[name] for name in stored.features if name in features}
    return stored.model_copy(update={"features": ordered, "labels": labels, "tables": override.tables})


def _same(what: str, noun: str, got: str | None, expected: str | None) -> None:
    if got != expected:
        raise InputError(
            f"the schema gives {what} another {noun} than the table has",
            got=got,
            expected=expected,
            todo="fold again to change how it is stored",
        )
