"""The verb that measures: bench. Rooms are imported inside, so that --help is quick."""

from pathlib import Path
from typing import Annotated

import typer

from recfold.cli.console import errors, output
from recfold.cli.progress import ShownProgress


def bench(
    name: Annotated[str, typer.Argument(help="storage, fold, reader, train-pooled, train-sequence, exchange or plan.")],
    samples: Annotated[
        int | None,
        typer.Option(
            help="Rows of the generated impressions log.", show_default="1000000; training and exchange 100000"
        ),
    ] = None,
    workload: Annotated[
        str | None,
        typer.Option(
            help="As for recfold synth. A training bench runs its cases on that workload only; exchange: only cases of "
            "pooled, or of multihot.",
            show_default="pooled; training, exchange: all cases",
        ),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(
            help="Training: pooled, one-group, catalog, no-repeats; sequence. "
            "Exchange: loopback, fp16, bf16, int8, 1gbit, scaling, multihot-fm, -deepfm, -lr. Plan: no-splits, splits. "
            "Repeatable; all of the bench by default, of exchange those that need no --link."
        ),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="Training, exchange, plan: only against this one, such as torchrec-kjt, fold-off or cost-greedy. "
            "Repeatable."
        ),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Training: the 20 user features in so many groups (1: one that changes with p = 0.05; 4: as in the "
            "workload), or p of each group: 0.02,0.1. Cases that say their own groups are left out."
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Training: samples_per_s, peak_memory, largest_batch. Repeatable; all by default."),
    ] = None,
    memory_mb: Annotated[
        int | None,
        typer.Option(
            help="Training: limit of largest_batch in MiB, above weights and optimizer state; by default what the "
            "plain way needs at the bench's batch size."
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Samples of a batch.", show_default="4096; train-sequence 2048, multihot 512")
    ] = None,
    table_rows: Annotated[
        int | None,
        typer.Option(help="Training, exchange: at most so many rows an embedding table, for a smaller machine."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the logs, the order of batches and the first weights; of tasks.")] = 0,
    repeats: Annotated[
        int | None,
        typer.Option(
            "--repeats",
            "--steps",
            help="Turns of each side, in training and multihot a step each, in exchange four.",
            show_default="fold 3, reader 5, train-pooled 20, train-sequence 5, exchange 8, multihot 2, plan 2",
        ),
    ] = None,
    nproc: Annotated[
        int | None,
        typer.Option(help="Exchange: ranks, one thread each (case scaling: 1, 2 and 4).", show_default="2; multihot 4"),
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(
            help="Exchange: loopback, or 1gbit: two ranks in network namespaces "
            "with 1 Gbit/s between them (needs root)."
        ),
    ] = None,
    codec: Annotated[
        str | None, typer.Option(help="Exchange: how our rows and gradients travel: fp32, fp16, bf16, int8.")
    ] = None,
    tasks: Annotated[int | None, typer.Option(help="Plan: sharding tasks.", show_default="20")] = None,
    dump: Annotated[
        Path | None,
        typer.Option(help="Training: write batches, first weights and losses here, to time a peer of your own."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Working folder to keep and use again; a temporary one by default.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a table.")] = False,
) -> None:
    """Measure recfold against its peers, in turns and on the same generated logs; both do the same, or it stops.

    Examples: recfold bench storage --samples 100000 · recfold bench reader --dir bench --repeats 7 --json ·
    recfold bench train-pooled --case pooled --steps 10 --metric samples_per_s ·
    recfold bench exchange --link 1gbit --json · recfold bench plan --dir bench --tasks 20
    """
    from recfold.bench import BenchSettings, run_bench
    from recfold.cli.show_bench import show_bench
    from recfold.cli.show_plan_bench import show_plan_bench

    given = {
        "samples": samples,
        "workload": workload,
        "cases": case,
        "peers": peer,
        "groups": groups,
        "metrics": metric,
        "memory_mb": memory_mb,
        "batch_size": batch_size,
        "table_rows": table_rows,
        "seed": seed,
        "repeats": repeats,
        "nproc": nproc,
        "link": link,
        "codec": codec,
        "tasks": tasks,
        "dump": dump,
        "folder": folder,
    }
    settings = BenchSettings.parse(
        {key: value for key, value in given.items() if value not in (None, [])}, "recfold bench"
    )
    console = errors()
    with ShownProgress(console) as progress:
        found = run_bench(name, settings, progress=progress, tell=lambda line: console.print(line, highlight=False))
    if json:
        for measurement in found:
            typer.echo(measurement.to_json())
    elif name == "plan":
        show_plan_bench(output(), found)
    else:
        show_bench(output(), found)
