"""Plans of tables of which no more is known than how large they are."""

from collections.abc import Mapping, Sequence

import numpy as np

from recfold.plan.piece import NUM_BINS, Piece, TableLoad
from recfold.plan.search import find
from recfold.plan.sizes import TableSize
from recfold.plan.task import Split, Task
from recfold.spec import Plan, Topology

LISTS = 1.0
"""That read a table, where nobody has counted them: the same for every table, one id each."""


class BytesCost:
    """Bytes of a rank stand for its milliseconds."""

    name = "bytes"

    def rows(self, pieces: Sequence[Piece]) -> np.ndarray:
        """[P, 1]"""
        return np.array([[float(piece.num_bytes)] for piece in pieces]).reshape(-1, 1)

    def ms(self, sums: np.ndarray) -> np.ndarray:
        return sums[:, 0]


def search_plan(
    tables: Mapping[str, TableSize],
    ranks: int,
    *,
    memory_bytes: int | None = None,
    search: str = "cost-greedy",
    splits: frozenset[Split] = frozenset({"rows"}),
) -> Plan:
    """A plan that fits and spreads bytes evenly.

    Args:
        memory_bytes: that tables may take on a rank; None for no bound.
        search: a name in `SEARCHERS`.
        splits: as for a `Task`; a table larger than an even share is cut by rows where nothing else is said.
    Raises:
        InputError: an unknown search, or nothing fits: which table does not, and what would help.

    Example:
        >>> plan = search_plan({"a": TableSize(10, 4, 20), "b": TableSize(10, 4, 20)}, 2)
        >>> [plan.tables[name].shards[0].rank for name in ("a", "b")]
        [0, 1]
    """
    loads = tuple(
        TableLoad(name, own.rows, own.dim, own.row_bytes, LISTS, LISTS, (1.0,) + (0.0,) * (NUM_BINS - 1))
        for name, own in tables.items()
    )
    task = Task(loads, Topology(ranks=ranks), memory_bytes, splits)
    return find(task, BytesCost(), search=search).plan(task)
