"""bucketize: dense values to ids."""

from dataclasses import replace

import numpy as np

from recfold.spec.transforms import Bucketize
from recfold.transform.lists import Lists
from recfold.transform.row import Row


def bucketize(lists: Lists, spec: Bucketize) -> Lists:
    """The number of borders that are <= x; null and NaN get `len(borders) + 1`. The result is ids, none of them null.

    Example:
        >>> bucketize(Lists.from_pylists([[-1.0, 0.0, 5.0, None]]), Bucketize(borders=(0, 1))).to_pylists()
        [[0, 1, 2, 3]]
    """
    values = lists.values.astype(np.float64, copy=False)
    ids = np.searchsorted(np.array(spec.borders, dtype=np.float64), values, side="right").astype(np.int64)
    unknown = np.isnan(values)
    if lists.valid is not None:
        unknown |= ~lists.valid
    ids[unknown] = len(spec.borders) + 1
    return replace(lists, values=ids, valid=None)


def bucketize_reference(row: Row, spec: Bucketize) -> Row:
    """The slow twin of `bucketize` for one list."""
    unknown = len(spec.borders) + 1
    return Row(
        [
            unknown if value is None or value != value else sum(border <= value for border in spec.borders)
            for value in row.values
        ],
        row.weights,
    )
