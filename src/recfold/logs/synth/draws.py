"""Random draws that depend on (stream, counter) only: any part of a log can be drawn alone, in any order.

Legend: U lists, V ids in all of them, R distinct ids ("ranks" by frequency, 0 the most frequent).
"""

from dataclasses import dataclass

import numpy as np

from recfold.spec import splitmix64


def stream(seed: int, *numbers: int) -> int:
    """The name of a stream of draws: another one for every seed and every tuple of numbers.

    >>> stream(0, 1) != stream(1, 0) != stream(0, 1, 0)
    True
    """
    state = np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)
    for number in numbers:
        state = splitmix64(state, number)
    return int(state[0])


def bits(name: int, counters: np.ndarray) -> np.ndarray:
    """64 random bits for each counter (uint64)."""
    return splitmix64(counters, name)


def uniform(name: int, counters: np.ndarray) -> np.ndarray:
    """A float64 in [0, 1) for each counter."""
    return (bits(name, counters) >> np.uint64(11)) * 2.0**-53


def normal(name: int, counters: np.ndarray, width: int) -> np.ndarray:
    """`width` standard normal float32 for each counter, by Box and Muller: [counters, width]."""
    pairs = (width + 1) // 2
    drawn = np.stack([bits(stream(name, pair), counters) for pair in range(pairs)], axis=1)
    radius = np.sqrt(-2.0 * np.log(((drawn >> np.uint64(32)).astype(np.float64) + 1.0) * 2.0**-32))
    angle = (drawn & np.uint64(0xFFFFFFFF)).astype(np.float64) * (2.0 * np.pi * 2.0**-32)
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return both[:, :width].astype(np.float32)


@dataclass(frozen=True)
class Zipf:
    """Ranks 0 .. R-1 with probability proportional to 1 / (rank + 1) ** skew, drawn in constant time.

    The table is Walker's (1977), built as Vose (1991) does: slot i keeps its own rank where 32 random bits lie below
    `threshold[i]`, else it stands for `alias[i]`.
    """

    threshold: np.ndarray
    alias: np.ndarray

    def ranks(self, random_bits: np.ndarray) -> np.ndarray:
        """The rank (int64) that each 64 random bits stand for."""
        slot = (((random_bits >> np.uint64(32)) * np.uint64(len(self.alias))) >> np.uint64(32)).view(np.int64)
        keep = (random_bits & np.uint64(0xFFFFFFFF)) < self.threshold[slot]
        return np.where(keep, slot, self.alias[slot])


def zipf(rows: int, skew: float) -> Zipf:
    """The alias table of a Zipf-like distribution; skew 0 is uniform."""
    share = zipf_probabilities(rows, skew) * rows
    alias = np.arange(rows, dtype=np.int64)
    threshold = np.ones(rows)
    scaled = share.tolist()
    small = [rank for rank, value in enumerate(scaled) if value < 1.0]
    large = [rank for rank, value in enumerate(scaled) if value >= 1.0]
    while small and large:
        low, high = small.pop(), large[-1]
        threshold[low], alias[low] = scaled[low], high
        scaled[high] -= 1.0 - scaled[low]
        if scaled[high] < 1.0:
            small.append(large.pop())
    return Zipf(np.round(threshold * 2.0**32).astype(np.uint64), alias)


def zipf_probabilities(rows: int, skew: float) -> np.ndarray:
    """The probability of each rank."""
    weight = np.arange(1, rows + 1, dtype=np.float64) ** -skew
    return weight / weight.sum()


def poisson_lengths(name: int, keys: np.ndarray, mean: float) -> np.ndarray:
    """A Poisson(mean) number for each key (int64), by inversion."""
    chances, chance, k = [], float(np.exp(-mean)), 0
    while k < mean or chance > 1e-18:
        chances.append(chance)
        k += 1
        chance *= mean / k
    return np.searchsorted(np.cumsum(chances), uniform(name, keys), side="right").clip(0, len(chances)).astype(np.int64)


def list_ranks(name: int, keys: np.ndarray, lengths: np.ndarray, law: Zipf) -> np.ndarray:
    """The ranks in the lists of `keys`, one list after the other: int64 [V], V = sum of lengths.

    The list of a key is the same in whatever company it is drawn.
    """
    starts = np.cumsum(lengths) - lengths
    base = bits(name, keys).view(np.int64) - starts
    counters = np.repeat(base, lengths) + np.arange(int(lengths.sum()), dtype=np.int64)
    return law.ranks(bits(name, counters))


def list_ranks_reference(name: int, key: int, length: int, law: Zipf) -> list[int]:
    """The slow twin of `list_ranks` for one list, id by id."""
    mask = (1 << 64) - 1
    base = int(bits(name, np.array([key]))[0])
    found = []
    for place in range(length):
        drawn = int(bits(name, np.array([(base + place) & mask], dtype=np.uint64))[0])
        slot = (drawn >> 32) * len(law.alias) >> 32
        found.append(slot if drawn & 0xFFFFFFFF < int(law.threshold[slot]) else int(law.alias[slot]))
    return found
