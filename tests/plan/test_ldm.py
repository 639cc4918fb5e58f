"""Differencing on the examples of the literature."""

import numpy as np
import pytest

from recfold.plan.search.ldm import differenced


def sums(weights: list[float], ranks: int) -> list[float]:
    return sorted(np.bincount(differenced(weights, ranks), weights=weights, minlength=ranks).tolist(), reverse=True)


@pytest.mark.parametrize(
    "weights, ranks, expected",
    [
        ([8, 7, 6, 5, 4], 2, [16, 14]),  # Karmarkar and Karp 1982; the optimum is 15, 15
        ([4, 5, 6, 7, 8], 3, [11, 11, 8]),  # Michiels, Korst, Aarts 2003
        ([1, 1, 1, 1], 4, [1, 1, 1, 1]),
        ([3], 2, [3, 0]),
        ([5, 4, 3], 1, [12]),
    ],
)
def test_known_examples(weights: list[float], ranks: int, expected: list[float]) -> None:
    assert sums(weights, ranks) == expected


def test_two_ranks_end_with_the_differences_of_differences() -> None:
    """The slow, obvious twin: the two largest numbers are replaced with their difference until one is left."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        weights = rng.integers(1, 1000, 15).tolist()
        left = sorted(weights)
        while len(left) > 1:
            largest, second = left.pop(), left.pop()
            left = sorted([*left, largest - second])
        heavy, light = sums(weights, 2)
        assert heavy - light == left[0]
