"""What a plan is made of: tables with the load that a step puts on them, and rectangles of these."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from pydantic import ConfigDict

from recfold.spec import InputError, Shard

NUM_BINS = 17
"""Accesses of a row in a step: (0, 1], (1, 2], (2, 4], ... (16384, 32768], (32768, inf)."""

COLUMNS_MULTIPLE = 4
"""Widths of pieces are multiples of it: what FBGEMM's CPU op asks for."""

LAST_MEAN = 1.5 * 2 ** (NUM_BINS - 2)
"""Accesses of a row of the last bin, which has no upper end."""


@dataclass(frozen=True)
class TableLoad:
    """A table and what a training step of all ranks does with it.

    Distinct lists are what is looked up and sent, so that `lists` and `lookups` count these and not samples.

    Args:
        rows, dim: of the table.
        row_bytes: bytes of a row with what its optimizer keeps of it.
        lists: distinct lists that read it, all features together.
        lookups: ids in them; `lookups / lists` is the pooling factor.
        accesses: of the lookups, the share that goes to rows of each bin of `NUM_BINS`; adds up to 1, or to 0
            where there is no lookup.
    Raises:
        InputError: a number that cannot be.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")  # where it stands in a file

    name: str
    rows: int
    dim: int
    row_bytes: int
    lists: float
    lookups: float
    accesses: tuple[float, ...]

    def __post_init__(self) -> None:
        numbers = (self.rows, self.dim, self.row_bytes)
        if min(numbers) <= 0 or not (math.isfinite(self.lists) and math.isfinite(self.lookups)):
            raise InputError(f"table {self.name!r} has no rows, columns or bytes", got=numbers, expected="all above 0")
        if min(self.lists, self.lookups, *self.accesses) < 0 or len(self.accesses) != NUM_BINS:
            raise InputError(
                f"the load of table {self.name!r} is wrong",
                got=(self.lists, self.lookups, len(self.accesses)),
                expected=f"numbers from 0, and {NUM_BINS} bins",
            )

    @property
    def num_bytes(self) -> int:
        return self.rows * self.row_bytes

    def whole(self) -> "Piece":
        """All of it as one piece."""
        return Piece(self, (0, self.rows), (0, self.dim))

    def replica(self, ranks: int) -> "Piece":
        """What each rank has of it where it is replicated: all cells, an even share of the lists, and each row read
        1 / ranks as often."""
        accesses = moved_bins(self.accesses, 1 / ranks)
        own = replace(self, lists=self.lists / ranks, lookups=self.lookups / ranks, accesses=accesses)
        return replace(own.whole(), copies=ranks)


@dataclass(frozen=True)
class Piece:
    """A rectangle of a table: rows [a, b) and columns [c, d). Ids are taken to be spread evenly over row ranges.

    Args:
        copies: ranks that hold it; more than one where the table is replicated, whose `table` is one rank's share.
    """

    table: TableLoad
    rows: tuple[int, int]
    columns: tuple[int, int]
    copies: int = 1

    @property
    def num_rows(self) -> int:
        return self.rows[1] - self.rows[0]

    @property
    def dim(self) -> int:
        return self.columns[1] - self.columns[0]

    @property
    def is_whole(self) -> bool:
        return (self.num_rows, self.dim) == (self.table.rows, self.table.dim)

    @property
    def num_bytes(self) -> int:
        """Of weights and optimizer state, as `Plan.rank_bytes` counts them."""
        return -(-self.num_rows * self.dim * self.table.row_bytes // self.table.dim)

    @property
    def lookups(self) -> float:
        return self.table.lookups * self.num_rows / self.table.rows

    @property
    def lists(self) -> float:
        """Distinct lists of which at least one id is in its rows."""
        share = self.num_rows / self.table.rows
        if share == 1 or self.table.lists == 0:
            return self.table.lists
        return self.table.lists * (1 - (1 - share) ** (self.table.lookups / self.table.lists))

    @property
    def touched_rows(self) -> float:
        """Distinct rows that a step reads."""
        return self.lookups * float((np.array(self.table.accesses) / mean_counts()).sum())

    @property
    def pooling(self) -> float:
        """Ids a list."""
        return self.lookups / self.lists if self.lists else 0.0

    @cached_property
    def features(self) -> np.ndarray:
        """The 21 features of SYSTEMS section 4: dim, rows, pooling, GB, and the bins of accesses; float64 [21]."""
        return np.array([self.dim, self.num_rows, self.pooling, self.num_bytes / 1e9, *self.table.accesses])

    def halves_by_columns(self) -> "tuple[Piece, Piece] | None":
        """Cut in the middle of its columns; None where a half would not be a multiple of `COLUMNS_MULTIPLE`."""
        first, stop = self.columns
        if self.dim % (2 * COLUMNS_MULTIPLE):
            return None
        middle = first + self.dim // 2
        return Piece(self.table, self.rows, (first, middle)), Piece(self.table, self.rows, (middle, stop))

    def halves_by_rows(self) -> "tuple[Piece, Piece] | None":
        """Cut in the middle of its rows; None where there is one row."""
        first, stop = self.rows
        if self.num_rows < 2:
            return None
        middle = first + self.num_rows // 2
        return Piece(self.table, (first, middle), self.columns), Piece(self.table, (middle, stop), self.columns)

    def on(self, rank: int) -> Shard:
        """It as a shard of a plan."""
        return Shard(rank=rank, rows=self.rows, columns=self.columns)


def features_of(pieces: Sequence[Piece]) -> np.ndarray:
    """Features of each, float64 [P, 21]."""
    return np.stack([piece.features for piece in pieces]) if pieces else np.zeros((0, 4 + NUM_BINS))


@cache
def mean_counts() -> np.ndarray:
    """Accesses of a row of each bin on average, where they are spread evenly over the bin's logarithm, as in
    `recfold.plan.cost.draw`; float64 [17]."""
    means = [1.0, 2.0]
    for number in range(2, NUM_BINS - 1):
        low = 2 ** (number - 1)
        if number <= 10:
            steps = np.arange(low, 2 * low)
            means.append(float(((steps + 1) * np.log2((steps + 1) / steps)).sum()))
        else:
            means.append(low / math.log(2) + 0.5)
    found = np.array([*means, LAST_MEAN])
    found.flags.writeable = False
    return found


def moved_bins(accesses: Sequence[float], factor: float) -> tuple[float, ...]:
    """The bins of rows that are read so many times as often: moved by the logarithm, to whole bins.

    >>> moved_bins((0.0, 0.5, 0.5, *[0.0] * 14), 0.5)[:3]
    (0.5, 0.5, 0.0)
    """
    moved = np.zeros(NUM_BINS)
    np.add.at(moved, np.clip(np.arange(NUM_BINS) + round(math.log2(factor)), 0, NUM_BINS - 1), np.array(accesses))
    return tuple(moved.tolist())
