"""cross: pairs of ids of two features."""

import numpy as np

from recfold.spec.transforms import Cross
from recfold.transform.hash import id_hash_reference, id_hashes, mixed, mixed_reference, to_rows
from recfold.transform.lists import Lists, spans
from recfold.transform.row import Row


def cross(lists: Lists, spec: Cross, other: Lists) -> Lists:
    """Every pair (id of this list, id of the other feature's list), hashed to `[0, spec.rows)`.

    The other feature's lists are taken as stored, before its own transforms. The first id's pairs come first; a pair's
    weight is the product of the weights.

    Args:
        lists, other: U lists each; list u is crossed with list u.

    Example:
        >>> left, right = Lists.from_pylists([[1, 2], []]), Lists.from_pylists([[3], [4]])
        >>> cross(left, Cross(other="b", rows=9), right).to_pylists()
        [[8, 0], []]
    """
    left_at, _ = spans(lists.start, lists.length)
    # every left id meets all ids of the other list
    partners = np.repeat(other.length, lists.length)
    first = np.repeat(left_at, partners)
    second, _ = spans(np.repeat(other.start, lists.length), partners)
    length = lists.length * other.length
    weights = None
    if lists.weights is not None or other.weights is not None:
        weights = np.ones(len(first), dtype=np.float32)
        weights *= 1 if lists.weights is None else lists.weights[first]
        weights *= 1 if other.weights is None else other.weights[second]
    return Lists(
        values=to_rows(mixed(id_hashes(lists)[first], id_hashes(other)[second]), spec.rows),
        valid=None,
        weights=weights,
        start=np.cumsum(length) - length,
        length=length,
    )


def cross_reference(row: Row, spec: Cross, other: Row) -> Row:
    """The slow twin of `cross` for one list."""
    values, weights = [], []
    for i, a in enumerate(row.values):
        for j, b in enumerate(other.values):
            values.append(mixed_reference(id_hash_reference(a), id_hash_reference(b)) % spec.rows)
            left = 1.0 if row.weights is None else row.weights[i]
            weights.append(left * (1.0 if other.weights is None else other.weights[j]))
    return Row(values, None if row.weights is None and other.weights is None else weights)
