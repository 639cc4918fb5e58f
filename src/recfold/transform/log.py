"""log: the signed logarithm of dense values."""

import math
from dataclasses import replace

import numpy as np

from recfold.spec.transforms import Log
from recfold.transform.lists import Lists
from recfold.transform.row import Row


def log(lists: Lists, spec: Log) -> Lists:
    """sign(x) * log(1 + |x|); NaN stays NaN and null stays null.

    Example:
        >>> [round(x, 3) for x in log(Lists.from_pylists([[-1.0, 0.0, 1.0]]), Log()).to_pylists()[0]]
        [-0.693, 0.0, 0.693]
    """
    return replace(lists, values=np.copysign(np.log1p(np.abs(lists.values)), lists.values))


def log_reference(row: Row, spec: Log) -> Row:
    """The slow twin of `log` for one list."""
    return Row(
        [None if value is None else math.copysign(math.log1p(abs(value)), value) for value in row.values], row.weights
    )
