"""Counts as of a moment: what had happened to a thing strictly before.

Legend: N questions (thing, time), E events (thing, time).
"""

import numpy as np


class EventCounts:
    """Answers how many events a thing had strictly before a time.

    Args:
        things_E: int64 ids; times_E: int64 times. In any order.

    Example:
        >>> seen = EventCounts(np.array([7, 7, 9]), np.array([10, 20, 10]))
        >>> seen.before(np.array([7, 7, 7, 8]), np.array([10, 20, 21, 99])).tolist()
        [0, 1, 2, 0]
    """

    def __init__(self, things_E: np.ndarray, times_E: np.ndarray) -> None:
        order = np.lexsort((times_E, things_E))
        self._things, first = np.unique(things_E[order], return_index=True)
        self._first = np.append(first, len(things_E))
        self._times, codes = np.unique(times_E[order], return_inverse=True)
        self._stride = len(self._times) + 1
        self._keys = np.repeat(np.arange(len(self._things)), np.diff(self._first)) * self._stride + codes

    def before(self, things_N: np.ndarray, times_N: np.ndarray) -> np.ndarray:
        """Events of each thing at a time < the given one: int64 [N]."""
        if len(self._things) == 0:
            return np.zeros(len(things_N), dtype=np.int64)
        place, known = self._places(things_N)
        codes = np.searchsorted(self._times, times_N, side="left")
        found = np.searchsorted(self._keys, place * self._stride + codes, side="left") - self._first[place]
        return np.where(known, found, 0)

    def first_time(self, things_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Time of each thing's first event (int64 [N]) and whether it has one (bool [N])."""
        if len(self._things) == 0:
            return np.zeros(len(things_N), dtype=np.int64), np.zeros(len(things_N), dtype=bool)
        place, known = self._places(things_N)
        return self._times[self._keys[self._first[place]] - place * self._stride], known

    def _places(self, things_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = np.searchsorted(self._things, things_N).clip(max=len(self._things) - 1)
        return place, self._things[place] == things_N


def counts_before_reference(
    things_N: np.ndarray, times_N: np.ndarray, things_E: np.ndarray, times_E: np.ndarray
) -> list[int]:
    """The slow twin of `EventCounts.before`."""
    return [int(((things_E == thing) & (times_E < time)).sum()) for thing, time in zip(things_N, times_N, strict=True)]
