"""Tasks like those of the papers, drawn from the published statistics of the public pool of 2021 (856 tables).

    rows at most 12,543,670, mean 4,107,458     pooling factor at most 193, mean 15     batch 65,536

Divided by 20, and a batch by 16, they fit a laptop. Accesses of a table's rows follow a power law of its own skew; their
histogram is what that law expects. Tables of different `part`s have nothing in common.
"""

import math
from collections.abc import Sequence

import numpy as np

from recfold.plan.piece import NUM_BINS, TableLoad
from recfold.plan.task import Split, Task
from recfold.spec import Topology

POOL = 856
MOST_ROWS, MOST_POOLING = 12_543_670, 193
DIMS = (16, 32, 64, 128)


def drawn_tables(
    *, part: str = "train", scale: int = 20, batch: int = 4096, dims: Sequence[int] = DIMS
) -> tuple[TableLoad, ...]:
    """Half of the pool: tables to train on, or to test on.

    Args:
        part: train or test.
        scale: that rows are divided by.
        batch: lists of a step that read a table, all ranks together.
        dims: of which a table has one.

    >>> train, test = drawn_tables(), drawn_tables(part="test")
    >>> len(train), len(test), {table.name for table in train} & {table.name for table in test}
    (428, 428, set())
    """
    rng = np.random.default_rng(2021)
    # beta and lognormal laws with the published means and bounds
    rows = np.maximum(MOST_ROWS / scale * rng.beta(0.35, 0.72, POOL), 1).astype(int)
    pooling = np.clip(rng.lognormal(math.log(15) - 0.72, 1.2, POOL), 0.05, MOST_POOLING)
    skew = rng.uniform(0.5, 1.3, POOL)
    dim = rng.choice(np.array(dims), POOL)
    return tuple(
        TableLoad(
            name=f"table{number}",
            rows=int(rows[number]),
            dim=int(dim[number]),
            row_bytes=4 * int(dim[number]) + 4,
            lists=float(batch),
            lookups=float(batch * pooling[number]),
            accesses=expected_accesses(int(rows[number]), float(batch * pooling[number]), float(skew[number])),
        )
        for number in range(POOL)
        if (number % 2 == 0) == (part == "train")
    )


def expected_accesses(rows: int, lookups: float, skew: float) -> tuple[float, ...]:
    """Share of lookups that go to rows of each bin where the row of rank r is looked up as r ** -skew, [NUM_BINS].

    >>> expected_accesses(1, 8.0, 1.0)[:5]
    (0.0, 0.0, 0.0, 1.0, 0.0)
    """
    edges = np.unique(np.geomspace(1, rows + 1, 400).astype(np.int64))
    middle, width = (edges[:-1] + edges[1:] - 1) / 2, np.diff(edges)
    weight = middle**-skew
    share = weight * width / (weight * width).sum()
    bins = np.ceil(np.log2(np.maximum(lookups * share / width, 1))).astype(int)
    found = np.bincount(np.minimum(bins, NUM_BINS - 1), weights=share, minlength=NUM_BINS)
    return tuple(float(value) for value in found)


def drawn_task(
    pool: Sequence[TableLoad],
    rng: np.random.Generator,
    *,
    tables: tuple[int, int] = (20, 200),
    ranks: tuple[int, int] = (4, 8),
    splits: frozenset[Split] = frozenset(),
    slack: float | None = 1.5,
) -> Task:
    """Some tables of a pool, each at most once, on some ranks.

    Args:
        tables, ranks: least and most.
        slack: memory of a rank over an even share of all bytes, and at least what the largest table needs; None for no bound.
    """
    count = min(int(rng.integers(tables[0], tables[1] + 1)), len(pool))
    own = tuple(pool[number] for number in rng.choice(len(pool), count, replace=False).tolist())
    topology = Topology(ranks=int(rng.integers(ranks[0], ranks[1] + 1)))
    if slack is None:
        return Task(own, topology, None, splits)
    share = sum(table.num_bytes for table in own) / topology.ranks
    memory = max(slack * share, 1.1 * max(table.num_bytes for table in own))
    return Task(own, topology, int(memory), splits)
