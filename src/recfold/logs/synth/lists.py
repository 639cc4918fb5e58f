"""The features of a part of the log: distinct lists are drawn once, rows point to them.

Legend: B samples, U distinct lists, V ids in all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from recfold.logs.synth.draws import Zipf, bits, list_ranks, normal, poisson_lengths, stream, zipf
from recfold.logs.synth.sessions import Samples
from recfold.logs.synth.workloads import (
    ACTIONS,
    CONTENT_WIDTH,
    FIELD_IDS,
    MAX_ITEM_IDS,
    MEAN_LENGTH,
    NUM_DENSE,
    NUM_ITEM_FEATURES,
    NUM_USER_FEATURES,
    VOCABULARY,
    WINDOW_LENGTH,
    Workload,
)

_USER, _ITEM, _DENSE, _WINDOW, _IDS, _SHOWN, _CONTENT, _FIELD = range(8)
_CANDIDATES = 40
"""Number of the range of raw ids of the items in circulation."""


@dataclass(frozen=True)
class Drawn:
    """A list feature of B samples: U distinct lists and which one each sample uses.

    Args:
        ranks: int64 [V]; 0 is the most frequent id.
        start, length: int64 [U]; lists may overlap (windows).
        inverse: int64 [B], in [0, U).
    """

    ranks: np.ndarray
    start: np.ndarray
    length: np.ndarray
    inverse: np.ndarray

    def means(self, effect: np.ndarray) -> np.ndarray:
        """For each distinct list, the mean of `effect[rank]` over its ids (0 where empty): float64 [U].

        Effects are integers, so that the sum does not depend on the company a list is drawn in.
        """
        total = np.concatenate([[0], np.cumsum(effect[self.ranks])])
        return (total[self.start + self.length] - total[self.start]) / np.maximum(self.length, 1)


@dataclass(frozen=True)
class DrawnVectors:
    """A vector feature of B samples: float32 [U, width] and which row each sample uses, int64 [B]."""

    values: np.ndarray
    inverse: np.ndarray


@dataclass(frozen=True)
class Source:
    """Draws the features of one log: `user(3, samples)` is feature user_03 of these samples.

    Args:
        law: of the ids. actions: of the actions.
        items: of the items in circulation, if the workload has them.
    """

    workload: Workload
    seed: int
    law: Zipf
    actions: Zipf
    items: Zipf | None = None

    def group_of(self, feature: int) -> int:
        """The user group of a user feature."""
        return feature * len(self.workload.change) // NUM_USER_FEATURES

    def user(self, feature: int, samples: Samples) -> Drawn:
        keys, inverse = np.unique(samples.drawn[:, self.group_of(feature)], return_inverse=True)
        name = stream(self.seed, _USER, feature)
        length = poisson_lengths(stream(self.seed, _USER, feature, 1), keys, MEAN_LENGTH)
        return _listed(list_ranks(name, keys, length, self.law), length, inverse)

    def shown(self, samples: Samples) -> np.ndarray:
        """Which item in circulation each sample shows: its rank, int64 [B]."""
        assert self.items is not None
        return self.items.ranks(bits(stream(self.seed, _SHOWN), samples.number))

    def content(self, samples: Samples) -> DrawnVectors:
        """The content vectors of the items shown, standard normal."""
        items, inverse = np.unique(self.shown(samples), return_inverse=True)
        return DrawnVectors(normal(stream(self.seed, _CONTENT), items, CONTENT_WIDTH), inverse)

    def item(self, feature: int, samples: Samples) -> Drawn:
        if self.items is not None:
            keys, inverse = np.unique(self.shown(samples), return_inverse=True)
            lengths = poisson_lengths(stream(self.seed, _ITEM, feature, 1), keys, MEAN_LENGTH)
            return _listed(list_ranks(stream(self.seed, _ITEM, feature), keys, lengths, self.law), lengths, inverse)
        length = 1 + (bits(stream(self.seed, _ITEM, feature, 1), samples.number) % np.uint64(MAX_ITEM_IDS)).view(
            np.int64
        )
        ranks = list_ranks(stream(self.seed, _ITEM, feature), samples.number, length, self.law)
        return _listed(ranks, length, np.arange(len(samples)))

    def field(self, feature: int, samples: Samples) -> Drawn:
        """Lists of `FIELD_IDS` ids, one for every sample."""
        length = np.full(len(samples), FIELD_IDS, dtype=np.int64)
        ranks = list_ranks(stream(self.seed, _FIELD, feature), samples.number, length, self.law)
        return _listed(ranks, length, np.arange(len(samples)))

    def dense(self, samples: Samples) -> np.ndarray:
        """float32 [B, 13], standard normal."""
        return normal(stream(self.seed, _DENSE), samples.number, NUM_DENSE)

    def window(self, window: int, part: int, samples: Samples) -> Drawn:
        """Item ids (part 0) or action ids (part 1) of a window group: windows of one merged list a session."""
        sessions, of_session = np.unique(samples.session, return_inverse=True)
        shift = samples.shift[:, window]
        lowest = np.full(len(sessions), np.iinfo(np.int64).max)
        np.minimum.at(lowest, of_session, shift)
        highest = np.zeros(len(sessions), dtype=np.int64)
        np.maximum.at(highest, of_session, shift)
        merged = highest - lowest + WINDOW_LENGTH
        begin = np.cumsum(merged) - merged
        place = np.repeat(lowest - begin, merged) + np.arange(int(merged.sum()), dtype=np.int64)
        start, inverse = np.unique(begin[of_session] + shift - lowest[of_session], return_inverse=True)
        length = np.full(len(start), WINDOW_LENGTH, dtype=np.int64)
        name = stream(self.seed, _WINDOW, window, part)
        counters = np.repeat(bits(name, sessions).view(np.int64), merged) + place
        law = (self.law, self.actions)[part]
        return Drawn(law.ranks(bits(name, counters)), start, length, inverse)


def draw_source(workload: Workload, seed: int, skew: float) -> Source:
    items = zipf(workload.items, skew) if workload.items else None
    return Source(workload, seed, zipf(workload.vocabulary, skew), zipf(ACTIONS, skew), items)


def raw_ids(seed: int, number: int, count: int) -> np.ndarray:
    """The raw id of each rank of feature `number`: a permutation, moved to a range of its own (int64 [count])."""
    order = np.random.default_rng([seed, _IDS, number]).permutation(count)
    return 10_000_000 * (number + 1) + order.astype(np.int64)


def candidate_ids(workload: Workload, seed: int) -> np.ndarray | None:
    """The raw id of each item in circulation, by rank; None where a feature's first id stands for the candidate."""
    return raw_ids(seed, _CANDIDATES, workload.items) if workload.items else None


def features(workload: Workload) -> dict[str, tuple[int, int]]:
    """Id-list feature -> (number of its raw ids, how many there are); features of one table share a number."""
    if workload.fields:
        return {f"field_{f:02d}": (f, workload.vocabulary) for f in range(workload.fields)}
    found = {f"user_{f:02d}": (f, VOCABULARY) for f in range(NUM_USER_FEATURES)}
    found |= {f"item_{f}": (NUM_USER_FEATURES + f, VOCABULARY) for f in range(NUM_ITEM_FEATURES)}
    for window in range(len(workload.shift)):
        found[f"history_{'ab'[window]}_item"] = (NUM_USER_FEATURES + NUM_ITEM_FEATURES, VOCABULARY)
        found[f"history_{'ab'[window]}_action"] = (NUM_USER_FEATURES + NUM_ITEM_FEATURES + 1, ACTIONS)
    return found


def drawers(source: Source, samples: Samples) -> dict[str, Callable[[], Drawn]]:
    """Id-list feature -> a call that draws it for these samples, in the order of `features`."""
    if source.workload.fields:
        return {f"field_{f:02d}": partial(source.field, f, samples) for f in range(source.workload.fields)}
    found: dict[str, Callable[[], Drawn]] = {}
    for feature in range(NUM_USER_FEATURES):
        found[f"user_{feature:02d}"] = partial(source.user, feature, samples)
    for feature in range(NUM_ITEM_FEATURES):
        found[f"item_{feature}"] = partial(source.item, feature, samples)
    for window in range(len(source.workload.shift)):
        for part, name in enumerate(("item", "action")):
            found[f"history_{'ab'[window]}_{name}"] = partial(source.window, window, part, samples)
    return found


def _listed(ranks: np.ndarray, length: np.ndarray, inverse: np.ndarray) -> Drawn:
    return Drawn(ranks, np.cumsum(length) - length, length, inverse)
