"""Sets with what counts of all their measurements."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recfold.plan.cost.measured import quiet_probe_ms, settled_ms
from recfold.plan.cost.samples import HARDWARE, SETS, Sample, read_samples
from recfold.spec import InputError

LEAST_SETS = 40


@dataclass(frozen=True)
class MeasuredSet:
    """A set with what counts of all its turns.

    Args:
        columns: `piece_columns`, [P, 22].
        turns_ms: what each turn gave.
    """

    number: int
    unseen: bool
    columns: np.ndarray
    turns_ms: tuple[float, ...]

    @property
    def ms(self) -> float:
        """The geometric mean of the turns."""
        return math.exp(sum(map(math.log, self.turns_ms)) / len(self.turns_ms))


def read_sets(folder: Path) -> tuple[list[MeasuredSet], dict[str, Any]]:
    """The sets of a collection, and the hardware they were measured on.

    Raises:
        InputError: no collection, or too few sets.
    """
    path = folder / HARDWARE
    if not path.exists():
        raise InputError(f"{folder} holds no measurements", todo="make some with recfold cost collect --out")
    samples = list(read_samples(folder / SETS))
    probes = [ms for sample in samples for ms in sample.probes_ms]
    quiet_ms = quiet_probe_ms(probes) if probes else 0.0
    turns: dict[int, list[float]] = defaultdict(list)
    first: dict[int, Sample] = {}
    for sample in samples:
        first.setdefault(sample.number, sample)
        turns[sample.number].append(settled_ms(sample.repeats_ms, sample.probes_ms, quiet_ms))
    sets = [MeasuredSet(own.number, own.unseen, own.pieces, tuple(turns[number])) for number, own in first.items()]
    if len(sets) < LEAST_SETS:
        raise InputError(f"{folder} holds too few sets to learn from", got=len(sets), expected=f"at least {LEAST_SETS}")
    return sets, json.loads(path.read_text(encoding="utf-8"))


def repeat_noise(sets: Sequence[MeasuredSet], least_ms: float = 0.0) -> float:
    """How far one turn is from another: the mean of |a - b| / ((a + b) / 2); nan where nothing was repeated."""
    found = [
        abs(own.turns_ms[0] - own.turns_ms[1]) / ((own.turns_ms[0] + own.turns_ms[1]) / 2)
        for own in sets
        if len(own.turns_ms) > 1 and own.ms >= least_ms
    ]
    return float(np.mean(found)) if found else math.nan
