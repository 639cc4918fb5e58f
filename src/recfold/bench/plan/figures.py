"""What a side's devices took over tasks, as lines: medians, their intervals, ratios task by task."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recfold.bench.facts import machine_facts, peer_versions
from recfold.bench.measurement import Measurement
from recfold.bench.plan.found import OURS, SIDES
from recfold.bench.settings import BenchSettings
from recfold.plan.cost import shipped_cost
from recfold.plan.cost.hardware import hardware_line

DRAWS = 10_000
COVERED = 0.95
"""Of the intervals."""


@dataclass(frozen=True)
class TaskFigures:
    """One task.

    Args:
        device_ms: side -> measured milliseconds of each device; without sides that failed.
        seconds: side -> time to plan.
        failures: side -> why it failed.
        gap: predicted slowest device of ours over the lower bound, less 1.
    """

    case: str
    device_ms: Mapping[str, Sequence[float]]
    seconds: Mapping[str, float]
    failures: Mapping[str, str]
    gap: float | None

    def slowest_ms(self, side: str) -> float:
        return max(self.device_ms[side])

    def balance(self, side: str) -> float:
        """Fastest over slowest device."""
        return min(self.device_ms[side]) / max(self.device_ms[side])

    def over_mean(self, side: str) -> float:
        """Slowest over mean device: a plan that spread this side's own milliseconds evenly would be so much better."""
        return max(self.device_ms[side]) / statistics.fmean(self.device_ms[side])


def median_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Bootstrap: 2.5 % and 97.5 % quantile of the median of as many values drawn again with replacement.

    >>> low, high = median_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> low < 3.0 < high
    True
    """
    drawn = np.random.default_rng(seed).choice(np.array(values), (DRAWS, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return float(low), float(high)


def measurements(
    case: str, tasks: Sequence[TaskFigures], settings: BenchSettings, turns: int, noise: float | None
) -> list[Measurement]:
    """A line for each peer, over the tasks that both sides planned."""
    gaps = [own.gap for own in tasks if own.gap is not None]
    facts = {
        "workload": "pool",
        "seed": settings.seed,
        "tasks": len(tasks),
        "turns": turns,
        "cost": hardware_line(shipped_cost().facts["hardware"]),
        "repeat_noise": noise,
        "gap_over_bound": {"median": statistics.median(gaps), "90%": float(np.quantile(gaps, 0.9))} if gaps else None,
        **_machine(),
    }
    peers = [side for side in SIDES if side != OURS and any(side in own.seconds for own in tasks)]
    return [line for peer in peers for line in _lines(case, peer, tasks, facts)]


def _lines(case: str, peer: str, tasks: Sequence[TaskFigures], facts: Mapping[str, Any]) -> list[Measurement]:
    both = [own for own in tasks if peer in own.device_ms and OURS in own.device_ms]
    if not both:
        return []
    ours, theirs = ([own.slowest_ms(side) for own in both] for side in (OURS, peer))
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    about = {
        **facts,
        "interval": list(median_interval(ratios)),
        "covered": COVERED,
        "interval_ms": {"ours": list(median_interval(ours)), "peer": list(median_interval(theirs))},
        "balance": _of_both(lambda side: [own.balance(side) for own in both], peer),
        "over_mean": _of_both(lambda side: [own.over_mean(side) for own in both], peer),
        "plan_seconds": _of_both(lambda side: [own.seconds[side] for own in both], peer),
        "failed": {"ours": _failed(OURS, tasks), "peer": _failed(peer, tasks)},
        "failures": sorted({own.failures[peer] for own in tasks if peer in own.failures}),
        "ratios": [round(ratio, 4) for ratio in ratios],
    }
    middle = statistics.median
    return [Measurement("plan", case, "slowest_ms", middle(ours), middle(theirs), peer, middle(ratios), "ms", about)]


def _of_both(values: Callable[[str], Sequence[float]], peer: str) -> dict[str, float]:
    return {name: round(statistics.median(values(side)), 4) for name, side in (("ours", OURS), ("peer", peer))}


def _failed(side: str, tasks: Sequence[TaskFigures]) -> int:
    return sum(side in own.failures for own in tasks)


def _machine() -> dict[str, Any]:
    machine = machine_facts()
    return {**machine, "versions": machine["versions"] | peer_versions()}
