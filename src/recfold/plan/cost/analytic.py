"""Milliseconds from a formula: what is read and written, and whether it is in the cache.

    ms = pieces a + lists b + lists dim c + lookups d + lookups dim e + first f + first dim g
         + again (1 - cached) h + again dim (1 - cached) i

A row is read from memory when a step touches it first (`first` rows), and at its other lookups (`again`) where the rows
of all pieces together are more than the cache holds: cached = min(1, cache bytes / bytes of all first rows).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recfold.plan.cost.draw import mean_counts
from recfold.plan.piece import Piece
from recfold.spec import InputError

TERMS = ("piece", "list", "list_column", "lookup", "lookup_column", "first", "first_column", "again", "again_column")

DEFAULTS_NS = (20_000.0, 60.0, 0.8, 12.0, 0.15, 20.0, 0.8, 3.0, 0.1)
"""Nanoseconds of each term; of the order of one core of a server of today."""

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
        return np.stack([ms[:, :-2].sum(1), ms[:, -2:].sum(1), first_bytes], axis=1)

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
    """How much of each of `TERMS` a piece has, float64 [P, 9]; the last two as if nothing were cached."""
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
    again = np.maximum(lookups_P - first, 0.0)
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
        rows.append(np.concatenate([total[:-2], total[-2:] * missed]))
    matrix = np.array(rows) * 1e-6 / np.maximum(ms, BOUND_MS)[:, None]
    found = nonnegative_least_squares(matrix, np.ones(len(ms)))
    return AnalyticCost(ns=tuple(found.tolist()), cache_bytes=cache_bytes)


def nonnegative_least_squares(matrix: np.ndarray, wanted: np.ndarray, turns: int = 20_000) -> np.ndarray:
    """x from 0 with the least |matrix x - wanted|, for a matrix without negative numbers.

    One number after the other is set to its best value, until nothing changes.

    >>> np.round(nonnegative_least_squares(np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([2.0, 1.0])), 6).tolist()
    [1.5, 0.0]
    """
    scale = np.sqrt((matrix**2).sum(0))
    used = matrix / np.where(scale > 0, scale, 1.0)
    gram, target = used.T @ used, used.T @ wanted
    x = np.zeros(matrix.shape[1])
    for _ in range(turns):
        before = x.copy()
        for place in range(len(x)):
            if scale[place] > 0:
                x[place] = max(x[place] + target[place] - gram[place] @ x, 0.0)
        if np.abs(x - before).max() < 1e-12 * max(np.abs(x).max(), 1e-30):
            break
    return np.where(scale > 0, x / np.where(scale > 0, scale, 1.0), 0.0)
