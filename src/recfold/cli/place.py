"""Verbs about where weights lie: plan, export."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from recfold.cli.console import output
from recfold.cli.data import Set
from recfold.spec import InputError, apply_overrides, load_schema

SHOWN_TABLES = 4
SEARCHES = "random, size, dim, lookup, size-lookup, ldm, cost-greedy, autoshard, dreamshard, neuroshard or best"


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; it must not exist.")],
    tables: Annotated[str, typer.Option(help="Files of the embedding tables: parquet or safetensors.")] = "parquet",
    checkpoint: Annotated[str | None, typer.Option(help="best or last.")] = None,
) -> None:
    """Write a run's model as plain files: dense weights, one file a table, and a manifest.

    Example: recfold export runs/a exported
    """
    from recfold.train import export_run

    output().print(f"{export_run(run, out, checkpoint=checkpoint, tables=tables)}", highlight=False)


def plan(
    table: Annotated[Path, typer.Argument(help="A folded table.")],
    devices: Annotated[int, typer.Option(help="Ranks, one on each device.")],
    memory_gb: Annotated[float | None, typer.Option(help="For tables on each device (10^9 bytes).")] = None,
    model: Annotated[str | None, typer.Option(help="As for train: which tables are read.")] = None,
    schema: Annotated[Path | None, typer.Option(help="features.toml whose tables are used.")] = None,
    search: Annotated[str, typer.Option(help=f"How a plan is looked for: {SEARCHES}.")] = "cost-greedy",
    out: Annotated[Path | None, typer.Option(help="plan.json to write, for train --plan.")] = None,
    overrides: Set = None,
) -> None:
    """Place the embedding tables of a model on devices, and print what each of them holds.

    Examples: recfold plan folded --devices 4 --memory-gb 16 --out plan.json ·
    recfold train folded --out runs/a --nproc 4 --plan plan.json
    """
    from recfold.plan import save_plan, shares
    from recfold.train import RunSettings, plan_tables

    given: dict[str, Any] = {"model.name": model}
    changes = [f"{name}={value}" for name, value in given.items() if value is not None] + (overrides or [])
    for name, number in (("--devices", devices), ("--memory-gb", memory_gb)):
        if number is not None and number <= 0:
            raise InputError(f"{name} must be above 0", got=number)
    found, sizes = plan_tables(
        table,
        devices,
        settings=apply_overrides(RunSettings(), changes),
        schema=load_schema(schema) if schema else None,
        memory_bytes=None if memory_gb is None else int(memory_gb * 1e9),
        search=search,
    )
    if out is not None:
        save_plan(found, out)
    console = output()
    shown = Table("rank", "tables", "cut", "memory", "largest", title=f"{len(sizes)} tables on {devices} ranks")
    for share in shares(found, sizes):
        cut = sum(kind not in ("table_wise", "replicated") for kind in share.kinds.values())
        largest = ", ".join(f"{name} {_size(own)}" for name, own in list(share.tables.items())[:SHOWN_TABLES])
        shown.add_row(str(share.rank), str(len(share.tables)), str(cut), _size(share.num_bytes), largest)
    console.print(shown, highlight=False)
    if out is not None:
        console.print(f"{out}", highlight=False)


def _size(num_bytes: int) -> str:
    """
    >>> _size(1234), _size(5_600_000_000)
    ('1.2 kB', '5.6 GB')
    """
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= one:
            return f"{num_bytes / one:.1f} {unit}"
    return f"{num_bytes} B"
