"""Feature transforms, run once per distinct list: pure functions from `Lists` to `Lists`."""

from recfold.transform.apply import TRANSFORMS, apply, apply_reference, check_transforms
from recfold.transform.hash import NULL_ID, string_hashes
from recfold.transform.lists import Lists, adjoining, buffer_of, spans, windows_of
from recfold.transform.row import Row

__all__ = [
    "NULL_ID",
    "TRANSFORMS",
    "Lists",
    "Row",
    "adjoining",
    "apply",
    "apply_reference",
    "buffer_of",
    "check_transforms",
    "spans",
    "string_hashes",
    "windows_of",
]
