"""truncate: at most so many elements of a list."""

from dataclasses import replace

import numpy as np

from recfold.spec.transforms import Truncate
from recfold.transform.lists import Lists
from recfold.transform.row import Row


def truncate(lists: Lists, spec: Truncate) -> Lists:
    """Keep the last (or first) `spec.length` elements. Only windows move; no value is copied.

    Example:
        >>> truncate(Lists.from_pylists([[1, 2, 3], [4]]), Truncate(length=2)).to_pylists()
        [[2, 3], [4]]
    """
    length = np.minimum(lists.length, spec.length)
    start = lists.start + (lists.length - length) if spec.keep == "last" else lists.start
    return replace(lists, start=start, length=length)


def truncate_reference(row: Row, spec: Truncate) -> Row:
    """The slow twin of `truncate` for one list."""
    kept = slice(0, spec.length) if spec.keep == "first" else slice(max(len(row.values) - spec.length, 0), None)
    return Row(row.values[kept], None if row.weights is None else row.weights[kept])
