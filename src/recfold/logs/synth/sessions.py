"""Who is there when: sessions, their samples in order of arrival, and which samples repeat the lists of the one before.

A sample is numbered in session order; the lists of a group are named by the sample that drew them, so that a repeat is
the same number and the content needs no memory (see `draws`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SIGMA = 1.2
MEAN_SIZE = 16.5
MAX_SIZE = 512
SESSIONS_PER_MINUTE = 1_000
GAP_SECONDS = 60.0
BLOCK_SESSIONS = 65_536
FIRST_TIME = 1_704_067_200_000_000
"""2024-01-01T00:00:00Z in microseconds."""

_MINUTE = 60_000_000


@dataclass(frozen=True)
class Samples:
    """B samples in order of arrival (or of session).

    Args:
        number: position in session order, int64 [B]; names what is drawn for the sample alone.
        session: number of the session, int64 [B].
        time: microseconds UTC, int64 [B].
        drawn: number of the sample that drew the lists in use, int64 [B, groups].
        shift: how far each window has moved since the session began, int64 [B, windows].
    """

    number: np.ndarray
    session: np.ndarray
    time: np.ndarray
    drawn: np.ndarray
    shift: np.ndarray

    def __len__(self) -> int:
        return len(self.number)

    def take(self, index: np.ndarray | slice) -> "Samples":
        return Samples(*(column[index] for column in self._columns()))

    def then(self, other: "Samples") -> "Samples":
        pairs = zip(self._columns(), other._columns(), strict=True)
        return Samples(*(np.concatenate(pair) for pair in pairs))

    def _columns(self) -> tuple[np.ndarray, ...]:
        return self.number, self.session, self.time, self.drawn, self.shift


def location() -> float:
    """The mu of the lognormal for which the mean size, rounded and clipped to [1, 512], is 16.5.

    >>> round(mean_size(location()), 6)
    16.5
    """
    low, high = 0.0, 6.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_size(middle) < MEAN_SIZE else (low, middle)
    return (low + high) / 2


def mean_size(mu: float) -> float:
    """Mean of clip(round(lognormal(mu, sigma)), 1, 512): the sum over k of P(size >= k)."""
    above = (0.5 * math.erfc((math.log(k - 0.5) - mu) / (SIGMA * math.sqrt(2))) for k in range(2, MAX_SIZE + 1))
    return 1.0 + sum(above)


def arrivals(
    samples: int, seed: int, change: tuple[float, ...], shift: tuple[float, ...], part_samples: int
) -> Iterator[Samples]:
    """All samples in order of arrival, in parts of `part_samples` (the last one shorter).

    Memory holds one block of sessions and the sessions that are still open, whatever `samples` is.
    """
    waiting = _no_samples(len(change), len(shift))
    ready = waiting
    block = made = 0
    while made < samples or len(waiting):
        horizon = np.iinfo(np.int64).max
        if made < samples:
            fresh = _block(block, samples - made, made, seed, change, shift)
            made += len(fresh)
            block += 1
            waiting = waiting.then(fresh)
            waiting = waiting.take(np.argsort(waiting.time, kind="stable"))
            if made < samples:
                horizon = FIRST_TIME + block * BLOCK_SESSIONS * _MINUTE // SESSIONS_PER_MINUTE
        due = int(np.searchsorted(waiting.time, horizon))
        ready, waiting = ready.then(waiting.take(slice(None, due))), waiting.take(slice(due, None))
        while len(ready) >= part_samples:
            yield ready.take(slice(None, part_samples))
            ready = ready.take(slice(part_samples, None))
    if len(ready):
        yield ready


def _block(
    block: int, wanted: int, first_number: int, seed: int, change: tuple[float, ...], shift: tuple[float, ...]
) -> Samples:
    """The sessions of one block, in session order; the last session is cut where `wanted` samples are reached."""
    random = np.random.default_rng([seed, block])
    drawn_sizes = np.round(np.exp(location() + SIGMA * random.standard_normal(BLOCK_SESSIONS)))
    sizes = drawn_sizes.clip(1, MAX_SIZE).astype(np.int64)
    ends = np.cumsum(sizes)
    count = min(int(np.searchsorted(ends, wanted)) + 1, BLOCK_SESSIONS)
    sizes = sizes[:count]
    sizes[-1] -= max(int(ends[count - 1]) - wanted, 0)
    total = int(sizes.sum())
    first = np.cumsum(sizes) - sizes

    begins = FIRST_TIME + (block * BLOCK_SESSIONS + np.sort(random.random(count)) * count) * _MINUTE / (
        SESSIONS_PER_MINUTE
    )
    gaps = 1 + random.exponential(GAP_SECONDS * 1e6, total).astype(np.int64)
    passed = np.cumsum(gaps)
    time = np.repeat(begins.astype(np.int64) - passed[first], sizes) + passed

    number = first_number + np.arange(total, dtype=np.int64)
    opens = np.zeros(total, dtype=bool)
    opens[first] = True
    drawn = np.empty((total, len(change)), dtype=np.int64)
    for group, chance in enumerate(change):
        draws = opens | (random.random(total) < chance)
        drawn[:, group] = np.maximum.accumulate(np.where(draws, number, 0))
    shifts = np.empty((total, len(shift)), dtype=np.int64)
    for window, chance in enumerate(shift):
        moved = np.cumsum(~opens & (random.random(total) < chance))
        shifts[:, window] = moved - np.repeat(moved[first], sizes)
    session = block * BLOCK_SESSIONS + np.repeat(np.arange(count, dtype=np.int64), sizes)
    return Samples(number, session, time, drawn, shifts)


def _no_samples(groups: int, windows: int) -> Samples:
    none = np.zeros(0, dtype=np.int64)
    return Samples(none, none, none, np.zeros((0, groups), np.int64), np.zeros((0, windows), np.int64))
