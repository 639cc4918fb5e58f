"""plan: the measured slowest device of `best` next to that of every other search and of TorchRec's planner."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recfold.bench.facts import code_digest, peer_versions
from recfold.bench.measurement import Measurement
from recfold.bench.plan.clocked import Clock, ClockedSets
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
    puts on a device is measured, on one thread, as if it was alone; a task's sets in a random order. Devices that may
    be the slowest are measured again in further turns, when all tasks had theirs; the mean of the turns counts.

    Args:
        clock: what times; a `Stopwatch` where not given.
    Raises:
        InputError: no such case or side.
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
    return [
        line
        for case in cases
        for line in measurements(
            case, [own for own in figures if own.case == case], settings, len(turns), clocked.noise(turns)
        )
    ]


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
    """One turn of a task: all sets, or those that may be the slowest of a side."""
    sets = set()
    for found in own.answers.values():
        if found.assignment is None:
            continue
        devices = found.devices(own.task)
        if turn:
            ms = [clocked.ms(pieces, range(turn)) for pieces in devices]
            devices = [pieces for pieces, took in zip(devices, ms, strict=True) if took >= SLOW * max(ms)]
        sets.update(devices)
    ordered = sorted(sets, key=lambda pieces: [(piece.table.name, piece.rows, piece.columns) for piece in pieces])
    random.Random(f"{seed} {own.case} {own.number} {turn}").shuffle(ordered)
    for pieces in ordered:
        clocked.measure(pieces, turn)


def _figures(own: _Played, clocked: ClockedSets, turns: Sequence[int]) -> TaskFigures:
    measured = {
        side: [clocked.ms(pieces, turns) for pieces in found.devices(own.task)]
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
