"""The folded table format: write it, open it, verify it, read its columns, expand it (see docs/FORMAT.md)."""

from recfold.table.expand import sample_keys
from recfold.table.folded import FoldedTable, Part, open_table
from recfold.table.inspect import FeatureInspection, GroupInspection, Inspection, inspect
from recfold.table.manifest import Accounting, Manifest
from recfold.table.plain import expand

__all__ = [
    "Accounting",
    "FeatureInspection",
    "FoldedTable",
    "GroupInspection",
    "Inspection",
    "Manifest",
    "Part",
    "expand",
    "inspect",
    "open_table",
    "sample_keys",
]
