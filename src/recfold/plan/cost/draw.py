"""Ids with the access counts that a load describes: how many rows are read how often, and the lists they lie in."""

import numpy as np

from recfold.plan.piece import NUM_BINS, Piece, mean_counts


def bin_of(counts: np.ndarray) -> np.ndarray:
    """The bin of each number of accesses.

    >>> bin_of(np.array([1, 2, 3, 4, 5, 32768, 32769, 10**6])).tolist()
    [0, 1, 2, 2, 3, 15, 16, 16]
    """
    exponent = np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64)
    return np.minimum(exponent, NUM_BINS - 1)


def access_shares(counts: np.ndarray) -> tuple[float, ...]:
    """`TableLoad.accesses` of rows that are read so often; zeros where none is.

    >>> access_shares(np.array([1, 1, 2]))[:3]
    (0.5, 0.5, 0.0)
    """
    total = counts.sum()
    found = np.bincount(bin_of(counts), weights=counts, minlength=NUM_BINS)
    return tuple((found / total if total else found).tolist())


def draw_counts(lookups: float, rows: int, accesses: tuple[float, ...], random: np.random.Generator) -> np.ndarray:
    """How often each distinct row is read.

    Args:
        lookups: ids in all lists; the sum of what is returned is this, rounded.
        rows: of the table; there are no more distinct ones.
        accesses: share of the lookups that goes to rows of each bin.
    Returns:
        Accesses of each row that is read at all, int64, in no order.
    """
    total = round(lookups)
    if total == 0:
        return np.zeros(0, dtype=np.int64)
    wanted = np.array(accesses) * total / mean_counts()
    floor = np.floor(wanted)
    per_bin = (floor + (random.random(NUM_BINS) < wanted - floor)).astype(np.int64)
    parts = [np.ones(per_bin[0], np.int64), np.full(per_bin[1], 2, np.int64)]
    for number in range(2, NUM_BINS):
        low, num = 2.0 ** (number - 1), int(per_bin[number])
        parts.append(np.ceil(low * 2 ** ((np.arange(num) + random.random(num)) / max(num, 1))).astype(np.int64))
    counts = np.concatenate(parts)
    if len(counts) > rows:
        counts = random.choice(counts, rows, replace=False)
    return _with_sum(counts, total, rows, random)


def _with_sum(counts: np.ndarray, total: int, rows: int, random: np.random.Generator) -> np.ndarray:
    """Counts that add up to `total`: a row more or less of some, and counts scaled where that is not enough."""
    if len(counts) == 0:
        counts = np.ones(min(rows, total), np.int64)
    most = max(int(0.02 * total), 1)
    if abs(total - counts.sum()) > most:
        counts = np.maximum(np.round(counts * (total / counts.sum())).astype(np.int64), 1)
    short = total - int(counts.sum())
    if short > 0:
        new = min(short, rows - len(counts))
        counts = np.concatenate([counts, np.ones(new, np.int64)])
        counts[np.argmax(counts)] += short - new
    while short < 0:
        # the least read rows go first, then the most read one gives
        order = np.argsort(counts, kind="stable")
        keep = int(np.searchsorted(np.cumsum(counts[order]), -short, side="right"))
        keep = min(keep, len(counts) - 1)
        if keep == 0:
            counts[order[-1]] += short
            break
        short += int(counts[order[:keep]].sum())
        counts = counts[order[keep:]]
    return counts


def draw_bags(piece: Piece, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Lists of ids of a step for a piece; which rows are the often read ones is random, as it is after hashing.

    Returns:
        Values int64 [V] in [0, piece.num_rows) and offsets int64 [lists + 1].
    """
    counts = draw_counts(piece.lookups, piece.num_rows, piece.table.accesses, random)
    rows = random.choice(piece.num_rows, len(counts), replace=False, shuffle=False)
    values = np.repeat(rows, random.permutation(counts))
    random.shuffle(values)
    lists = max(round(piece.lists), 1)
    offsets = np.zeros(lists + 1, dtype=np.int64)
    offsets[1:-1] = np.sort(random.integers(0, len(values) + 1, lists - 1))
    offsets[-1] = len(values)
    return values, offsets
