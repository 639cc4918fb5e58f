"""What a feature is worth: sets that do not tell it, neither to the network nor to the formula that scales it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recfold.plan.cost.measured_sets import MeasuredSet
from recfold.plan.cost.samples import COLUMNS

LEFT_OUT = ("dim", "rows", "pooling", "size", "accesses", "lists")
"""What is left out, one after the other."""

DIM, ROWS, LISTS, LOOKUPS, NUM_BYTES = range(len(COLUMNS))


def without(group: str, sets: Sequence[MeasuredSet], known: Sequence[MeasuredSet]) -> list[MeasuredSet]:
    """The same sets, with one feature of every piece at its mean.

    Args:
        group: one of `LEFT_OUT`. Without `pooling` the ids follow from the lists, without `lists` from the pooling
            factor.
        known: sets whose pieces' mean it is: geometric, of `accesses` arithmetic.
    """
    pieces = np.concatenate([own.columns for own in known])
    found = []
    for own in sets:
        columns = own.columns.copy()
        pooling = columns[:, LOOKUPS] / columns[:, LISTS]
        if group == "accesses":
            columns[:, len(COLUMNS) :] = pieces[:, len(COLUMNS) :].mean(0)
        elif group == "pooling":
            columns[:, LOOKUPS] = columns[:, LISTS] * _middle(pieces[:, LOOKUPS] / pieces[:, LISTS])
        elif group == "lists":
            columns[:, LISTS] = _middle(pieces[:, LISTS])
            columns[:, LOOKUPS] = columns[:, LISTS] * pooling
        else:
            place = {"dim": DIM, "rows": ROWS, "size": NUM_BYTES}[group]
            columns[:, place] = _middle(pieces[:, place])
        found.append(replace(own, columns=columns))
    return found


def _middle(values: np.ndarray) -> float:
    return float(np.exp(np.log(np.maximum(values, 1e-3)).mean()))
