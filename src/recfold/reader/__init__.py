"""Folded table to batches: exact batch size, order, rank split, prefetch, resume; runs the transforms."""

from recfold.reader.reader import Reader
from recfold.reader.reference import read_reference
from recfold.reader.schema import effective_schema
from recfold.reader.settings import ReaderSettings

__all__ = ["Reader", "ReaderSettings", "effective_schema", "read_reference"]
