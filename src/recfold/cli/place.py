"""Verbs about where weights lie: plan, export. Rooms are imported inside, so that --help is quick."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from recfold.cli.console import errors, output
from recfold.cli.data import Set
from recfold.cli.given import refuse_without_effect
from recfold.cli.progress import ShownProgress
from recfold.spec import InputError, apply_overrides, load_schema, unknown

if TYPE_CHECKING:
    from recfold.plan.cluster import Cluster
    from recfold.plan.task import Split

SEARCHES = "random, size, dim, lookup, size-lookup, ldm, cost-greedy, autoshard, dreamshard, neuroshard or best"
SPLITS = ("rows", "columns", "replicate")
NO_SPLITS = "none"


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
    context: typer.Context,
    table: Annotated[Path, typer.Argument(help="A folded table; or a file of loads, such as plan.explained.json.")],
    devices: Annotated[int, typer.Option(help="Ranks, one on each device.")],
    memory_gb: Annotated[
        float | None, typer.Option(help="For tables on each device (10^9 bytes); else the cluster's, or no bound.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="As for train: which tables are read.")] = None,
    schema: Annotated[Path | None, typer.Option(help="features.toml whose tables are used.")] = None,
    search: Annotated[str, typer.Option(help=f"How a plan is looked for: {SEARCHES}.")] = "best",
    seconds: Annotated[float | None, typer.Option(min=0, help="Bound of best and neuroshard.")] = None,
    splits: Annotated[
        str, typer.Option(help="What may be done to a table: of rows, columns, replicate, with commas; or none.")
    ] = ",".join(SPLITS),
    cost: Annotated[
        str,
        typer.Option(
            help="neural, analytic, or a file of recfold cost fit; measured: search by neural, then time each rank of "
            "the found plan on this machine."
        ),
    ] = "neural",
    ranks_per_host: Annotated[int | None, typer.Option(min=1, help="Ranks of a machine; all by default.")] = None,
    cluster: Annotated[Path | None, typer.Option(help="cluster.toml: links, hosts, memory tiers.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the search.")] = 0,
    out: Annotated[Path | None, typer.Option(help="plan.json to write, for train --plan.")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Run every search, and keep the plan of --search.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON instead.")] = False,
    overrides: Set = None,
) -> None:
    """Place the embedding tables of a model on devices: measure what a step asks of them, search for the plan whose
    slowest device takes least by a learned cost, and say how much better a plan could be at all.

    Examples: recfold plan folded --devices 4 --memory-gb 16 --out plan.json ·
    recfold plan folded --devices 8 --splits none --compare ·
    recfold train folded --out runs/a --nproc 4 --plan plan.json
    """
    from recfold.cli.show_plan import plan_json, show_comparison, show_plan
    from recfold.plan import SEARCHERS, save_plan
    from recfold.plan.explained import save_explained
    from recfold.train import Planner, PlanRequest, RunSettings, measured_loads

    if table.is_file():
        why = "where loads are taken from a file"
        refuse_without_effect(context, ("model", "schema", "overrides"), why, "give a folded table, or leave it out")
    changes = [f"{name}={value}" for name, value in {"model.name": model}.items() if value is not None]
    if devices <= 0:
        raise InputError("--devices must be above 0", got=devices)
    if search not in SEARCHERS:
        raise unknown("search", search, SEARCHERS)
    request = PlanRequest(
        ranks=devices,
        memory_bytes=None if memory_gb is None else read_gb("--memory-gb", memory_gb),
        search=search,
        cost=cost,
        splits=read_splits(splits),
        seconds=seconds,
        seed=seed,
        cluster=read_cluster(cluster, ranks_per_host),
    )
    with ShownProgress(errors()) as progress:
        steps = 2 + (len(SEARCHERS) if compare else 0)
        progress("measure the tables", 0, steps)
        own = load_schema(schema) if schema else None
        settings = None if table.is_file() else apply_overrides(RunSettings(), changes + (overrides or []))
        planner = Planner(measured_loads(table, devices, settings=settings, schema=own), request)
        progress(f"search ({search})", 1, steps)
        found = planner.plan()
        compared = (
            planner.compare(lambda name, number, _: progress(f"search ({name})", number + 2, steps))
            if compare
            else None
        )
        progress("done", steps, steps)
    if out is not None:
        save_plan(found.plan, out)
        save_explained(found.explained, out)
    if as_json:
        typer.echo(plan_json(found, compared))
        return
    console = output()
    show_plan(console, found)
    if compared is not None:
        show_comparison(console, compared)
    if out is not None:
        console.print(f"{out}", highlight=False)


def read_gb(option: str, gb: float) -> int:
    """Bytes of so many GB (10^9 bytes).

    Raises:
        InputError: no bytes, or no number.

    >>> read_gb("--memory-gb", 1.5)
    1500000000
    """
    if not (math.isfinite(gb) and gb > 0):
        raise InputError(f"{option} must be a number above 0", got=gb)
    return int(gb * 1e9)


def read_splits(text: str) -> "frozenset[Split]":
    """What may be done to tables.

    Raises:
        InputError: something else.

    >>> sorted(read_splits("rows,columns")), sorted(read_splits("none"))
    (['columns', 'rows'], [])
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == [NO_SPLITS]:
        return frozenset()
    for name in names:
        if name not in SPLITS:
            raise unknown("split", name, (*SPLITS, NO_SPLITS))
    return frozenset(cast(Any, names))


def read_cluster(path: Path | None, ranks_per_host: int | None, changes: list[str] | None = None) -> "Cluster":
    """A described cluster with what the command line changes.

    Raises:
        InputError: a damaged file, or wrong changes.
    """
    from recfold.plan.cluster import Cluster, load_cluster

    found = Cluster() if path is None else load_cluster(path)
    given = [] if ranks_per_host is None else [f"ranks_per_host={json.dumps(ranks_per_host)}"]
    return apply_overrides(found, given + (changes or []))
