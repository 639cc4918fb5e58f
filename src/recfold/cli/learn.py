"""Verbs of the compute side: train, evaluate, predict, explain, report, and run for all of it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from recfold.cli.console import errors, output
from recfold.cli.data import Set
from recfold.cli.progress import ShownProgress
from recfold.cli.ranks import attempt, joined, start_ranks
from recfold.spec import apply_overrides, load_schema, unknown

NumProcesses = Annotated[int, typer.Option("--nproc", min=1, help="Ranks to start on this machine.")]


def train(
    table: Annotated[Path, typer.Argument(help="A folded table.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: new, or with --resume an earlier one.")],
    model: Annotated[str | None, typer.Option(help="lr, fm, wide-deep, deepfm, dcn, dlrm, din or sequence.")] = None,
    schema: Annotated[Path | None, typer.Option(help="features.toml whose transforms and tables are used.")] = None,
    fold: Annotated[str | None, typer.Option(help="on, lookups or off: how far repeats are computed once.")] = None,
    order: Annotated[str | None, typer.Option(help="shuffle or time.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest complete checkpoint.")] = False,
    nproc: NumProcesses = 1,
    plan: Annotated[Path | None, typer.Option(help="plan.json of `recfold plan`; by default one is made.")] = None,
    codec: Annotated[str | None, typer.Option(help="How rows travel between ranks: fp32, fp16, bf16, int8.")] = None,
    partial: Annotated[str | None, typer.Option(help="auto, on or off: sums of rows travel, not rows.")] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Trace a few steps of each rank into RUN/trace.")] = False,
    overrides: Set = None,
) -> None:
    """Train a model on a folded table, and evaluate it on the validation split.

    --nproc N trains on N ranks of this machine, each with its own share of the sessions; a job whose rank is killed
    goes on from the last checkpoint. On several machines: torchrun ... -m recfold train ... with the same arguments.
    With --profile it also prints how much of what travelled was hidden behind other work.

    A model's options are settings (--set model.options.top=[64]); docs/models.md lists models and options.

    Examples: recfold train folded --model dlrm --out runs/a · recfold train folded --out runs/a --resume ·
    recfold train folded --out runs/b --set train.batch_size=8192 --set train.dense.options.lr=0.003 ·
    recfold train folded --out runs/c --nproc 2
    """
    from recfold.cli.show_evaluation import show_evaluation
    from recfold.plan import load_plan
    from recfold.train import RunSettings, open_run
    from recfold.train import train as train_model
    from recfold.train.job import is_started_here, was_restarted

    given: dict[str, Any] = {"train.fold": fold, "train.order": order, "train.epochs": epochs}
    given |= {"model.name": model, "ranks.codec": codec, "ranks.partial": partial}
    changes = [f"{name}={value}" for name, value in given.items() if value is not None] + (overrides or [])
    resume = resume or (was_restarted() and is_started_here(out))

    def read() -> tuple[RunSettings, dict[str, Any]]:
        start = open_run(out).settings if resume else RunSettings()
        settings = apply_overrides(start, changes) if changes or not resume else None
        files = {"schema": load_schema(schema) if schema else None, "plan": load_plan(plan) if plan else None}
        return settings or start, {"settings": settings, "resume": resume, **files}

    read_or_refused = attempt(read)
    if nproc > 1:
        start_ranks(nproc, read_or_refused, out)
    console, known = output(), read_or_refused.value[0] if read_or_refused.value else RunSettings()
    with (
        joined(known.train.device, known.ranks.timeout_s, read_or_refused.refusal) as prints,
        ShownProgress(errors()) as progress,
    ):
        _, options = read_or_refused.get()
        result = train_model(table, out, profile=profile, progress=progress, **options)
    if not prints:
        raise typer.Exit(130 if result.ended == "interrupted" else 0)
    for note in result.notes:
        console.print(note, highlight=False)
    console.print(f"{result.run}: {result.message}", highlight=False)
    for measured in (result.wire, result.hidden):
        if measured is not None:
            console.print(measured.line(), highlight=False, soft_wrap=True)
    if result.trace is not None:
        console.print(f"trace of each rank: {result.trace} (open it in ui.perfetto.dev)", highlight=False)
    if result.ended == "interrupted":
        raise typer.Exit(130)
    if result.evaluation is not None:
        show_evaluation(console, result.evaluation)
    if result.throughput is not None:
        ratios = ", ".join(f"{way} {ratio:.2f}x" for way, ratio in result.throughput.ratio.items())
        console.print(f"training speed against --fold off (ratio of medians): {ratios}", highlight=False)


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    table: Annotated[Path, typer.Argument(help="A folded table.")],
    split: Annotated[str, typer.Option(help="Which split.")] = "validation",
    checkpoint: Annotated[str | None, typer.Option(help="best or last.")] = None,
    nproc: NumProcesses = 1,
) -> None:
    """Score a split: NE, AUC, AUC by request and by session, calibration, next to popularity baselines.

    Example: recfold evaluate runs/a folded
    """
    from recfold.cli.show_evaluation import show_evaluation
    from recfold.train import evaluate as evaluate_run
    from recfold.train import silent

    if nproc > 1:
        start_ranks(nproc)
    with joined() as prints, ShownProgress(errors()) as progress:
        found = evaluate_run(run, table, split, checkpoint=checkpoint, progress=progress if prints else silent)
    if prints:
        show_evaluation(output(), found)


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: Annotated[Path, typer.Argument(help="A folded table.")],
    out: Annotated[Path, typer.Option(help="Parquet file of scores.")],
    split: Annotated[str | None, typer.Option(help="One split; all by default.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="best or last.")] = None,
    nproc: NumProcesses = 1,
) -> None:
    """Score every sample of a folded table into a Parquet file with the logs' own keys.

    Example: recfold predict runs/a folded --out scores.parquet
    """
    from recfold.train import predict as predict_run
    from recfold.train import silent

    if nproc > 1:
        start_ranks(nproc)
    with joined() as prints, ShownProgress(errors()) as progress:
        own = progress if prints else silent
        written = predict_run(run, data, out, split=split, checkpoint=checkpoint, progress=own)
    if prints:
        output().print(f"{written}", highlight=False)


def explain(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    table: Annotated[Path | None, typer.Argument(help="Its folded table, if it was moved.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="best or last.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON instead.")] = False,
) -> None:
    """Show what the folded model computed on how many rows, operation by operation, on one training batch: forward
    floating-point operations used of those that an ordinary model needs, and where and why something was unfolded.

    Examples: recfold explain runs/a · recfold explain runs/a folded --json
    """
    from recfold.cli.show_explanation import explanation_json, show_explanation
    from recfold.train import explain_run

    found = explain_run(run, table, checkpoint=checkpoint)
    if as_json:
        typer.echo(explanation_json(found))
    else:
        show_explanation(output(), found)


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    table: Annotated[Path | None, typer.Option(help="Its folded table, if it was moved.")] = None,
    out: Annotated[Path | None, typer.Option(help="The page; RUN/report.html by default.")] = None,
) -> None:
    """Write report.html again: what was folded, the training curve, metrics, throughput, settings.

    Example: recfold report runs/a
    """
    from recfold.report import report as write_report

    output().print(f"{write_report(run, table, out)}", highlight=False)


def run(
    recipe: Annotated[str, typer.Argument(help="demo, sequence, ebnerd, mind, movielens or own.")],
    out: Annotated[Path, typer.Option(help="Folder for all of it.")],
    logs: Annotated[Path | None, typer.Option(help="Your logs, for a recipe that generates none.")] = None,
    overrides: Set = None,
) -> None:
    """Run a recipe: logs, fold, inspect, train, evaluate, report.html. Called again it goes on where it stopped.

    Examples: recfold run demo --out demo · recfold run ebnerd --logs ebnerd_demo --out news
    """
    from recfold.cli.show import show_inspection
    from recfold.cli.show_evaluation import show_evaluation
    from recfold.recipes import RECIPES, run_recipe
    from recfold.report import report as write_report

    if recipe not in RECIPES:
        raise unknown("recipe", recipe, RECIPES)
    settings = apply_overrides(RECIPES[recipe], overrides or [])
    console, side = output(), errors()
    with ShownProgress(side) as progress:
        made = run_recipe(settings, out, logs=logs, progress=progress, say=lambda line: side.print(line))
    show_inspection(console, made.inspection)
    if made.evaluation is not None:
        show_evaluation(console, made.evaluation)
    if made.bayes_auc is not None:
        console.print(f"the best possible AUC on these generated samples is {made.bayes_auc:.4f}", highlight=False)
    console.print(f"report: {write_report(made.run, made.table)}", highlight=False)
