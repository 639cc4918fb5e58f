"""The schema that a run trains with: the table's, with the transforms and tables that the user or the run says."""

from collections.abc import Collection

from recfold.reader import effective_schema
from recfold.spec import InputError, Schema, unknown
from recfold.train.settings import TableDefaults


def run_schema(
    table: Schema, override: Schema | None, defaults: TableDefaults, without: Collection[str] = ()
) -> Schema:
    """The effective schema of a new run.

    Args:
        table: schema of the folded table.
        override: what `train --schema` gives: its transforms, tables and label weights replace the table's, and what it
            leaves out is not trained on.
        defaults: `dim`, where set, becomes that of every table.
        without: features that are left out besides.
    Returns:
        A schema in which every id feature ends in rows of its table, and every table has rows.
    Raises:
        InputError: the override does not fit the table, or a feature that is to be left out is not there.
    """
    schema = effective_schema(table, _without(override or table, without) if without else override)
    if defaults.dim is None:
        return schema
    tables = {name: spec.model_copy(update={"dim": defaults.dim}) for name, spec in schema.tables.items()}
    return schema.model_copy(update={"tables": tables})


def _without(schema: Schema, names: Collection[str]) -> Schema:
    for name in names:
        if name not in schema.features:
            raise unknown("feature", name, schema.features)
    features = {name: feature for name, feature in schema.features.items() if name not in names}
    if not features:
        raise InputError("model.without leaves no feature", got=", ".join(names), todo="leave fewer features out")
    return schema.model_copy(update={"features": features})


def schema_on(table: Schema, run: Schema) -> Schema:
    """A run's schema for reading a table: transforms and table sizes of the run, groups as that table stores them.

    Raises:
        InputError: the table lacks a feature or label of the run, or has it as another kind.
    """
    for name, feature in run.features.items():
        own = table.features.get(name)
        if own is not None and feature.is_id and "string" in (feature.type, own.type) and feature.type != own.type:
            raise InputError(
                f"the ids of feature {name!r} are of another type than those that the run was trained on",
                got=str(own.type),
                expected=str(feature.type),
                todo="fold the logs again with ids of that type",
            )
    free = {name: feature.model_copy(update={"group": None}) for name, feature in run.features.items()}
    return effective_schema(table, run.model_copy(update={"features": free, "groups": {}}))
