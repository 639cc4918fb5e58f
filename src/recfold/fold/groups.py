"""Groups that the schema says, completed: side tables are dictionaries, a group without a kind is a session group."""

from recfold.spec import SAMPLE_GROUP, GroupSpec, InputError, Schema


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
