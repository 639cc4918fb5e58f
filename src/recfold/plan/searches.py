"""The searches by name."""

from collections.abc import Callable, Mapping

from recfold.plan.fits import check_fits
from recfold.plan.greedy import greedy
from recfold.plan.sizes import TableSize
from recfold.spec import Plan, Topology, unknown

Searcher = Callable[[Mapping[str, TableSize], Topology, int | None], Plan]
"""(tables, topology, bytes that tables may take on a rank or None) -> a plan of all tables."""

SEARCHERS: dict[str, Searcher] = {"greedy": greedy}


def search_plan(
    tables: Mapping[str, TableSize], ranks: int, *, memory_bytes: int | None = None, search: str = "greedy"
) -> Plan:
    """A plan that fits.

    Args:
        memory_bytes: that tables may take on a rank; None for no bound.
        search: a name in `SEARCHERS`.
    Raises:
        InputError: an unknown search, or the plan does not fit: which table does not, and what would help.

    Example:
        >>> plan = search_plan({"a": TableSize(10, 4, 20), "b": TableSize(10, 4, 20)}, 2)
        >>> [plan.tables[name].shards[0].rank for name in ("a", "b")]
        [0, 1]
    """
    if search not in SEARCHERS:
        raise unknown("search", search, SEARCHERS)
    plan = SEARCHERS[search](tables, Topology(ranks=ranks), memory_bytes)
    if memory_bytes is not None:
        check_fits(plan, tables, memory_bytes)
    return plan
