"""Case `scaling`: steps per second on 1, 2 and 4 ranks of one machine, each with a batch of its own."""

import statistics
from collections.abc import Sequence
from contextlib import ExitStack

from recfold.bench.exchange.cases import LOOPBACK
from recfold.bench.exchange.steps import (
    REPEATS,
    STEPS,
    Turns,
    batch_numbers,
    exchange_facts,
    rank_world,
)
from recfold.bench.measurement import Measurement
from recfold.bench.settings import BenchSettings
from recfold.bench.training.parity import TOLERANCES
from recfold.bench.work import Work

WORLDS = (1, 2, 4)
OURS = "recfold"
ONE_RANK = "one-rank"
"""The peer of every number of ranks."""


def scaling_measurements(names: Sequence[str], work: Work, settings: BenchSettings) -> list[Measurement]:
    """Worlds of all sizes are there together and take turns; the peer of each is one rank.

    `ratio` is steps per second against one rank: 1 where as many ranks as there are take no longer than one with its
    batch alone, so that samples per second grow with the ranks.
    """
    repeats = settings.repeats or REPEATS
    with ExitStack() as stack:
        worlds = {ranks: stack.enter_context(rank_world(LOOPBACK, ranks, work, settings)) for ranks in WORLDS}
        turns = {ranks: Turns() for ranks in WORLDS}
        for world in worlds.values():
            world.ask("build", side=OURS)
            world.ask("train", side=OURS, batches=batch_numbers(world, 0, len(TOLERANCES)))
        for turn in range(repeats):
            first = turn % len(WORLDS)
            for ranks in (*WORLDS[first:], *WORLDS[:first]):
                batches = batch_numbers(worlds[ranks], turn * STEPS, STEPS)
                turns[ranks].add(worlds[ranks].ask("train", side=OURS, batches=batches), STEPS)
            if work.progress is not None:
                work.progress("scaling: turns", turn + 1, repeats)
        facts = {ranks: exchange_facts(world, settings) for ranks, world in worlds.items()}
    per_s = {ranks: 1 / statistics.median(own.seconds) for ranks, own in turns.items()}
    alone = per_s[WORLDS[0]]
    return [
        Measurement(
            "exchange",
            "scaling",
            "steps_per_s",
            own,
            alone,
            ONE_RANK,
            own / alone,
            "steps/s",
            {
                **facts[ranks],
                "link": LOOPBACK,
                "codec": "fp32",
                "samples_per_s": own * ranks * settings.batch_size,
                "bytes_by_kind": {"ours": turns[ranks].by_kind(ranks * settings.batch_size)},
            },
        )
        for ranks, own in per_s.items()
    ]
