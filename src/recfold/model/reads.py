"""How models read the id features of a schema."""

from recfold.spec import ReadMode, Schema, TableSpec

HISTORIES = ("sequence", "dense_sequence")
"""Kinds whose elements are in an order."""


def pooled_mode(schema: Schema, feature: str) -> ReadMode:
    """How an id feature is pooled: as its table says; a history by its mean, whatever the table says of bags."""
    if schema.features[feature].kind in HISTORIES:
        return "mean"
    return schema.tables.get(schema.table_of(feature), TableSpec()).pooling


def pooled_reads(schema: Schema) -> list[tuple[str, ReadMode]]:
    """Every id feature, pooled."""
    return [(name, pooled_mode(schema, name)) for name, feature in schema.features.items() if feature.is_id]


def history_reads(schema: Schema) -> list[tuple[str, ReadMode]]:
    """Histories row by row, every other id feature pooled."""
    reads: list[tuple[str, ReadMode]] = []
    for name, feature in schema.features.items():
        if feature.is_id:
            reads.append((name, "rows" if feature.kind in HISTORIES else pooled_mode(schema, name)))
    return reads


def no_reads(schema: Schema) -> list[tuple[str, ReadMode]]:
    """Nothing."""
    return []
