"""Verbs of the data side: synth, fold, inspect, expand. Rooms are imported inside, so that --help is quick."""

from pathlib import Path
from typing import Annotated, Any

import typer

from recfold.cli.console import errors, output
from recfold.cli.durations import seconds
from recfold.cli.progress import ShownProgress
from recfold.spec import InputError, apply_overrides

Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override any setting; may be repeated.")
]


def synth(
    out: Annotated[Path, typer.Argument(help="New folder for the two logs and their features.toml.")],
    workload: Annotated[str, typer.Option(help="pooled, catalog, sequence or multihot.")] = "pooled",
    samples: Annotated[int, typer.Option(help="Rows of the impressions log.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
    repeat: Annotated[
        float | None,
        typer.Option(help="Chance that a user group stays as it was; the workload's own by default. Not for multihot."),
    ] = None,
    skew: Annotated[float, typer.Option(help="Exponent of the Zipf-like law of the ids.")] = 1.05,
) -> None:
    """Generate two logs whose users repeat as planted, with the best reachable AUC known.

    Example: recfold synth logs --workload pooled --samples 200000
    """
    from recfold.logs import synth as generate

    with ShownProgress(errors()) as progress:
        made = generate(out, workload=workload, samples=samples, seed=seed, repeat=repeat, skew=skew, progress=progress)
    output().print(
        f"{made.path}: {made.samples:,} samples in {made.sessions:,} sessions, {made.positives:,} clicks; "
        f"Bayes AUC {made.bayes_auc:.4f} (last tenth {made.bayes_auc_last_tenth:.4f})",
        highlight=False,
    )


def fold(
    logs: Annotated[Path, typer.Argument(help="Folder of the logs.")],
    out: Annotated[Path, typer.Option(help="New folder for the folded table; with --append the table.")],
    append: Annotated[
        bool, typer.Option("--append", help="Add the logs, another day's perhaps, to the table at OUT.")
    ] = False,
    schema: Annotated[Path | None, typer.Option(help="features.toml; LOGS/features.toml by default.")] = None,
    adapter: Annotated[str | None, typer.Option(help="ebnerd, mind or movielens, instead of a schema.")] = None,
    memory_gb: Annotated[float | None, typer.Option(help="Bound of the working set.")] = None,
    fold_by: Annotated[str | None, typer.Option(help="session, request or user: whose samples form a row.")] = None,
    split_time: Annotated[
        str | None,
        typer.Option(help="First time of validation: ISO text, or the last fraction of these logs (0.1 by default)."),
    ] = None,
    window: Annotated[str | None, typer.Option(help="Attribution window, such as 24h.")] = None,
    session_gap: Annotated[str | None, typer.Option(help="Pause that ends a session, such as 30m.")] = None,
    overrides: Set = None,
) -> None:
    """Join two logs, cluster by session, keep every distinct list once: a folded table.

    Examples: recfold fold logs --out folded · recfold fold ebnerd_demo --adapter ebnerd --out folded/ebnerd ·
    recfold fold tuesday --append --out folded
    """
    from recfold.cli.show import show_accounting
    from recfold.fold import FoldSettings
    from recfold.fold import fold as fold_logs
    from recfold.table import inspect as describe

    options: dict[str, Any] = {"memory_gb": memory_gb, "fold_by": fold_by, "split_time": split_time}
    if window is not None:
        options["window_hours"] = seconds(window, "--window") / 3600
    if session_gap is not None:
        options["session_gap_minutes"] = seconds(session_gap, "--session-gap") / 60
    given = {name: value for name, value in options.items() if value is not None}
    settings = apply_overrides(FoldSettings.parse(given, "recfold fold"), overrides or [])
    if schema is not None and adapter is not None:
        raise InputError("--schema and --adapter exclude each other", todo="an adapter brings its own schema")
    with ShownProgress(errors()) as progress:
        table = fold_logs(
            logs, out, schema=schema, adapter=adapter, settings=settings, append=append, progress=progress
        )
    console = output()
    found = describe(table)
    for line in found.inferred:
        console.print(f"inferred: {line}", highlight=False)
    for group in found.groups:
        if group.chosen:
            console.print(f"group {group.name} ({', '.join(group.features)}): {group.chosen}", highlight=False)
    show_accounting(console, found.accounting)
    console.print(
        f"{found.path}: {found.bytes:,} bytes, {found.raw_bytes / max(found.bytes, 1):.1f}x less than plain values",
        highlight=False,
    )


def inspect(
    table: Annotated[Path, typer.Argument(help="A folded table.")],
    verify: Annotated[bool, typer.Option("--verify", help="Read every file and compare its checksum.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON instead.")] = False,
) -> None:
    """Show what a folded table holds: dedup factor, bytes, encodings and ids per feature and group, why each group was
    chosen and what another choice would cost, and the accounting.

    Examples: recfold inspect folded --verify · recfold inspect folded --json
    """
    from recfold.cli.show import inspection_json, show_inspection
    from recfold.table import inspect as describe

    with ShownProgress(errors()) as progress:
        found = describe(table, verify=verify, encodings=True, progress=progress)
    if as_json:
        typer.echo(inspection_json(found))
    else:
        show_inspection(output(), found)


def expand(
    table: Annotated[Path, typer.Argument(help="A folded table.")],
    out: Annotated[Path, typer.Option(help="New folder for the plain table.")],
) -> None:
    """Write the plain table again, one row per sample: a way out.

    Example: recfold expand folded --out plain
    """
    from recfold.table import expand as write_plain

    with ShownProgress(errors()) as progress:
        samples = write_plain(table, out, progress=progress)
    output().print(f"{out}: {samples:,} samples", highlight=False)
