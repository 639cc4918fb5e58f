"""The baseline to beat: how often a candidate was clicked, and nothing else.

A rate is smoothed towards the base rate r of the training split with the weight of `PRIOR` views:
(clicks + PRIOR r) / (views + PRIOR). A candidate that was never seen has the base rate.

Legend: N samples.
"""

from dataclasses import dataclass

import numpy as np

PRIOR = 10.0
"""Views of the base rate that every candidate starts with."""


@dataclass(frozen=True)
class Seen:
    """Samples as the baseline sees them: candidates int64 [N], times int64 us [N] or None, labels [N], weights [N]."""

    candidates: np.ndarray
    times: np.ndarray | None
    labels: np.ndarray
    weights: np.ndarray


def base_rate(train: Seen) -> float:
    """Weighted mean label of the training split; one half where it has no weight at all."""
    total = float(train.weights.sum())
    return float(train.weights @ train.labels) / total if total > 0 else 0.5


def click_rate(train: Seen, candidates_N: np.ndarray, rate: float) -> np.ndarray:
    """Each candidate's smoothed click rate in the training split.

    Args:
        rate: the base rate.
    Returns:
        Probabilities [N] float64.
    """
    known, place = np.unique(train.candidates, return_inverse=True)
    views = np.bincount(place, train.weights, len(known))
    clicks = np.bincount(place, train.weights * train.labels, len(known))
    smoothed = (clicks + PRIOR * rate) / (views + PRIOR)
    if len(known) == 0:
        return np.full(len(candidates_N), rate)
    where = np.minimum(np.searchsorted(known, candidates_N), len(known) - 1)
    return np.where(known[where] == candidates_N, smoothed[where], rate)


def as_of_click_rate(train: Seen, evaluated: Seen, rate: float) -> np.ndarray:
    """Each sample's candidate's smoothed click rate over all samples, of both splits, strictly before it in time.

    Args:
        rate: the base rate.
    Returns:
        Probabilities [N] float64 for the samples of `evaluated`.
    Raises:
        ValueError: times are missing.
    """
    if train.times is None or evaluated.times is None:
        raise ValueError("as-of popularity needs times")
    candidates = np.concatenate([train.candidates, evaluated.candidates])
    times = np.concatenate([train.times, evaluated.times])
    weights = np.concatenate([train.weights, evaluated.weights]).astype(np.float64)
    clicks = weights * np.concatenate([train.labels, evaluated.labels])
    if len(candidates) == 0:
        return np.empty(0)
    order = np.lexsort((times, candidates))
    c, t = candidates[order], times[order]
    new_candidate = np.r_[True, c[1:] != c[:-1]]
    # a run of one candidate at one time: its samples do not see each other
    first_of_run = np.maximum.accumulate(np.where(new_candidate | np.r_[True, t[1:] != t[:-1]], np.arange(len(c)), 0))
    first_of_candidate = np.maximum.accumulate(np.where(new_candidate, np.arange(len(c)), 0))
    before: list[np.ndarray] = []
    for count in (clicks, weights):
        sums = np.r_[0.0, np.cumsum(count[order])]
        found = np.empty(len(c))
        found[order] = sums[first_of_run] - sums[first_of_candidate]
        before.append(found[len(train.candidates) :])
    return (before[0] + PRIOR * rate) / (before[1] + PRIOR)


def as_of_click_rate_reference(train: Seen, evaluated: Seen, rate: float) -> np.ndarray:
    """The slow twin of `as_of_click_rate`: each sample looks at every other one."""
    assert train.times is not None
    assert evaluated.times is not None
    found = []
    for candidate, time in zip(evaluated.candidates, evaluated.times, strict=True):
        clicks = views = 0.0
        for part, times in ((train, train.times), (evaluated, evaluated.times)):
            for i in range(len(part.candidates)):
                if part.candidates[i] == candidate and times[i] < time:
                    clicks += part.weights[i] * part.labels[i]
                    views += part.weights[i]
        found.append((clicks + PRIOR * rate) / (views + PRIOR))
    return np.array(found)


def click_rate_reference(train: Seen, candidates_N: np.ndarray, rate: float) -> np.ndarray:
    """The slow twin of `click_rate`."""
    found = []
    for candidate in candidates_N:
        mine = train.candidates == candidate
        views, clicks = train.weights[mine].sum(), (train.weights * train.labels)[mine].sum()
        found.append((clicks + PRIOR * rate) / (views + PRIOR))
    return np.array(found)
