"""The verb that says how long a plan's step takes on machines that are described, and checks itself on runs."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from recfold.cli.console import errors, output
from recfold.cli.given import refuse_without_effect
from recfold.cli.place import read_cluster, read_gb, read_splits
from recfold.cli.progress import ShownProgress
from recfold.spec import InputError

WITH_CHECK = ("check", "cost", "as_json")
"""The only parameters that --check looks at: the rest is the run's."""
OF_CURVE = ("search", "splits", "seconds", "memory_gb")


def simulate(
    context: typer.Context,
    plan: Annotated[Path | None, typer.Argument(help="plan.json of recfold plan --out; not with --check.")] = None,
    cluster: Annotated[Path | None, typer.Option(help="cluster.toml; docs/planning.md says what is in it.")] = None,
    loads: Annotated[Path | None, typer.Option(help="Loads of the tables; PLAN.explained.json by default.")] = None,
    ranks_per_host: Annotated[int | None, typer.Option(min=1, help="Ranks of a machine; all by default.")] = None,
    bandwidth_gbps: Annotated[
        float | None, typer.Option(help="Of a rank to other hosts, or to all where there is one host; 10^9 bits/s.")
    ] = None,
    latency_us: Annotated[float | None, typer.Option(min=0, help="Of a message, with --bandwidth-gbps.")] = None,
    cost: Annotated[str, typer.Option(help="Of lookups where the cluster has no tiers: as for plan.")] = "neural",
    overlap: Annotated[bool, typer.Option(help="Exchanges run beside computing.")] = True,
    curve: Annotated[str | None, typer.Option(help="Numbers of ranks, such as 8,16,32: plans again for each.")] = None,
    search: Annotated[str, typer.Option(help="With --curve: how each size is planned.")] = "cost-greedy",
    splits: Annotated[str, typer.Option(help="With --curve: of rows, columns, replicate; or none.")] = "rows,columns",
    seconds: Annotated[float | None, typer.Option(min=0, help="With --curve: of each search.")] = None,
    memory_gb: Annotated[
        float | None, typer.Option(help="With --curve: for tables on each device; else what the tiers hold.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="With --curve: an SVG, PNG or PDF to draw.")] = None,
    check: Annotated[
        list[Path] | None, typer.Option(help="Instead of PLAN: a finished run on this machine. Repeatable.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override anything of the cluster; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON instead.")] = False,
) -> None:
    """Predict the milliseconds of a training step of a plan, phase by phase, on machines that need not be there.

    --check compares the prediction for finished runs on this machine with the steps that they took.

    Examples: recfold simulate plan.json --cluster cluster.toml ·
    recfold simulate plan.json --ranks-per-host 2 --bandwidth-gbps 25 --latency-us 50 --set dense.mflops=2 ·
    recfold simulate plan.json --cluster cluster.toml --curve 8,16,32,64,128 --plot curve.svg ·
    recfold simulate --check runs/one --check runs/two
    """
    from recfold.cli.show_simulation import curve_json, show_curve, show_step, step_json
    from recfold.plan import load_plan
    from recfold.plan.explained import explained_path
    from recfold.plan.loads import load_loads
    from recfold.plan.simulate import machine_of, save_curve
    from recfold.plan.simulate import simulate as step_of
    from recfold.plan.simulate.curve import CurveRequest
    from recfold.plan.simulate.curve import curve as curve_of

    if check:
        ignored = {str(own.name) for own in context.command.params} - set(WITH_CHECK)
        refuse_without_effect(context, ignored, "with --check: a run has its own")
        _check(check, cost, as_json)
        return
    if plan is None:
        raise InputError("nothing to simulate", todo="give a plan.json, or runs with --check")
    if plot is not None and curve is None:
        raise InputError("--plot draws a curve", todo="give --curve 1,2,4 too")
    if curve is None:
        refuse_without_effect(context, OF_CURVE, "without --curve", "give --curve 1,2,4 too")
    machines = read_cluster(cluster, ranks_per_host, _link_changes(bandwidth_gbps, latency_us) + (overrides or []))
    asked, known = load_plan(plan), load_loads(loads or explained_path(plan))
    console = output()
    if curve is not None:
        request = CurveRequest(
            search=search,
            seconds=seconds,
            splits=read_splits(splits),
            memory_bytes=None if memory_gb is None else read_gb("--memory-gb", memory_gb),
            cost=cost,
            overlap=overlap,
        )
        with ShownProgress(errors()) as progress:
            sizes = read_sizes(curve)
            points = curve_of(known, machines, sizes, request, lambda done, total: progress("plan", done, total))
            progress("plan", len(sizes), len(sizes))
        if plot is not None:
            save_curve(points, plot)
        if as_json:
            typer.echo(curve_json(points))
        else:
            show_curve(console, points)
        return
    if machines.ranks_per_host is None and asked.topology.ranks_per_host is not None:
        machines = machines.updated({"ranks_per_host": asked.topology.ranks_per_host}, "the plan")
    machine = machine_of(machines, asked.ranks, known.batch_size, cost=cost, by_row=frozenset(known.by_row))
    step = step_of(asked, known.of_ranks(asked.ranks), machine, overlap=overlap)
    samples = asked.ranks * known.batch_size
    typer.echo(step_json(step, samples)) if as_json else show_step(console, step, samples)


def _check(runs: list[Path], cost: str, as_json: bool) -> None:
    from recfold.cli.show_simulation import checked_json, show_checked
    from recfold.train import check_simulation

    with ShownProgress(errors()) as progress:
        found = []
        for number, run in enumerate(runs):
            progress("check", number, len(runs))
            found.append(check_simulation(run, cost=cost))
        progress("check", len(runs), len(runs))
    typer.echo(checked_json(found)) if as_json else show_checked(output(), found)


def _link_changes(bandwidth_gbps: float | None, latency_us: float | None) -> list[str]:
    if bandwidth_gbps is None:
        if latency_us is not None:
            raise InputError("--latency-us needs --bandwidth-gbps")
        return []
    if bandwidth_gbps <= 0:
        raise InputError("--bandwidth-gbps must be above 0", got=bandwidth_gbps)
    link: dict[str, Any] = {"gbytes_per_s": bandwidth_gbps / 8, "latency_us": latency_us or 0.0}
    return [f"within={json.dumps(link)}", f"between={json.dumps(link)}"]


def read_sizes(text: str) -> list[int]:
    """Numbers of ranks.

    Raises:
        InputError: something else.

    >>> read_sizes("1,2, 4")
    [1, 2, 4]
    """
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise InputError(f"--curve {text!r} is no list of numbers of ranks", todo="write 1,2,4,8")
    return sorted(set(found))
