"""Whether a plan fits into memory, and what would help where it does not."""

from collections.abc import Mapping

from recfold.plan.explain import shares
from recfold.plan.sizes import TableSize
from recfold.spec import InputError, Plan


def check_fits(plan: Plan, tables: Mapping[str, TableSize], memory_bytes: int) -> None:
    """Every rank's part of the tables, optimizer state included, is at most `memory_bytes`.

    Raises:
        InputError: the table that does not fit, on which rank, and what would help.

    Example:
        >>> from recfold.spec import Topology
        >>> big = {"big": TableSize(rows=1000, dim=4, row_bytes=20)}
        >>> check_fits(Plan.greedy({"big": (1000, 4, 20)}, Topology(ranks=2)), big, 4096)
        Traceback (most recent call last):
            ...
        recfold.spec.errors.InputError: table 'big' needs 10,000 bytes on rank 0, of which 4,096 are left for it; ...
    """
    fullest = max(shares(plan, tables), key=lambda share: share.num_bytes)
    if fullest.num_bytes <= memory_bytes:
        return
    largest = max(fullest.tables, key=lambda name: fullest.tables[name])
    left = max(memory_bytes - fullest.num_bytes + fullest.tables[largest], 0)
    total = sum(size.num_bytes for size in tables.values())
    ranks = -(-total // max(memory_bytes, 1))
    whole = plan.tables[largest].kind == "table_wise" and plan.ranks > 1
    raise InputError(
        f"table {largest!r} needs {fullest.tables[largest]:,} bytes on rank {fullest.rank}, of which {left:,} are left "
        "for it",
        got=f"{fullest.num_bytes:,} bytes of tables on that rank where {memory_bytes:,} fit",
        todo=(f"split {largest!r} by rows, " if whole else "")
        + (f"use at least {ranks} ranks, " if ranks > plan.ranks else "")
        + "hash its ids to fewer rows, or give it a smaller dim, rows of float16 or the optimizer rowwise_adagrad",
    )
