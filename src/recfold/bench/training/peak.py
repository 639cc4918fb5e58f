"""Peak memory of training steps above what is held before them, on the device that computes.

On a CPU it is the process's own high-water mark of resident memory, which Linux sets back on request. That is exact to
a few pages where freed memory goes back to the system at once: see `MALLOC` in `memory`.
"""

import ctypes
import gc
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from recfold.batch import Batch
from recfold.bench.training.sides import Side
from recfold.spec import InputError

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_SET_BACK_PEAK = "5"


def can_measure(device: torch.device) -> bool:
    """Whether peaks can be measured here: on CUDA, and on Linux."""
    return device.type == "cuda" or _CLEAR.exists()


def peak_of_steps(side: Side, batches: Sequence[Batch], device: torch.device) -> int:
    """Bytes: the median over the batches.

    Weights, optimizer state, the prepared batch and whatever libraries keep after a first step are held before and do
    not count.
    """
    warm_up(side, batches[0])
    return int(statistics.median(peak_of_step(side, batch, device) for batch in batches))


def warm_up(side: Side, batch: Batch) -> None:
    """Make everything that lasts: optimizer state, every page of the tables and their running sums, loaded code."""
    for tensor in side.state().values():
        tensor.add_(0)
    for size in (min(8, batch.num_samples), batch.num_samples):
        side.step(side.prepare(batch.slice(0, size)))


def peak_of_step(side: Side, batch: Batch, device: torch.device) -> int:
    """Bytes of one step."""
    prepared = side.prepare(batch)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        held = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        side.step(prepared)
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - held
    _give_back()
    _CLEAR.write_text(_SET_BACK_PEAK)
    held = _status_bytes("VmRSS")
    side.step(prepared)
    return max(_status_bytes("VmHWM") - held, 0)


def largest(fits: Callable[[int], bool], first: int, most: int, resolution: float = 0.05) -> int:
    """The largest size that fits, to within a share of it: doubled or halved until it turns, then bisected.

    Args:
        fits: true up to some size and false from there on.
        first: where to begin.
        most: no larger size is tried.
    Returns:
        0 where not even one fits.

    >>> largest(lambda size: size <= 1000, 64, 5000, resolution=0)
    1000
    >>> largest(lambda size: True, 64, 5000)
    5000
    """
    low, high = 0, most + 1
    size = min(first, most)
    while low < size < high:
        if fits(size):
            low = size
            size = min(size * 2, most) if high > most else (low + high) // 2
        else:
            high = size
            size = size // 2 if low == 0 else (low + high) // 2
        if low and high <= most and high - low <= max(resolution * low, 1):
            break
    return low


def _status_bytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise InputError(f"{_STATUS} has no {name}", todo="measure without peak_memory and largest_batch")
    return int(found.group(1)) * 1024


def _give_back() -> None:
    """Free what nobody uses, down to the system."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
