"""Measures sets until there are enough: in the background, for minutes, on a machine that may be stopped."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from recfold.plan.cost.hardware import hardware, hardware_line
from recfold.plan.cost.measured import Stopwatch
from recfold.plan.cost.measured_exchange import measure_exchanges
from recfold.plan.cost.samples import (
    EXCHANGES,
    HARDWARE,
    SETS,
    Sample,
    drop_torn_line_,
    piece_columns,
    read_lines,
    read_samples,
    to_line,
)
from recfold.plan.cost.sets import SetDraw, draw_set
from recfold.plan.pool import table_pool, train_and_test
from recfold.spec import InputError

UNSEEN_EVERY = 5
MORE_POOLS, POOL_SEEDS = 8, 1000
LATER = 25
"""Sets between two turns of one set: the machine is another one by then, if others use it."""


class CollectProgress(Protocol):
    """Is told how many sets of how many are measured."""

    def __call__(self, what: str, done: int, total: int | None, **details: float) -> None: ...


def silent(what: str, done: int, total: int | None, **details: float) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Turn:
    """Set `number`, measured for the `turn`-th time (from 0)."""

    number: int
    turn: int


@dataclass(frozen=True)
class Collection:
    """What is measured.

    Args:
        sets: how many sets.
        seconds: it ends after so many, with the sets that there are; None for no limit.
        seed: of tables and sets.
        device: `cpu` or a CUDA device.
        memory_bytes: for weights.
        ranks: groups of processes whose exchanges are timed, after the sets.
        exchanges: sizes that are exchanged by each group.
    """

    sets: int = 2000
    seconds: float | None = None
    seed: int = 0
    device: str = "cpu"
    memory_bytes: int = 1_500_000_000
    ranks: tuple[int, ...] = (2, 4)
    exchanges: int = 40


def turns(sets: int) -> Iterator[Turn]:
    """What is measured one after the other: every set once, and every fifth, of unseen tables, again some sets later,
    with other ids: how far the two differ is the repeat noise.

    >>> [(turn.number, turn.turn) for turn in turns(2)]
    [(0, 0), (1, 0), (0, 1)]
    """
    for number in range(sets + LATER):
        if number < sets:
            yield Turn(number, 0)
        again = number - LATER
        if 0 <= again < sets and _is_unseen(again):
            yield Turn(again, 1)


def collect(
    folder: Path,
    what: Collection = Collection(),
    *,
    resume: bool = False,
    progress: CollectProgress = silent,
) -> int:
    """Measure sets and write them.

    Args:
        folder: gets `sets.jsonl`, `exchanges.jsonl` and `hardware.json`.
        resume: go on with what is there.
    Returns:
        Measurements of sets in the file.
    Raises:
        InputError: a folder that is not empty without `resume`, or one of other hardware or another draw of sets.
    """
    _claim(folder, what, resume)
    done = _collect_sets(folder / SETS, what, progress)
    _collect_exchanges(folder / EXCHANGES, what, progress)
    return done


def _collect_sets(path: Path, what: Collection, progress: CollectProgress) -> int:
    drop_torn_line_(path)
    done = {Turn(sample.number, sample.turn) for sample in read_samples(path)}
    wanted = list(turns(what.sets))
    left = [turn for turn in wanted if turn not in done]
    if not left:
        return len(done)
    train, unseen = train_and_test(table_pool(what.seed), what.seed)
    # tables of other pools are other tables: the more of them a network has seen, the less it takes them for all
    trained = [train, *(table_pool(what.seed + POOL_SEEDS + number) for number in range(MORE_POOLS))]
    stopwatch = Stopwatch(device=what.device, memory_bytes=what.memory_bytes)
    started, total = time.monotonic(), len(wanted)
    how = SetDraw(what.seed, what.memory_bytes)
    with path.open("a", encoding="utf-8") as file:
        for number, turn in enumerate(left):
            if what.seconds is not None and time.monotonic() - started > what.seconds:
                break
            is_unseen = _is_unseen(turn.number)
            pieces = draw_set(unseen if is_unseen else trained[turn.number % len(trained)], turn.number, how)
            timing = stopwatch.measure(pieces, seed=16 * turn.number + turn.turn)
            sample = Sample(
                turn.number,
                turn.turn,
                is_unseen,
                piece_columns(pieces),
                timing.forward_ms / timing.ms,
                timing.wall_ms,
                timing.repeats_ms,
                timing.probes_ms,
            )
            file.write(to_line(sample))
            file.flush()
            done.add(turn)
            gone = time.monotonic() - started
            progress("measure sets", len(done), total, seconds_left=gone / (number + 1) * (len(left) - number - 1))
    return len(done)


def _collect_exchanges(path: Path, what: Collection, progress: CollectProgress) -> None:
    """Groups that the file does not hold yet; each group's lines are written at once."""
    drop_torn_line_(path)
    held = {own["ranks"] for own in read_lines(path)}
    for number, ranks in enumerate(what.ranks):
        if ranks not in held:
            lines = [json.dumps(own) + "\n" for own in measure_exchanges(ranks, what.exchanges, what.seed)]
            with path.open("a", encoding="utf-8") as file:
                file.write("".join(lines))
        progress("measure exchanges", number + 1, len(what.ranks))


def _is_unseen(number: int) -> bool:
    return number % UNSEEN_EVERY == 0


def _claim(folder: Path, what: Collection, resume: bool) -> None:
    """Write what the folder is about, or check that it is that."""
    own = {**hardware(what.device), "seed": what.seed, "memory_bytes": what.memory_bytes}
    path = folder / HARDWARE
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder} is not empty and holds no measurements", todo="name a new folder")
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(own, indent=2) + "\n", encoding="utf-8")
        return
    if not resume:
        raise InputError(f"{folder} holds measurements", todo="add --resume to go on, or name a new folder")
    held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for name, value in own.items():
        if held.get(name) != value:
            raise InputError(
                f"the measurements in {folder} are of another {name}",
                got=str(value),
                expected=str(held.get(name)),
                todo=f"name a new folder for {hardware_line(own)}",
            )
