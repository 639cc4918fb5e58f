"""A plan for a folded table's model before anything is trained."""

from collections.abc import Mapping
from pathlib import Path

from recfold.plan import TableSize, search_plan
from recfold.spec import Plan, Schema
from recfold.table import FoldedTable
from recfold.train.assemble import table_sizes
from recfold.train.effective import run_schema
from recfold.train.run import table_of
from recfold.train.settings import RunSettings


def plan_tables(
    table: FoldedTable | Path | str,
    ranks: int,
    *,
    settings: RunSettings | None = None,
    schema: Schema | None = None,
    memory_bytes: int | None = None,
    search: str = "cost-greedy",
) -> tuple[Plan, Mapping[str, TableSize]]:
    """Search a plan for the embedding tables of a model.

    Args:
        table: the folded table that it will be trained on.
        ranks: devices, one rank each.
        settings, schema: as for `train`.
        memory_bytes: that tables may take on a rank; None for no bound.
        search: see `recfold.plan.SEARCHERS`.
    Returns:
        The plan, and the sizes of the tables.
    Raises:
        InputError: wrong settings, or tables that do not fit: which, and what would help.
    """
    data, own = table_of(table), settings or RunSettings()
    chosen = run_schema(data.schema, schema, own.tables, own.model.without)
    sizes = table_sizes(chosen, own)
    return search_plan(sizes, ranks, memory_bytes=memory_bytes, search=search), sizes
