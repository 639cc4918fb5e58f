"""How a verb runs on several ranks: it starts them, or is one of them and keeps quiet unless it is the first."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import typer

from recfold.cli.console import errors
from recfold.spec import InputError

T = TypeVar("T")
SECONDS_FOR_THE_SPEAKER = 1.0
RESTARTS = 3


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """What came of reading arguments: a value, or why it was refused. On several ranks one speaks for all."""

    value: T | None = None
    refusal: InputError | None = None

    def get(self) -> T:
        """The value; raises the refusal."""
        if self.refusal is not None:
            raise self.refusal
        return cast(T, self.value)


def attempt(read: Callable[[], T]) -> Attempt[T]:
    """Read arguments, and keep what is wrong with them for later."""
    try:
        return Attempt(read())
    except InputError as error:
        return Attempt(refusal=error)


def start_ranks(nproc: int, arguments: Attempt[Any] = Attempt(), out: Path | None = None) -> None:
    """Start this very command as `nproc` ranks, unless this process is one of them; does not return then.

    Args:
        arguments: that must be right before any rank is started.
        out: folder of the run that a restart goes on with, unless it was there before.
    """
    from recfold.train.ranks import is_rank

    if is_rank():
        return
    arguments.get()
    from recfold.train.launch import launch

    new = out if out is not None and not is_run(out) else None

    def again(arguments: Sequence[str]) -> Sequence[str]:
        return arguments if new is None or "--resume" in arguments or not is_run(new) else [*arguments, "--resume"]

    def say(line: str) -> None:
        errors().print(f"recfold: {line}", highlight=False, soft_wrap=True)

    raise typer.Exit(launch(sys.argv[1:], nproc=nproc, restarts=RESTARTS, on_restart=again, say=say))


def is_run(out: Path) -> bool:
    """Whether a run was started in a folder."""
    return (out / "settings.json").exists()


@contextmanager
def joined(device: str = "auto", timeout_s: float = 600.0, refusal: InputError | None = None) -> Iterator[bool]:
    """Join the other ranks, if there are any; yields whether this rank prints.

    Args:
        device, timeout_s: of the run.
        refusal: what is wrong with the arguments of this rank; then none goes on.

    Of an error one rank speaks. The others wait a moment: the launcher ends all ranks when it sees the first go.
    """
    from recfold.train.launch import LOST_RANK
    from recfold.train.ranks import LostRank, OtherRankFailed, is_rank, losses, process_group

    first = True
    try:
        with losses() if is_rank() else nullcontext(), process_group(device, timeout_s) as ranks:
            first = ranks.is_first
            ranks.together(Attempt(True, refusal).get)
            yield first
    except OtherRankFailed:
        time.sleep(SECONDS_FOR_THE_SPEAKER)
        raise typer.Exit(1) from None
    except LostRank as error:
        time.sleep(SECONDS_FOR_THE_SPEAKER)
        if "timed out" in str(error).lower():
            errors().print(f"recfold: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(LOST_RANK) from None
    except InputError as error:
        if first or not str(error).startswith("on rank "):
            raise
        time.sleep(SECONDS_FOR_THE_SPEAKER)  # every rank has this one: the first says it
        raise typer.Exit(1) from None
