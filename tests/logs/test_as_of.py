"""Counts as of a moment count what is strictly earlier, like their slow twin."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recfold.logs.adapters.as_of import EventCounts, counts_before_reference

EVENTS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-5, 5)), max_size=20)


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


@given(EVENTS, EVENTS)
def test_counts_equal_the_slow_twin(events: list[tuple[int, int]], questions: list[tuple[int, int]]) -> None:
    fast = EventCounts(*columns(events)).before(*columns(questions))
    assert fast.tolist() == counts_before_reference(*columns(questions), *columns(events))


@given(EVENTS, st.integers(-3, 3))
def test_first_time_is_the_earliest_event(events: list[tuple[int, int]], thing: int) -> None:
    first, known = EventCounts(*columns(events)).first_time(np.array([thing]))
    times = [time for which, time in events if which == thing]
    assert bool(known[0]) == bool(times)
    if times:
        assert int(first[0]) == min(times)
