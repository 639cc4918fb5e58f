"""Milliseconds of a set of pieces as this machine takes them: the lookup, its backward and the update, timed.

The lists are drawn so that as many rows are read as often as each piece's features say. Warm-up runs come first, then
repeats with the caches flushed before each.

On a CPU one thread works, and what counts is the CPU time of the process: where others use the machine too, wall-clock
time is that of the waiting as well (it is kept beside). CPU time still grows while a neighbour uses the same memory
bandwidth, caches or core. So a small fixed set, the probe, is timed before and after every repeat; a repeat is scaled
back by (quiet probe / probe)^`PROBE_POWER`, and a low quantile of the repeats counts, because what is left of the
neighbours only adds. The process keeps large blocks of memory from run to run (`keep_freed_memory`), or sets whose
outputs take more than 32 MiB would cost up to twice as much, by the pages that the system gives anew.

On CUDA it is the time between two events, and the median counts.
"""

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recfold.embed import Bags, KernelName, LoneShards, SharedStorage, keep_freed_memory
from recfold.plan.cost.draw import draw_bags
from recfold.plan.piece import NUM_BINS, Piece, TableLoad
from recfold.spec import InputError, last_level_cache_bytes

FLUSHED_BYTES = 64 << 20
"""At least; twice the last-level cache where that is more."""

PROBE_POWER = 0.6
"""By how much less than the probe a set suffers from the neighbours: log-log slope over repeats of one set."""

QUIET_QUANTILE = 0.1
"""Of all probes: what the probe takes while the machine is quiet."""

COUNTED_QUANTILE = 0.3
"""Of the repeats of a set on a CPU."""

SECONDS_PER_SET = 0.3
REPEATS = (5, 9)
"""Repeats of a set: as many as go into that time, from, to."""


@dataclass(frozen=True)
class Timing:
    """What one set took.

    Args:
        ms: what counts, see `settled_ms`; of `forward_ms` the same share is the forward.
        forward_ms: the part of `ms` before the backward.
        wall_ms: median of wall-clock time.
        spread: mean absolute deviation of the scaled repeats from their median, over the median.
        repeats_ms: CPU time of each repeat on a CPU, between events on CUDA.
        probes_ms: of the probe, the mean of before and after each repeat; on CUDA empty.
    """

    ms: float
    forward_ms: float
    wall_ms: float
    spread: float
    repeats_ms: tuple[float, ...]
    probes_ms: tuple[float, ...]


def settled_ms(repeats_ms: Sequence[float], probes_ms: Sequence[float], quiet_ms: float) -> float:
    """What counts of the repeats of a set.

    Args:
        probes_ms: with each; empty where there was no probe.
        quiet_ms: the probe on a quiet machine.

    >>> settled_ms([10.0, 30.0, 11.0], [], 0.0)
    11.0
    >>> settled_ms([20.0, 20.0, 20.0], [2.0, 2.0, 2.0], 2.0)
    20.0
    """
    if not probes_ms:
        return statistics.median(repeats_ms)
    return float(np.quantile(scaled_ms(repeats_ms, probes_ms, quiet_ms), COUNTED_QUANTILE))


def scaled_ms(repeats_ms: Sequence[float], probes_ms: Sequence[float], quiet_ms: float) -> np.ndarray:
    """Repeats as if the machine had been quiet."""
    return np.array(repeats_ms) * (quiet_ms / np.array(probes_ms)) ** PROBE_POWER


def quiet_probe_ms(probes_ms: Sequence[float]) -> float:
    """Of many probes: what it takes while the machine is quiet."""
    return float(np.quantile(np.array(probes_ms), QUIET_QUANTILE))


@dataclass(frozen=True)
class Prepared:
    """A set on its kernels, with the lists it looks up and the gradients that come back."""

    shards: LoneShards
    bags: list[Bags]
    grads: list[Tensor]

    @classmethod
    def of(
        cls,
        pieces: Sequence[Piece],
        random: np.random.Generator,
        device: torch.device,
        storage: SharedStorage | None,
        kernel: KernelName,
    ) -> "Prepared":
        """Draw the lists; a piece of some rows, whose lists are not those of others, has an op of its own."""
        bags, keys, grads = [], [], []
        for piece in pieces:
            values, offsets = draw_bags(piece, random)
            bags.append(Bags(torch.from_numpy(values).to(device), torch.from_numpy(offsets).to(device)))
            keys.append(round(piece.table.lists) if piece.num_rows == piece.table.rows else None)
            grads.append(torch.full((len(offsets) - 1, piece.dim), 1e-3, device=device))
        shapes = [(piece.num_rows, piece.dim) for piece in pieces]
        return cls(LoneShards(shapes, keys, storage=storage, device=device, kernel=kernel), bags, grads)


class Stopwatch:
    """Measures sets of pieces on one device, one after the other; memory is allocated once.

    On a CPU this process keeps large blocks of memory from then on, see `keep_freed_memory`.

    Args:
        device: `cpu` or a CUDA device.
        memory_bytes: for weights on a CPU; sets that need more share memory between their tables.
        warm_ups: runs of a set that do not count.
        repeats: runs that do; None takes as many as go into `SECONDS_PER_SET`.
        kernel: as for training.
    Raises:
        InputError: no repeats, or a device without a stopwatch.
    """

    def __init__(
        self,
        *,
        device: str = "cpu",
        memory_bytes: int = 1_500_000_000,
        warm_ups: int = 1,
        repeats: int | None = None,
        kernel: KernelName = "auto",
    ) -> None:
        self.device = torch.device(device)
        if self.device.type not in ("cpu", "cuda"):
            raise InputError(f"nothing is measured on device {device!r}", expected="cpu or cuda")
        if (repeats is not None and repeats < 1) or warm_ups < 0:
            raise InputError("no repeats to measure", got=f"{warm_ups} and {repeats}", expected="from 0, and from 1")
        self.warm_ups, self.repeats, self.kernel = warm_ups, repeats, kernel
        on_cpu = self.device.type == "cpu"
        if on_cpu:
            keep_freed_memory()
        self._storage = SharedStorage(memory_bytes) if on_cpu else None
        flushed = max(FLUSHED_BYTES, 2 * last_level_cache_bytes()) if on_cpu else 4 * FLUSHED_BYTES
        self._flushed = torch.zeros(flushed // 4, device=self.device)
        self._probes_ms: list[float] = []
        self._probe: Prepared | None = None
        if on_cpu:
            with one_thread(self.device):
                self._probe = Prepared.of([probe_piece()], np.random.default_rng(0), self.device, None, kernel)
                for _ in range(20):
                    self._time_probe()

    @property
    def quiet_ms(self) -> float:
        """What the probe takes while the machine is quiet, as far as is known; 0 on CUDA."""
        return quiet_probe_ms(self._probes_ms) if self._probes_ms else 0.0

    def measure(self, pieces: Sequence[Piece], seed: int = 0) -> Timing:
        """Time one set of pieces.

        Args:
            pieces: those of one rank.
            seed: of the ids.
        Raises:
            InputError: a piece is larger than the memory.
        """
        return self.measure_in_turns([pieces], seed=seed)[0]

    def measure_in_turns(
        self, sets: Sequence[Sequence[Piece]], *, repeats: int | None = None, seed: int = 0
    ) -> list[Timing]:
        """Time several sets that are to be compared: one repeat of each, in random order, then the next of each.

        What comes and goes over seconds, as others on the machine do, falls on all of them alike.

        Args:
            sets: pieces of one rank each.
            repeats: of each; None for those of the stopwatch.
            seed: of the ids and the order.
        Raises:
            InputError: a piece is larger than the memory.
        """
        chosen = repeats or self.repeats
        random = np.random.default_rng(seed)
        found: list[list[tuple[float, float, float]]] = [[] for _ in sets]
        probes: list[list[float]] = [[] for _ in sets]
        with one_thread(self.device):
            # ids of one set do not depend on which others are measured
            own = {
                number: Prepared.of(pieces, np.random.default_rng(seed), self.device, self._storage, self.kernel)
                for number, pieces in enumerate(sets)
                if pieces
            }
            first_ms = 0.0
            for _ in range(self.warm_ups):
                first_ms = max([self._once(one)[0] for one in own.values()], default=0.0)
            before = self._time_probe()
            for _ in range(chosen or _repeats_of(first_ms)):
                for number in random.permutation(list(own)).tolist():
                    found[number].append(self._once(own[number], flush=self._probe is None))
                    after = self._time_probe()
                    probes[number].append((before + after) / 2)
                    before = after
        nothing = Timing(0.0, 0.0, 0.0, 0.0, (), ())
        return [
            self._timing(times, () if self._probe is None else tuple(around)) if times else nothing
            for times, around in zip(found, probes, strict=True)
        ]

    def _timing(self, found: list[tuple[float, float, float]], probes_ms: tuple[float, ...]) -> Timing:
        repeats_ms = tuple(total for total, _, _ in found)
        ms = settled_ms(repeats_ms, probes_ms, self.quiet_ms)
        used = scaled_ms(repeats_ms, probes_ms, self.quiet_ms) if probes_ms else np.array(repeats_ms)
        middle = float(np.median(used))
        return Timing(
            ms=ms,
            forward_ms=ms * statistics.median(forward / total if total else 0.0 for total, forward, _ in found),
            wall_ms=statistics.median(wall for _, _, wall in found),
            spread=float(np.abs(used - middle).mean()) / middle if middle else 0.0,
            repeats_ms=repeats_ms,
            probes_ms=probes_ms,
        )

    def _time_probe(self) -> float:
        if self._probe is None:
            return 0.0
        self._probes_ms.append(self._once(self._probe)[0])
        return self._probes_ms[-1]

    def _once(self, own: Prepared, flush: bool = True) -> tuple[float, float, float]:
        """(ms, of these forward, wall ms) of one run; a probe leaves nothing in the cache that a set would read."""
        if flush:
            self._flushed.sum()
        if self.device.type == "cuda":
            return self._once_on_cuda(own)
        wall, start = time.perf_counter(), time.process_time()
        sums = own.shards.look_up(own.bags)
        middle = time.process_time()
        torch.autograd.backward(sums, own.grads)
        stop = time.process_time()
        return (stop - start) * 1e3, (middle - start) * 1e3, (time.perf_counter() - wall) * 1e3

    def _once_on_cuda(self, own: Prepared) -> tuple[float, float, float]:
        start, middle, stop = (torch.cuda.Event(enable_timing=True) for _ in range(3))
        torch.cuda.synchronize(self.device)
        wall = time.perf_counter()
        start.record()
        sums = own.shards.look_up(own.bags)
        middle.record()
        torch.autograd.backward(sums, own.grads)
        stop.record()
        torch.cuda.synchronize(self.device)
        return start.elapsed_time(stop), start.elapsed_time(middle), (time.perf_counter() - wall) * 1e3


class MeasuredCost:
    """Measured time as a cost: each piece alone, once, and added up.

    What pieces share (the overhead of an op, the cache) is not in it: `set_ms` measures a whole set instead, which no
    sum of rows can. For small tasks, and to see what a network learned.

    Args:
        stopwatch: of the device.
    """

    name = "measured"

    def __init__(self, stopwatch: Stopwatch) -> None:
        self.stopwatch = stopwatch
        self._known: dict[Piece, float] = {}

    def rows(self, pieces: Sequence[Piece]) -> np.ndarray:
        """Milliseconds of each piece alone, float64 [P, 1]; a piece is measured once."""
        for piece in pieces:
            if piece not in self._known:
                self._known[piece] = self.set_ms([piece])
        return np.array([[self._known[piece]] for piece in pieces]).reshape(-1, 1)

    def ms(self, sums: np.ndarray) -> np.ndarray:
        """The sums [M, 1] themselves."""
        return sums[:, 0]

    def set_ms(self, pieces: Sequence[Piece], seed: int = 0) -> float:
        """Milliseconds of pieces together, measured."""
        return self.stopwatch.measure(pieces, seed).ms


def probe_piece() -> Piece:
    """The fixed set that tells how busy the machine is: 4,096 lists of 8 ids of a table that no cache holds."""
    accesses = np.zeros(NUM_BINS)
    accesses[:8] = 1 / 8
    return TableLoad("probe", 200_000, 64, 260, 4096.0, 8.0 * 4096, tuple(accesses.tolist())).whole()


def _repeats_of(first_ms: float) -> int:
    low, high = REPEATS
    return min(max(math.ceil(SECONDS_PER_SET * 1e3 / max(first_ms, 1.0)), low), high)


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """One thread of torch on a CPU, and as many as before afterwards; nothing on another device."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
