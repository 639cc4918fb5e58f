"""Shared nouns as frozen, validated values; every room speaks them and they know no room."""

from recfold.spec.errors import InputError, nearest, unknown
from recfold.spec.hashing import splitmix64, xxh64_strings
from recfold.spec.reads import Read, ReadMode
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
    "GroupSpec",
    "InputError",
    "LabelSpec",
    "Read",
    "ReadMode",
    "Schema",
    "Settings",
    "TableSpec",
    "apply_overrides",
    "load_schema",
    "nearest",
    "splitmix64",
    "unknown",
    "xxh64_strings",
]
