"""clip: dense values into [low, high]."""

from dataclasses import replace

import numpy as np

from recfold.spec.transforms import Clip
from recfold.transform.lists import Lists
from recfold.transform.row import Row


def clip(lists: Lists, spec: Clip) -> Lists:
    """Bound every value; NaN stays NaN and null stays null.

    Example:
        >>> clip(Lists.from_pylists([[-9.0, 0.5]]), Clip(low=-5, high=5)).to_pylists()
        [[-5.0, 0.5]]
    """
    kind = lists.values.dtype.type
    return replace(lists, values=np.clip(lists.values, kind(spec.low), kind(spec.high)))


def clip_reference(row: Row, spec: Clip) -> Row:
    """The slow twin of `clip` for one list."""
    return Row(
        [
            value if value is None or value != value else spec.low if value < spec.low else min(value, spec.high)
            for value in row.values
        ],
        row.weights,
    )
