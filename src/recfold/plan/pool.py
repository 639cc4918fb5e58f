"""Synthetic tables and sharding tasks with the statistics of the public pool of embedding tables.

Legend: T tables of the pool, 17 bins of accesses.

The pool's accesses are published for batches of 65,536 lists and full rows. Here a batch has 4,096 lists and a table a
20th of the rows, so that about as many rows are read equally often; but no row is read more often than there are lists:
what the published histogram has above (2048, 4096] lies in that bin.

Source: the 2021 pool of facebookresearch/dlrm_datasets as described in arXiv 2208.06399 and 2210.02023.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from recfold.plan.cost.draw import access_shares, draw_counts
from recfold.plan.piece import NUM_BINS, TableLoad, mean_counts
from recfold.plan.task import Split, Task
from recfold.spec import InputError, Topology

NUM_TABLES = 856
MAX_ROWS, MEAN_ROWS = 12_543_670, 4_107_458
MAX_POOLING, MEAN_POOLING = 193.0, 15.0
MEAN_REUSE = 6.9
ACCESS_SHARES = (
    *(0.069, 0.044, 0.068, 0.101, 0.121, 0.104, 0.073, 0.058, 0.052),
    *(0.050, 0.049, 0.048, 0.048, 0.043, 0.031, 0.023, 0.019),
)
ROW_SHARES = (0.473, 0.152, 0.139, 0.112, 0.072, 0.032, 0.011, 0.005, 0.002, 0.001)
"""Of the distinct rows of a batch, by bin; then about 0."""

ROWS_DIVISOR = 20
BATCH_SIZE = 4096
DIMS = (16, 32, 64, 128)
MAX_TASK_BYTES = 8_000_000_000

POOLING_SIGMA = 1.5
TILT_SIGMA = 0.2
"""How much tables differ: log of the pooling factor, and log share from one bin of accesses to the next."""

FULL = 0.9
"""Of a table's rows, how many a batch reads at most."""


@dataclass(frozen=True)
class PoolTable:
    """A table without a dim yet.

    Args:
        rows: after division.
        lists, lookups, accesses: of a batch, as in `TableLoad`; these are of ids that were drawn.
    """

    name: str
    rows: int
    lists: int
    lookups: int
    accesses: tuple[float, ...]

    def load(self, dim: int) -> TableLoad:
        """With a dim, float32 rows and one float of row-wise AdaGrad each."""
        return TableLoad(self.name, self.rows, dim, 4 * dim + 4, self.lists, self.lookups, self.accesses)


@lru_cache(maxsize=16)
def table_pool(
    seed: int = 0, *, num_tables: int = NUM_TABLES, batch_size: int = BATCH_SIZE, rows_divisor: int = ROWS_DIVISOR
) -> tuple[PoolTable, ...]:
    """A pool of tables; the same seed, the same tables.

    Rows are M u^a and pooling factors lognormal, clipped, both on an even grid of u in a random order, so that every
    seed has the published maximum and mean. A table's histogram is the published one tilted at random, with the bins
    that it can fill; then all are scaled until the pool's histogram is the published one.
    """
    if num_tables < 2:
        raise InputError("a pool needs at least 2 tables", got=num_tables)
    random = np.random.default_rng(seed)
    grid = (np.arange(num_tables) + 0.5) / num_tables
    rows_T = _rows(random.permutation(grid), rows_divisor)
    pooling_T = _pooling(random.permutation(grid))
    lookups_T = np.maximum(np.round(pooling_T * batch_size), 1)
    tilts_T = random.normal(0.0, TILT_SIGMA, num_tables)
    shares = _fitted(tilts_T, rows_T, lookups_T, batch_size)
    found = []
    for number in range(num_tables):
        own = np.random.default_rng([seed, number])
        counts = draw_counts(lookups_T[number], int(rows_T[number]), tuple(shares[number].tolist()), own)
        found.append(
            PoolTable(
                name=f"table_{number:03d}",
                rows=int(rows_T[number]),
                lists=batch_size,
                lookups=int(counts.sum()),
                accesses=access_shares(counts),
            )
        )
    return tuple(found)


def train_and_test(pool: Sequence[PoolTable], seed: int = 0) -> tuple[tuple[PoolTable, ...], tuple[PoolTable, ...]]:
    """Halves of a pool without a table in common: what cost networks and policies are trained on, and unseen tables."""
    order = np.random.default_rng([seed, 1]).permutation(len(pool))
    middle = len(pool) // 2
    first, second = (tuple(pool[number] for number in sorted(part)) for part in (order[:middle], order[middle:]))
    return first, second


def draw_task(
    tables: Sequence[PoolTable],
    seed: int,
    *,
    num_tables: tuple[int, int] = (20, 200),
    devices: tuple[int, int] = (4, 8),
    dims: Sequence[int] = DIMS,
    memory_slack: float | None = 1.5,
    splits: frozenset[Split] = frozenset(),
) -> Task:
    """A sharding task: that many tables of the pool, each with a random dim.

    Where its tables take more than `MAX_TASK_BYTES`, dims of the largest are halved, down to the least of `dims`, and
    after that the largest are left out.

    Args:
        tables: the train or the test half of a pool.
        num_tables, devices: from, to; both are possible.
        memory_slack: a device has so many times an even share of all bytes, and at least room for the largest table;
            None for no bound.
    Raises:
        InputError: fewer tables than are asked for.
    """
    random = np.random.default_rng([seed, 2])
    number = int(random.integers(num_tables[0], num_tables[1] + 1))
    if number > len(tables):
        raise InputError("the pool has too few tables for the task", got=len(tables), expected=f"at least {number}")
    ranks = int(random.integers(devices[0], devices[1] + 1))
    chosen = random.choice(len(tables), number, replace=False)
    own = [tables[place].load(int(random.choice(np.array(dims)))) for place in chosen]
    by_name = {table.name: table for table in tables}
    while sum(load.num_bytes for load in own) > MAX_TASK_BYTES:
        largest = max(range(len(own)), key=lambda place: (own[place].num_bytes, place))
        smaller = [dim for dim in dims if dim < own[largest].dim]
        if smaller:
            own[largest] = by_name[own[largest].name].load(max(smaller))
        else:
            own.pop(largest)
    memory = None
    if memory_slack is not None:
        share = sum(load.num_bytes for load in own) / ranks
        memory = int(max(memory_slack * share, *(load.num_bytes for load in own)))
    return Task(tuple(own), Topology(ranks=ranks), memory, splits)


def _rows(grid: np.ndarray, divisor: int) -> np.ndarray:
    """M u^a with a mean of M / (a + 1); the largest is M and the smallest 1."""
    exponent = MAX_ROWS / MEAN_ROWS - 1
    rows = MAX_ROWS * grid**exponent
    rows[np.argmax(grid)], rows[np.argmin(grid)] = MAX_ROWS, divisor
    return np.maximum(np.round(rows / divisor), 1).astype(np.int64)


def _pooling(grid: np.ndarray) -> np.ndarray:
    """Lognormal, clipped at the maximum, with the published mean: its median is found by bisection."""
    normal = np.array([NormalDist().inv_cdf(u) for u in grid.tolist()])
    low, high = 0.0, MEAN_POOLING
    for _ in range(60):
        median = (low + high) / 2
        found = np.minimum(median * np.exp(POOLING_SIGMA * normal), MAX_POOLING)
        low, high = (median, high) if found.mean() < MEAN_POOLING else (low, median)
    found[np.argmax(grid)] = MAX_POOLING
    return found


def target_shares(batch_size: int = BATCH_SIZE) -> np.ndarray:
    """The published share of accesses per bin, with what is above the batch size in the last bin that can be."""
    last = min(int(np.ceil(np.log2(batch_size))), NUM_BINS - 1)
    target = np.array(ACCESS_SHARES)
    target[last] += target[last + 1 :].sum()
    target[last + 1 :] = 0.0
    return target / target.sum()


def _fitted(tilts_T: np.ndarray, rows_T: np.ndarray, lookups_T: np.ndarray, batch_size: int) -> np.ndarray:
    """Shares [T, 17] of every table, whose mean weighted by lookups is the target."""
    target, means = target_shares(batch_size), mean_counts()
    bins = np.arange(NUM_BINS)
    # a row takes at most half of a table's accesses, and all rows together suffice for them
    possible = (means <= np.maximum(lookups_T[:, None] / 2, 1)) & (target > 0)
    weights = target.copy()
    for _ in range(40):
        shares = weights * np.exp(tilts_T[:, None] * (bins - (weights * bins).sum() / weights.sum())) * possible
        shares = _normalised(shares)
        shares = _within_rows(shares, rows_T, lookups_T)
        pool = (shares * lookups_T[:, None]).sum(0) / lookups_T.sum()
        weights = np.where(target > 0, weights * (target / np.maximum(pool, 1e-9)), 0.0)
        weights /= weights.sum()
    return shares


def _within_rows(shares: np.ndarray, rows_T: np.ndarray, lookups_T: np.ndarray) -> np.ndarray:
    """Tilted further to often read rows where a table has not enough rows for its histogram."""
    bins, means = np.arange(NUM_BINS), mean_counts()
    most_T = FULL * rows_T
    low, high = np.zeros(len(shares)), np.full(len(shares), 4.0)
    for _ in range(30):
        middle = (low + high) / 2
        tilted = _normalised(shares * np.exp(middle[:, None] * bins))
        too_many = (tilted / means).sum(1) * lookups_T > most_T
        low, high = np.where(too_many, middle, low), np.where(too_many, high, middle)
    fits = (shares / means).sum(1) * lookups_T <= most_T
    return np.where(fits[:, None], shares, _normalised(shares * np.exp(high[:, None] * bins)))


def _normalised(shares: np.ndarray) -> np.ndarray:
    found: np.ndarray = shares / shares.sum(1, keepdims=True)
    return found
