"""How many bytes tables take, before they are made: what plans are weighed by."""

from collections.abc import Mapping

from recfold.embed.resolved_table import ResolvedTable, resolve_all
from recfold.optim import LOW_PRECISION
from recfold.spec import TableSpec


def table_sizes(
    tables: Mapping[str, TableSpec], *, optimizer: str = "rowwise_adagrad", float64: bool = False
) -> dict[str, tuple[int, int, int]]:
    """What plans are weighed by.

    Args:
        tables: table -> spec with its number of rows.
        optimizer: of tables whose spec names none.
        float64: all tables are of float64, whatever their spec says.
    Returns:
        Table -> (rows, dim, bytes of a row with what the optimizer keeps of it).
    Raises:
        InputError: a table without rows, or an unknown optimizer.

    >>> table_sizes({"item": TableSpec(rows=10, dim=4), "user": TableSpec(rows=10, dim=4, optimizer="adam")})
    {'item': (10, 4, 20), 'user': (10, 4, 48)}
    """
    resolved = resolve_all(tables, {"optimizer": optimizer}, None)
    return {name: (own.rows, own.dim, _row_bytes(own, float64)) for name, own in resolved.items()}


def _row_bytes(table: ResolvedTable, float64: bool) -> int:
    weight_bytes = 8 if float64 else table.dtype.itemsize
    state_bytes = 4 if table.dtype in LOW_PRECISION and not float64 else weight_bytes
    numbers = {"rows": 1, "entries": table.dim, "table": 0}
    return table.dim * weight_bytes + state_bytes * sum(numbers[of] for of in table.optimizer.state.values())
