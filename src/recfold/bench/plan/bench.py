"""plan: the measured slowest device of `best` next to that of every other search and of TorchRec's planner."""

import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recfold.bench.facts import code_digest, peer_versions
from recfold.bench.measurement import Measurement
from recfold.bench.plan.clocked import Clock, ClockedSets, Pieces
from recfold.bench.plan.figures import TaskFigures, measurements
from recfold.bench.plan.found import OURS, SIDES, TORCHREC, Answers, Found
from recfold.bench.plan.tasks import CASES, bench_task
from recfold.bench.settings import BenchSettings
from recfold.bench.training.torchrec_modules import torchrec_modules
from recfold.bench.work import Work
from recfold.plan.bound import gap
from recfold.plan.cost import shipped_cost
from recfold.plan.task import Task
from recfold.spec import InputError, unknown

TURNS = 2
"""Times that a set is measured, with other ids each time: all of them first, then those that are slow, see `plan`."""

COULD_BE = 0.8
"""Of what the slowest device of a side is predicted to take: devices of as much are measured. Predictions of devices of
one task stray by 6 % from what is measured once, so that the slowest one is among these."""

SLOW = 0.9
"""Of what the slowest device of a side took: devices that took as much, so far, are measured in further turns."""


@dataclass(frozen=True)
class _Played:
    """A task and the answers of all sides to it."""

    case: str
    number: int
    task: Task
    answers: dict[str, Found]


def plan(work: Work, settings: BenchSettings, clock: Clock | None = None) -> list[Measurement]:
    """Cases `no-splits` and `splits`.

    Each side plans each task by the cost that ships, or as TorchRec does. Then every set of pieces that some side
    puts on a device is measured, on one thread, as if it was alone, where it could be the side's slowest (`COULD_BE`):
    one repeat of each of a task's sets, in random order, then the next of each. Those that still may be the slowest
    are measured again in further turns (`SLOW`), when all tasks had theirs; the mean of the turns counts. What others
    take, for the balance, is predicted, and scaled by what those that are measured take of their prediction.

    Args:
        clock: what times; a `Stopwatch` where not given.
    Raises:
        InputError: no such case or side, or no side but ours that is installed or plans any task.
    """
    for name in settings.cases:
        if name not in CASES:
            raise unknown("case of plan", name, CASES)
    for name in settings.peers:
        if name not in SIDES or name == OURS:
            raise unknown("peer of plan", name, [side for side in SIDES if side != OURS])
    cases = settings.cases or tuple(CASES)
    sides = [OURS, *(name for name in settings.peers or SIDES if name != OURS)]
    if TORCHREC in sides and not _installed(work):
        sides.remove(TORCHREC)
    if sides == [OURS]:
        raise InputError("no peer of plan is left to measure against", todo="install TorchRec with `make peers`")
    folder = work.folder / "plan"
    folder.mkdir(parents=True, exist_ok=True)
    clocked = ClockedSets(folder / "sets.jsonl", clock)
    played = list(_played(work, settings, cases, sides, Answers(folder / "plans.jsonl", _code)))
    turns = range(settings.repeats or TURNS)
    for turn in turns:
        for number, own in enumerate(played):
            _measure(own, clocked, turn, settings.seed)
            if work.progress is not None:
                work.progress(f"measure, turn {turn + 1} of {len(turns)}", number + 1, len(played))
    figures = [_figures(own, clocked, turns) for own in played]
    for side in sides:
        failed = [own for own in figures if side in own.failures]
        if failed:
            work.tell(f"{side} fails in {len(failed)} of {len(figures)} tasks: {failed[0].failures[side]}")
    found = [
        line
        for case in cases
        for line in measurements(
            case, [own for own in figures if own.case == case], settings, len(turns), clocked.noise(turns)
        )
    ]
    if not found:
        raise InputError(f"no task was planned by {OURS} and by a peer", got=f"{len(figures)} tasks")
    return found


def _installed(work: Work) -> bool:
    try:
        torchrec_modules()
    except InputError as error:
        work.tell(f"the peer torchrec is left out: {error}")
        return False
    return True


def _code(side: str) -> str:
    """What an answer depends on."""
    return peer_versions()["torchrec"] if side == TORCHREC else code_digest("plan")


def _played(
    work: Work, settings: BenchSettings, cases: Sequence[str], sides: Sequence[str], answers: Answers
) -> Iterator[_Played]:
    for case in cases:
        for number in range(settings.tasks):
            task = bench_task(case, number, settings.seed, settings.task_tables)
            found = {side: answers.get(side, case, number, task, settings.seed) for side in sides}
            if work.progress is not None:
                work.progress(f"{case}: plan", number + 1, settings.tasks)
            yield _Played(case, number, task, found)


def _measure(own: _Played, clocked: ClockedSets, turn: int, seed: int) -> None:
    """One turn of a task: the sets that may be the slowest of a side."""
    sets: set[Pieces] = set()
    for found in own.answers.values():
        if found.assignment is None:
            continue
        devices = found.devices(own.task)
        ms = clocked_ms(devices, clocked, turn) if turn else predicted_ms(devices)
        share = SLOW if turn else COULD_BE
        sets.update(pieces for pieces, took in zip(devices, ms, strict=True) if took >= share * max(ms))
    ordered = sorted(sets, key=lambda pieces: [(piece.table.name, piece.rows, piece.columns) for piece in pieces])
    random.Random(f"{seed} {own.case} {own.number} {turn}").shuffle(ordered)
    clocked.measure(ordered, turn)


def predicted_ms(devices: Sequence[Pieces]) -> list[float]:
    """What the cost that ships says of each device; 0 of one without pieces."""
    cost = shipped_cost()
    sums = np.stack([cost.rows(pieces).sum(0) for pieces in devices])
    return [ms if pieces else 0.0 for ms, pieces in zip(cost.ms(sums).tolist(), devices, strict=True)]


def clocked_ms(devices: Sequence[Pieces], clocked: ClockedSets, turns: int) -> list[float]:
    """What each device took in so many turns; predicted and scaled where it was not measured."""
    predicted = predicted_ms(devices)
    measured = [clocked.each_ms(pieces, range(turns)) for pieces in devices]
    scale = statistics.median(
        statistics.fmean(own) / said for own, said in zip(measured, predicted, strict=True) if own and said > 0
    )
    return [statistics.fmean(own) if own else scale * said for own, said in zip(measured, predicted, strict=True)]


def _figures(own: _Played, clocked: ClockedSets, turns: Sequence[int]) -> TaskFigures:
    measured = {
        side: clocked_ms(found.devices(own.task), clocked, len(turns))
        for side, found in own.answers.items()
        if found.assignment is not None
    }
    ours = own.answers[OURS].assignment
    return TaskFigures(
        case=own.case,
        device_ms=measured,
        seconds={side: found.seconds for side, found in own.answers.items()},
        failures={side: found.failure for side, found in own.answers.items() if found.failure},
        gap=None if ours is None else gap(ours, own.task, shipped_cost()),
    )
