"""Time several sides in turns, so that whatever else the machine does falls on all of them."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa
import torch

from recfold.table.files import Progress


def seconds_in_turns(
    sides: Mapping[str, Callable[[], object]], repeats: int, what: str, progress: Progress | None = None
) -> dict[str, list[float]]:
    """Wall-clock seconds of each side in each turn; every turn begins with another side.

    Args:
        sides: name -> what is timed.
        what: for `progress`.
    """
    names = list(sides)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            before = time.perf_counter()
            sides[name]()
            found[name].append(time.perf_counter() - before)
        if progress is not None:
            progress(f"{what}: turns", turn + 1, repeats)
    return found


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch and Arrow compute with one thread inside."""
    threads, cpus = torch.get_num_threads(), pa.cpu_count()
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        pa.set_cpu_count(cpus)
