"""Shared nouns as frozen, validated values; every room speaks them and they know no room."""

from recfold.spec.control_groups import control_group_free_bytes
from recfold.spec.errors import InputError, nearest, unknown
from recfold.spec.hashing import splitmix64, xxh64_strings
from recfold.spec.machine import cpu_model, last_level_cache_bytes, num_cpus
from recfold.spec.plan import (
    Placement,
    Plan,
    Shard,
    Topology,
    column_wise,
    replicated,
    row_wise,
    table_wise,
    twcw,
    twrw,
)
from recfold.spec.reads import FieldSum, Operator, Read, ReadMode
from recfold.spec.schema import (
    SAMPLE_GROUP,
    FeatureSpec,
    GroupSpec,
    LabelSpec,
    Schema,
    TableSpec,
    load_schema,
)
from recfold.spec.settings import Settings, apply_overrides

__all__ = [
    "SAMPLE_GROUP",
    "FeatureSpec",
    "FieldSum",
    "GroupSpec",
    "InputError",
    "LabelSpec",
    "Operator",
    "Placement",
    "Plan",
    "Read",
    "ReadMode",
    "Schema",
    "Settings",
    "Shard",
    "TableSpec",
    "Topology",
    "apply_overrides",
    "column_wise",
    "control_group_free_bytes",
    "cpu_model",
    "last_level_cache_bytes",
    "load_schema",
    "nearest",
    "num_cpus",
    "replicated",
    "row_wise",
    "splitmix64",
    "table_wise",
    "twcw",
    "twrw",
    "unknown",
    "xxh64_strings",
]
