"""The verb that measures: bench. Rooms are imported inside, so that --help is quick."""

from pathlib import Path
from typing import Annotated

import typer

from recfold.cli.console import errors, output
from recfold.cli.progress import ShownProgress


def bench(
    name: Annotated[str, typer.Argument(help="storage, fold or reader.")],
    samples: Annotated[int, typer.Option(help="Rows of the generated impressions log.")] = 1_000_000,
    workload: Annotated[str, typer.Option(help="As for recfold synth.")] = "pooled",
    seed: Annotated[int, typer.Option(help="Of the logs and of the reader's order.")] = 0,
    repeats: Annotated[
        int | None, typer.Option(help="Turns of each side; 5 for reader and 3 for fold by default.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Working folder to keep and use again; a temporary one by default.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a table.")] = False,
) -> None:
    """Measure recfold against its peers, in turns and on the same generated logs; both do the same, or it stops.

    Examples: recfold bench storage --samples 100000 · recfold bench reader --dir bench --repeats 7 --json
    """
    from recfold.bench import BenchSettings, run_bench
    from recfold.cli.show_bench import show_bench

    given = {"samples": samples, "workload": workload, "seed": seed, "repeats": repeats, "folder": folder}
    settings = BenchSettings.parse(given, "recfold bench")
    with ShownProgress(errors()) as progress:
        found = run_bench(name, settings, progress=progress)
    if json:
        for measurement in found:
            typer.echo(measurement.to_json())
    else:
        show_bench(output(), found)
