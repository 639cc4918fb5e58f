"""The verb that learns what this machine takes: cost collect, cost fit. Rooms are imported inside."""

from pathlib import Path
from typing import Annotated

import typer

from recfold.cli.console import errors, output
from recfold.cli.place import read_gb
from recfold.cli.progress import ShownProgress

app = typer.Typer(
    name="cost",
    help="Measure this machine, and train the networks that plans are rated with.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(no_args_is_help=True)
def collect(
    out: Annotated[Path, typer.Option(help="Folder for the measurements.")],
    sets: Annotated[int, typer.Option(min=1, help="Sets of tables to measure.")] = 2000,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so long, with the sets there are.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the folder's measurements.")] = False,
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is one.")] = "cpu",
    memory_gb: Annotated[float, typer.Option(min=0.1, help="For tables while they are measured (10^9 bytes).")] = 1.5,
    ranks: Annotated[
        list[int] | None,
        typer.Option(min=2, help="Time the exchange between so many processes. Repeatable.", show_default="2 and 4"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the tables and sets.")] = 0,
) -> None:
    """Time the lookup, backward and update of sets of tables on this machine, and the exchange between processes.

    One core works; half an hour gives about 2,000 sets. It can be stopped at any time, and goes on with --resume.

    Example: recfold cost collect --out measured --seconds 1800
    """
    from recfold.plan.cost.collect import Collection
    from recfold.plan.cost.collect import collect as measure

    what = Collection(
        sets=sets,
        seconds=seconds,
        seed=seed,
        device=device,
        memory_bytes=read_gb("--memory-gb", memory_gb),
        ranks=tuple(ranks or (2, 4)),
    )
    with ShownProgress(errors()) as progress:
        done = measure(out, what, resume=resume, progress=progress)
    output().print(f"{done:,} measurements in {out}", highlight=False)


@app.command(no_args_is_help=True)
def fit(
    measured: Annotated[Path, typer.Argument(help="Folder of recfold cost collect.")],
    out: Annotated[Path | None, typer.Option(help="model.safetensors to write; a .json goes beside it.")] = None,
    ablation: Annotated[bool, typer.Option("--ablation", help="Train again without each feature.")] = False,
    epochs: Annotated[int, typer.Option(min=1, help="At most; it stops when the error falls no more.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Of the first weights and the order.")] = 0,
) -> None:
    """Train the cost networks on measurements, and print how far they err on tables they have not seen.

    Example: recfold cost fit measured --out model.safetensors --ablation
    """
    from recfold.cli.show_cost import show_fitted
    from recfold.plan.cost.fit import fit as train
    from recfold.plan.cost.network import Training
    from recfold.plan.cost.neural import check_writable

    if out is not None:
        check_writable(out)  # before minutes of training
    with ShownProgress(errors()) as progress:
        fitted = train(measured, Training(epochs=epochs, seed=seed), ablation=ablation, tell=progress)
    show_fitted(output(), fitted)
    if out is not None:
        fitted.cost.save(out)
        output().print(f"{out}", highlight=False)
