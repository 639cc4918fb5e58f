"""ngram: runs of neighbouring ids."""

from dataclasses import replace

import numpy as np

from recfold.spec.transforms import Ngram
from recfold.transform.hash import id_hash_reference, id_hashes, mixed, mixed_reference, to_rows
from recfold.transform.lists import Lists
from recfold.transform.row import Row


def ngram(lists: Lists, spec: Ngram) -> Lists:
    """Every run of `spec.n` neighbouring ids, hashed to `[0, spec.rows)`; a list shorter than n becomes empty.

    A run is computed once per position of the buffer, so windows stay windows; its weight is the product of its ids'.

    Example:
        >>> ngram(Lists.from_pylists([[1, 2, 3], [1, 2], [5]]), Ngram(n=2, rows=50)).to_pylists()
        [[34, 9], [34], []]
    """
    hashes = id_hashes(lists)
    runs = max(len(hashes) - spec.n + 1, 0)
    joined = hashes[:runs]
    for step in range(1, spec.n):
        joined = mixed(joined, hashes[step : step + runs])
    values = np.zeros(len(hashes), dtype=np.int64)
    values[:runs] = to_rows(joined, spec.rows)
    weights = lists.weights
    if weights is not None:
        weights = weights.copy()
        for step in range(1, spec.n):
            weights[:runs] *= lists.weights[step : step + runs]  # type: ignore[index]
    return replace(lists, values=values, valid=None, weights=weights, length=np.maximum(lists.length - (spec.n - 1), 0))


def ngram_reference(row: Row, spec: Ngram) -> Row:
    """The slow twin of `ngram` for one list."""
    values, weights = [], []
    for first in range(len(row.values) - spec.n + 1):
        joined = id_hash_reference(row.values[first])
        weight = 1.0
        for value in row.values[first + 1 : first + spec.n]:
            joined = mixed_reference(joined, id_hash_reference(value))
        for factor in (row.weights or [])[first : first + spec.n]:
            weight *= factor
        values.append(joined % spec.rows)
        weights.append(weight)
    return Row(values, None if row.weights is None else weights)
