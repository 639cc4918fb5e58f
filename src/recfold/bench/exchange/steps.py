"""Whole training steps on several ranks against peers, and what each sends a sample."""

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from recfold.bench.exchange.cases import StepCase, exchange_run, step_case
from recfold.bench.exchange.network import places
from recfold.bench.exchange.world import World, open_world
from recfold.bench.facts import machine_facts, peer_versions
from recfold.bench.measurement import Measurement
from recfold.bench.settings import BenchSettings
from recfold.bench.training.parity import TOLERANCES
from recfold.bench.work import Work
from recfold.plan.interop.modules import torchrec_distributed
from recfold.spec import InputError

REPEATS = 8
"""Turns of each side."""
STEPS = 4
"""Training steps of a turn, one right after the other: a side may begin the next one early."""
LOSSY = 5e-3
"""Largest relative difference of the loss where rows travel rounded."""
DENSE, NUMBERS = "dense", "numbers"
"""Kinds that are no sparse traffic: all-reduces of the dense part; a few numbers a step that ranks tell each other."""


@dataclass
class Turns:
    """What the turns of one side took.

    Args:
        seconds: a step, that of the slowest rank, of each turn.
        cpu_seconds: a step, that of the busiest rank, of each turn.
        sent: bytes of all ranks and turns by kind.
        waited_ms: a step, the mean of ranks, of each turn; empty where the side does not know.
        steps: in all turns.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    waited_ms: list[float] = field(default_factory=list)
    steps: int = 0

    def add(self, answers: Sequence[Mapping[str, Any]], steps: int) -> None:
        """Add a turn: an answer of each rank."""
        self.seconds.append(max(own["seconds"] for own in answers) / steps)
        self.cpu_seconds.append(max(own["cpu_seconds"] for own in answers) / steps)
        for own in answers:
            self.sent.update(own["sent"])
        waits = [own["waited_ms"] for own in answers if own["waited_ms"] is not None]
        if waits:
            self.waited_ms.append(statistics.mean(waits) / steps)
        self.steps += steps

    def by_kind(self, samples: int) -> dict[str, float]:
        """Bytes a sample.

        Args:
            samples: of all ranks in a step.
        """
        return {kind: num_bytes / (self.steps * samples) for kind, num_bytes in sorted(self.sent.items())}


def step_measurements(names: Sequence[str], work: Work, settings: BenchSettings) -> list[Measurement]:
    """Cases that time steps; those over one link share its ranks and its turns."""
    cases = [step_case(name, settings) for name in names]
    missing = _torchrec_missing(cases)
    found = []
    for link in dict.fromkeys(case.link for case in cases):
        own = [_without(case, missing, work) for case in cases if case.link == link]
        with rank_world(link, settings.nproc, work, settings) as world:
            found += _measured(own, world, work, settings)
    return found


@contextmanager
def rank_world(link: str, ranks: int, work: Work, settings: BenchSettings) -> Iterator[World]:
    """Ranks with batches of the workload in memory."""
    of = work.of("pooled", None)
    with places(link, ranks) as found:
        task = {
            "table": of.table().path,
            "run": exchange_run(settings),
            "table_rows": settings.table_rows,
            "batches": max(STEPS, len(TOLERANCES)) * 2,
        }
        _say(work, f"start {ranks} ranks ({link})")
        with open_world(found, **task) as world:
            yield world


def check_same_losses(world: World, sides: Iterable[str]) -> list[float]:
    """Train every side on the first batches; this also warms them up.

    Returns:
        The losses of the first side.
    Raises:
        InputError: two sides disagree, so that no figure would mean anything.
    """
    batches = batch_numbers(world, 0, len(TOLERANCES))
    losses = {side: _mean_losses(world.ask("train", side=side, batches=batches)) for side in sides}
    ours = next(iter(losses))
    for side, own in losses.items():
        rounds = any(name.startswith("recfold-") for name in (ours, side))
        for step, (loss, expected, tolerance) in enumerate(zip(own, losses[ours], TOLERANCES, strict=True)):
            allowed = LOSSY if rounds else tolerance
            if not abs(loss - expected) <= allowed * abs(expected):
                raise InputError(
                    f"{side} does not train what {ours} trains: another loss at step {step + 1}",
                    got=f"{loss:.8g}",
                    expected=f"{expected:.8g} within {allowed:g} of it",
                    todo="report this",
                )
    return losses[ours]


def batch_numbers(world: World, first: int, count: int) -> list[int]:
    """Numbers of so many batches; they are used again where there are fewer."""
    return [(first + step) % world.about[0]["batches"] for step in range(count)]


def exchange_facts(world: World, settings: BenchSettings) -> dict[str, Any]:
    """What is needed to get the figures of a world again."""
    machine = machine_facts()
    return {
        "workload": "pooled",
        "samples": settings.samples,
        "seed": settings.seed,
        "batch_size": settings.batch_size,
        "table_rows": settings.table_rows,
        "nproc": len(world.about),
        "threads": 1,
        "repeats": settings.repeats or REPEATS,
        "steps_per_turn": STEPS,
        "dedup_factors": world.about[0]["dedup_factors"],
        "batches": world.about[0]["batches"],
        "run": exchange_run(settings).model_dump(mode="json"),
        **machine,
        "versions": machine["versions"] | peer_versions(),
    }


def _measured(cases: Sequence[StepCase], world: World, work: Work, settings: BenchSettings) -> list[Measurement]:
    sides = list(dict.fromkeys(name for case in cases for name in (case.ours, *case.peers)))
    for side in sides:
        _say(work, f"build {side}")
        world.ask("build", side=side)
    _say(work, "compare the losses of all sides")
    losses = check_same_losses(world, sides)
    turns = _turns(world, sides, work, settings.repeats or REPEATS)
    facts = {**exchange_facts(world, settings), "first_losses": losses}
    samples = settings.batch_size * settings.nproc
    return [line for case in cases for peer in case.peers for line in _lines(case, peer, turns, samples, facts)]


def _turns(world: World, sides: Sequence[str], work: Work, repeats: int) -> dict[str, Turns]:
    """Every side on the same batches in each turn; every turn begins with another side."""
    found = {side: Turns() for side in sides}
    for turn in range(repeats):
        batches, first = batch_numbers(world, turn * STEPS, STEPS), turn % len(sides)
        for side in [*sides[first:], *sides[:first]]:
            found[side].add(world.ask("train", side=side, batches=batches), STEPS)
        if work.progress is not None:
            work.progress("exchange: turns", turn + 1, repeats)
    return found


def _lines(
    case: StepCase, peer: str, turns: Mapping[str, Turns], samples: int, facts: Mapping[str, Any]
) -> list[Measurement]:
    ours, theirs = turns[case.ours], turns[peer]
    own_kinds, peer_kinds = ours.by_kind(samples), theirs.by_kind(samples)
    about = {**facts, "link": case.link, "codec": case.ours.removeprefix("recfold").lstrip("-") or "fp32"}
    ratios = [other / own for own, other in zip(ours.seconds, theirs.seconds, strict=True)]
    times: dict[str, Any] = {
        "interval": [min(ratios), max(ratios)],
        "cpu_ms": {"ours": _median_ms(ours.cpu_seconds), "peer": _median_ms(theirs.cpu_seconds)},
    }
    if ours.waited_ms and theirs.waited_ms:
        waited = statistics.median(ours.waited_ms), statistics.median(theirs.waited_ms)
        times |= {"waited_ms": {"ours": waited[0], "peer": waited[1]}, "hidden_ms": waited[1] - waited[0]}
    own_ms, peer_ms = _median_ms(ours.seconds), _median_ms(theirs.seconds)
    own_bytes, peer_bytes = _sparse(own_kinds), _sparse(peer_kinds)
    kinds = {"bytes_by_kind": {"ours": own_kinds, "peer": peer_kinds}}
    return [
        _line(case, peer, "step_ms", own_ms, peer_ms, "ms", about | times),
        _line(case, peer, "bytes_per_sample", own_bytes, peer_bytes, "bytes", about | kinds),
    ]


def _line(
    case: StepCase, peer: str, metric: str, ours: float, theirs: float, unit: str, about: Mapping[str, Any]
) -> Measurement:
    return Measurement("exchange", case.name, metric, ours, theirs, peer, theirs / ours, unit, about)


def _sparse(by_kind: Mapping[str, float]) -> float:
    return sum(num_bytes for kind, num_bytes in by_kind.items() if kind not in (DENSE, NUMBERS))


def _median_ms(seconds: Sequence[float]) -> float:
    return 1e3 * statistics.median(seconds)


def _mean_losses(answers: Sequence[Mapping[str, Any]]) -> list[float]:
    """Loss of each step over all ranks, whose batches have as many samples."""
    return [statistics.mean(step) for step in zip(*(own["losses"] for own in answers), strict=True)]


def _torchrec_missing(cases: Sequence[StepCase]) -> InputError | None:
    if not any(peer.startswith("torchrec") for case in cases for peer in case.peers):
        return None
    try:
        torchrec_distributed()
    except InputError as error:
        return error
    return None


def _without(case: StepCase, missing: InputError | None, work: Work) -> StepCase:
    """The case without peers that are not installed.

    Raises:
        InputError: no other peer is left.
    """
    if missing is None:
        return case
    left = tuple(peer for peer in case.peers if not peer.startswith("torchrec"))
    if not left:
        raise missing
    work.tell(f"{case.name}: the peers torchrec-* are left out: {missing}")
    return StepCase(case.name, case.link, case.ours, left)


def _say(work: Work, what: str) -> None:
    if work.progress is not None:
        work.progress(f"exchange: {what}", 0, None)
