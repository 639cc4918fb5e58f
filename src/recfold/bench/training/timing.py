"""Training steps timed in turns: the same batch on every side, each turn beginning with another side."""

import gc
import time
from collections.abc import Mapping, Sequence

import torch

from recfold.batch import Batch
from recfold.bench.training.sides import Side
from recfold.table.files import Progress


def step_seconds(
    sides: Mapping[str, Side], batches: Sequence[Batch], repeats: int, what: str, progress: Progress | None = None
) -> dict[str, list[float]]:
    """Wall-clock seconds of one whole training step of each side in each turn.

    Args:
        repeats: turns; batches are used again where there are fewer.
        what: for `progress`.
    """
    names = list(sides)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        first, batch = turn % len(names), batches[turn % len(batches)]
        for name in names[first:] + names[:first]:
            found[name].append(_seconds(sides[name], batch))
        if progress is not None:
            progress(f"{what}: steps", turn + 1, repeats)
    return found


def _seconds(side: Side, batch: Batch) -> float:
    prepared = side.prepare(batch)
    gc.collect()
    _wait()
    before = time.perf_counter()
    side.step(prepared)
    _wait()
    return time.perf_counter() - before


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
