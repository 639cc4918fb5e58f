"""The entry point: verbs in the order of a run, errors as one line, exit codes 0, 1 (bad input) and 2 (usage)."""

import os
import sys
from collections.abc import Callable

import typer

import recfold
from recfold.cli import cost, data, learn, measure, place, simulate
from recfold.cli.console import errors, output
from recfold.spec import InputError

app = typer.Typer(
    name="recfold",
    help="Train recommendation models on every distinct thing once.\n\nA whole run: recfold run demo --out demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS: tuple[Callable[..., None], ...] = (
    data.synth,
    data.fold,
    data.inspect,
    data.expand,
    learn.train,
    learn.evaluate,
    learn.predict,
    learn.explain,
    learn.report,
    place.export,
    place.plan,
    simulate.simulate,
    measure.bench,
    learn.run,
)
for verb in VERBS:
    app.command(no_args_is_help=True)(verb)
app.add_typer(cost.app, name="cost")


def _print_version(wanted: bool) -> None:
    if wanted:
        output().print(f"recfold {recfold.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """Run the command line and exit."""
    try:
        app()
    except InputError as error:
        _fail(str(error))
    except BrokenPipeError:
        # whoever read our output has gone; say nothing more, not even when Python flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        # the disk is full, a permission is missing: the machine's state, not a defect of the program
        _fail(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
    except KeyboardInterrupt:
        errors().print("recfold: interrupted", style="red", highlight=False)
        sys.exit(130)


def _fail(line: str) -> None:
    errors().print(f"recfold: {line}", style="red", highlight=False, markup=False, soft_wrap=True)
    sys.exit(1)
