import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.reader.order import Units, course_of, course_reference


@st.composite
def some_units(draw):
    parts = draw(st.lists(st.lists(st.integers(1, 3), max_size=3), max_size=3))
    place = [(p, g, r) for p, groups in enumerate(parts) for g, rows in enumerate(groups) for r in range(rows)]
    columns = [np.array([where[i] for where in place], dtype=np.int64) for i in range(3)]
    size = len(place)
    counts = draw(st.lists(st.integers(1, 5), min_size=size, max_size=size))
    times = draw(st.lists(st.integers(0, 4), min_size=size, max_size=size))
    return Units(*columns, np.array(counts, dtype=np.int64), np.array(times, dtype=np.int64))


def places(units: Units) -> list[tuple[int, int, int]]:
    return list(zip(units.part.tolist(), units.row_group.tolist(), units.row.tolist(), strict=True))


@pytest.mark.parametrize("order", ["time", "shuffle"])
@given(some_units(), st.sampled_from([0, 1, 2**64 - 1]), st.integers(0, 3), st.integers(1, 3))
def test_order_is_that_of_the_twin(order, units, seed, epoch, window):
    course = course_of(units, order, seed, epoch, window)
    expected = units.take(np.array(course_reference(units, order, seed, epoch, window), dtype=np.int64))
    assert places(course.units) == places(expected)
    assert sorted(places(course.units)) == sorted(places(units))
    assert (np.diff(course.stretch) >= 0).all()


def many() -> Units:
    size = np.arange(400)
    return Units(size // 100, size // 20 % 5, size % 20, np.ones(400, np.int64), size)


def test_shuffle_changes_with_epoch_and_seed_and_nothing_else():
    one = places(course_of(many(), "shuffle", 0, 0, 4).units)
    assert one == places(course_of(many(), "shuffle", 0, 0, 4).units)
    assert one != places(course_of(many(), "shuffle", 0, 1, 4).units)
    assert one != places(course_of(many(), "shuffle", 1, 0, 4).units)


def test_shuffle_mixes_units_of_a_window_only():
    units = course_of(many(), "shuffle", 3, 0, 4).units
    windows = [set(zip(units.part[i : i + 80], units.row_group[i : i + 80], strict=True)) for i in range(0, 400, 80)]
    assert [len(window) for window in windows] == [4] * 5


def test_the_order_of_a_seed_is_the_same_for_ever():
    assert course_of(many(), "shuffle", 7, 2, 2).units.row[:8].tolist() == [4, 17, 6, 10, 7, 8, 6, 14]
