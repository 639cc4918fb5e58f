"""Counting distinct hashes: exact while few, close while many, and the same however they are split up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.fold.sketch import EXACT_LIMIT, sketch, union
from recfold.spec import splitmix64


def hashes(count: int, begin: int = 0) -> np.ndarray:
    return splitmix64(np.arange(begin, begin + count))


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=5), min_size=1, max_size=4))
def test_few_are_counted_exactly(parts: list[list[int]]) -> None:
    merged = union([sketch(np.array(part, np.uint64)) for part in parts])
    assert merged.count() == len({value for part in parts for value in part})


@pytest.mark.parametrize("count", [EXACT_LIMIT + 1, 100_000, 1_000_000])
def test_many_are_counted_within_three_percent(count: int) -> None:
    assert sketch(hashes(count)).count() == pytest.approx(count, rel=0.03)


def test_the_count_does_not_depend_on_how_hashes_are_split_up() -> None:
    whole = sketch(hashes(50_000)).count()
    parts = [sketch(hashes(40_000)), sketch(hashes(500, 20_000)), sketch(hashes(20_000, 30_000))]
    assert union(parts).count() == union(parts[::-1]).count() == whole


def test_the_limit_itself_is_exact() -> None:
    halves = [sketch(hashes(EXACT_LIMIT // 2)), sketch(hashes(EXACT_LIMIT // 2, EXACT_LIMIT // 2))]
    assert union(halves).count() == EXACT_LIMIT
