"""Milliseconds from a formula: what is read and written, and whether it is in the cache.

    ms = pieces a + lists b + lists dim c + lookups d + lookups dim e + first f + first dim g
         + again h + again dim (1 - cached) i

A row is read from memory when a step touches it first (`first` rows). At its other lookups (`again`) it is still in a
near cache if it is read very often; of those up to `WARM_ACCESSES` it is looked for, and read from memory again where
the rows of all pieces together are more than the cache holds: cached = min(1, cache bytes / bytes of all first rows).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recfold.plan.piece import Piece, mean_counts
from recfold.spec import InputError

TERMS = ("piece", "list", "list_column", "lookup", "lookup_column", "first", "first_column", "again", "again_column")

DEFAULTS_NS = (150_000.0, 2.0, 1.2, 10.0, 0.05, 12.0, 1.4, 6.5, 0.05)
"""Nanoseconds of each term; of the order of one core of a server of today."""

WARM_BINS = 9
WARM_ACCESSES = 2 ** (WARM_BINS - 1)
"""Of a row in a step; one that is read more often stays in a near cache."""

BOUND_MS = 1e-6


@dataclass(frozen=True)
class AnalyticCost:
    """The formula with its constants.

    Args:
        ns: nanoseconds of each of `TERMS`.
        cache_bytes: of the last-level cache.
    Raises:
        InputError: another number of constants, or a negative one.
    """

    ns: tuple[float, ...] = DEFAULTS_NS
    cache_bytes: float = 32e6
    name: str = "analytic"

    def __post_init__(self) -> None:
        if len(self.ns) != len(TERMS) or min(self.ns) < 0 or self.cache_bytes < 0:
            raise InputError(
                "wrong constants of the analytic cost", got=self.ns, expected=f"{len(TERMS)} numbers from 0"
            )

    def rows(self, pieces: Sequence[Piece]) -> np.ndarray:
        """[P, 3]: milliseconds whatever the cache holds, further ones where it holds nothing, bytes of first rows."""
        return self.rows_of(terms(pieces))

    def rows_of(self, terms_PT: np.ndarray) -> np.ndarray:
        """`rows` of pieces whose `terms` are known."""
        ms = terms_PT * np.array(self.ns) * 1e-6
        first_bytes = 4 * terms_PT[:, TERMS.index("first_column")]
        return np.stack([ms[:, :-1].sum(1), ms[:, -1], first_bytes], axis=1)

    def ms(self, sums: np.ndarray) -> np.ndarray:
        """Milliseconds [M] of sets with these sums [M, 3]."""
        return sums[:, 0] + sums[:, 1] * (1 - cached_share(sums[:, 2], self.cache_bytes))


def cached_share(first_bytes: np.ndarray, cache_bytes: float) -> np.ndarray:
    """Of rows that are read again, the share that is still in the cache.

    >>> cached_share(np.array([0.0, 10.0, 40.0]), 20.0).tolist()
    [1.0, 1.0, 0.5]
    """
    return np.minimum(1.0, cache_bytes / np.maximum(first_bytes, 1e-9))


def terms(pieces: Sequence[Piece]) -> np.ndarray:
    """How much of each of `TERMS` a piece has, float64 [P, 9]; the last as if nothing were cached."""
    if not pieces:
        return np.zeros((0, len(TERMS)))
    return terms_of(
        np.array([piece.dim for piece in pieces], dtype=np.float64),
        np.array([piece.lists for piece in pieces], dtype=np.float64),
        np.array([piece.lookups for piece in pieces], dtype=np.float64),
        np.array([piece.table.accesses for piece in pieces]),
    )


def terms_of(dim_P: np.ndarray, lists_P: np.ndarray, lookups_P: np.ndarray, accesses: np.ndarray) -> np.ndarray:
    """`terms` from columns; `accesses` is [P, 17]."""
    first = lookups_P * (accesses / mean_counts()).sum(1)
    warm = accesses[:, :WARM_BINS]
    again = lookups_P * (warm * (1 - 1 / mean_counts()[:WARM_BINS])).sum(1)
    alone = [np.ones_like(dim_P), lists_P, lists_P * dim_P, lookups_P, lookups_P * dim_P]
    return np.stack([*alone, first, first * dim_P, again, again * dim_P], axis=1)


def fit_analytic(terms_of_sets: Sequence[np.ndarray], ms: np.ndarray, cache_bytes: float) -> AnalyticCost:
    """Constants from 0 with the least mean squared relative error.

    Args:
        terms_of_sets: `terms` [P, 9] of the pieces of each set.
        ms: measured, of each.
        cache_bytes: of the machine.
    """
    rows = []
    for own in terms_of_sets:
        total = own.sum(0)
        missed = 1 - cached_share(np.array([4 * total[TERMS.index("first_column")]]), cache_bytes)[0]
        rows.append(np.concatenate([total[:-1], total[-1:] * missed]))
    matrix = np.array(rows) * 1e-6 / np.maximum(ms, BOUND_MS)[:, None]
    found = nonnegative_least_squares(matrix, np.ones(len(ms)))
    return AnalyticCost(ns=tuple(found.tolist()), cache_bytes=cache_bytes)


def nonnegative_least_squares(matrix: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """x from 0 with the least |matrix x - wanted|.

    The numbers that are above 0 are found one after the other; one that would fall below goes back to 0.

    >>> np.round(nonnegative_least_squares(np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([2.0, 1.0])), 6).tolist()
    [1.5, 0.0]

    Source: Lawson and Hanson, Solving Least Squares Problems (1974), chapter 23.
    """
    scale = np.sqrt((matrix**2).sum(0))
    used = matrix / np.where(scale > 0, scale, 1.0)
    x, above = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1], dtype=bool)
    for _ in range(10 * len(x)):
        gradient = np.where(above, 0.0, used.T @ (wanted - used @ x))
        if gradient.max() <= 1e-10 * np.abs(wanted).sum():
            break
        above[np.argmax(gradient)] = True
        while True:
            best = np.zeros(len(x))
            best[above] = np.linalg.lstsq(used[:, above], wanted, rcond=None)[0]
            below = above & (best <= 0)
            if not below.any():
                break
            # as far towards it as none falls below 0
            step = (x[below] / np.maximum(x[below] - best[below], 1e-300)).min()
            x += step * (best - x)
            above &= x > 1e-12
            x[~above] = 0.0
        x = best
    return np.where(scale > 0, x / np.where(scale > 0, scale, 1.0), 0.0)
