"""fill: a value for what is null or NaN."""

from dataclasses import replace

import numpy as np

from recfold.spec.transforms import Fill
from recfold.transform.lists import Lists
from recfold.transform.row import Row


def fill(lists: Lists, spec: Fill) -> Lists:
    """Replace null and NaN dense values by `spec.value`; nothing is null afterwards.

    Example:
        >>> fill(Lists.from_pylists([[None, float("nan"), 2.0]]), Fill(value=-1)).to_pylists()
        [[-1.0, -1.0, 2.0]]
    """
    known = ~np.isnan(lists.values)
    if lists.valid is not None:
        known &= lists.valid
    return replace(lists, values=np.where(known, lists.values, lists.values.dtype.type(spec.value)), valid=None)


def fill_reference(row: Row, spec: Fill) -> Row:
    """The slow twin of `fill` for one list."""
    return Row([spec.value if value is None or value != value else value for value in row.values], row.weights)
