"""The largest table first, on the rank with the fewest bytes; one larger than an even share is cut by rows."""

from collections.abc import Mapping

from recfold.plan.sizes import TableSize
from recfold.spec import Plan, Topology


def greedy(tables: Mapping[str, TableSize], topology: Topology, memory_bytes: int | None) -> Plan:
    """See `Plan.greedy`; whether it fits is for the caller to check."""
    return Plan.greedy({name: (own.rows, own.dim, own.row_bytes) for name, own in tables.items()}, topology)
