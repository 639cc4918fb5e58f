"""Whether a plan fits into memory, and what would help where it does not."""

from collections.abc import Mapping

from recfold.plan.explain import shares
from recfold.plan.piece import Piece
from recfold.plan.sizes import TableSize
from recfold.plan.task import Task
from recfold.spec import InputError, Plan


class DoesNotFit(InputError):
    """Memory is too small for the tables; more of it, or more ranks, would help."""


SMALLER = "hash its ids to fewer rows, or give it a smaller dim, rows of float16 or the optimizer rowwise_adagrad"


def check_fits(plan: Plan, tables: Mapping[str, TableSize], memory_bytes: int) -> None:
    """Every rank's part of the tables, optimizer state included, is at most `memory_bytes`.

    Raises:
        DoesNotFit: the table that does not fit, on which rank, and what would help.

    Example:
        >>> from recfold.spec import Topology
        >>> from recfold.spec.plan import table_wise
        >>> big = {"big": TableSize(rows=1000, dim=4, row_bytes=20)}
        >>> plan = Plan(topology=Topology(ranks=2), tables={"big": table_wise(1000, 4, rank=0)})
        >>> check_fits(plan, big, 4096)
        Traceback (most recent call last):
            ...
        recfold.plan.fits.DoesNotFit: table 'big' needs 20,000 bytes on rank 0, of which 4,096 are left for it; ...
    """
    fullest = max(shares(plan, tables), key=lambda share: share.num_bytes)
    if fullest.num_bytes <= memory_bytes:
        return
    largest = max(fullest.tables, key=lambda name: fullest.tables[name])
    left = max(memory_bytes - fullest.num_bytes + fullest.tables[largest], 0)
    total = sum(size.num_bytes for size in tables.values())
    ranks = -(-total // max(memory_bytes, 1))
    whole = plan.tables[largest].kind == "table_wise" and plan.ranks > 1
    raise DoesNotFit(
        f"table {largest!r} needs {fullest.tables[largest]:,} bytes on rank {fullest.rank}, of which {left:,} are left "
        "for it",
        got=f"{fullest.num_bytes:,} bytes of tables on that rank where {memory_bytes:,} fit",
        todo=(f"split {largest!r} by rows, " if whole else "")
        + (f"use at least {ranks} ranks, " if ranks > plan.ranks else "")
        + SMALLER,
    )


def too_large(task: Task, piece: Piece, memory_bytes: int) -> DoesNotFit:
    """A table that fits on no rank, however it may be cut.

    Args:
        piece: the smallest that it may be cut to.
    """
    cut = "" if piece.is_whole else " even where it is cut as far as allowed"
    return DoesNotFit(
        f"table {piece.table.name!r} needs {piece.num_bytes:,} bytes on one rank{cut}",
        got=f"{memory_bytes:,} bytes for tables on each of {task.ranks} ranks: "
        f"{piece.num_bytes - memory_bytes:,} are missing",
        todo=_splitting(task, piece) + SMALLER,
    )


def too_much(task: Task, memory_bytes: int) -> DoesNotFit:
    """Tables that need more than all ranks have."""
    total = sum(table.num_bytes for table in task.tables)
    largest = max(task.tables, key=lambda table: table.num_bytes)
    return DoesNotFit(
        f"the tables need {total:,} bytes, of which table {largest.name!r} takes {largest.num_bytes:,}",
        got=f"{task.ranks * memory_bytes:,} bytes for tables on {task.ranks} ranks: "
        f"{total - task.ranks * memory_bytes:,} are missing",
        todo=f"use at least {-(-total // max(memory_bytes, 1))} ranks, or for the largest tables: {SMALLER}",
    )


def no_packing(task: Task, memory_bytes: int, largest: Piece, proven: bool) -> DoesNotFit:
    """Tables that fit one by one and by their sum, and yet not together.

    Args:
        largest: piece.
        proven: that there is no packing; else none was found.
    """
    total = sum(table.num_bytes for table in task.tables)
    found = "do not fit together, however they are placed" if proven else "may fit, but no way to place them was found"
    return DoesNotFit(
        f"the tables {found}: {total:,} of {task.ranks * memory_bytes:,} bytes on {task.ranks} ranks",
        got=f"{memory_bytes:,} bytes for tables on each rank; the largest piece is {largest.num_bytes:,} bytes of "
        f"table {largest.table.name!r}",
        todo=_splitting(task, largest) + f"use more ranks, or for {largest.table.name!r}: {SMALLER}",
    )


def _splitting(task: Task, piece: Piece) -> str:
    """Splits that are not allowed and would make a piece smaller."""
    if task.ranks == 1:
        return ""
    ways = [
        f"by {way}"
        for way, can in (("rows", piece.halves_by_rows()), ("columns", piece.halves_by_columns()))
        if can is not None and way not in task.splits
    ]
    return f"allow {piece.table.name!r} to be split {' or '.join(ways)}, " if ways else ""
