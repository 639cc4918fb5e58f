"""Drawn ids are read as often as a load says."""

import numpy as np
import pytest

from recfold.plan.cost.draw import access_shares, bin_of, draw_bags, draw_counts
from recfold.plan.piece import NUM_BINS, TableLoad, mean_counts
from recfold.plan.pool import table_pool


def test_drawn_lists_have_the_features_they_were_drawn_from() -> None:
    for table in table_pool(1, num_tables=30):
        piece = table.load(16).whole()
        values, offsets = draw_bags(piece, np.random.default_rng(0))
        assert (len(values), len(offsets), offsets[-1]) == (table.lookups, table.lists + 1, table.lookups)
        assert (np.diff(offsets) >= 0).all()
        assert 0 <= values.min() <= values.max() < table.rows
        counts = np.bincount(values)
        found = np.array(access_shares(counts[counts > 0]))
        # one row more or less of a bin is what cannot be met
        one_row = mean_counts() / table.lookups
        assert (np.abs(found - table.accesses) <= 1.6 * one_row + 0.05).all()


def test_a_piece_of_half_the_rows_has_half_the_lookups() -> None:
    halves = next(t for t in table_pool(1, num_tables=40) if t.rows > 1000).load(16).whole().halves_by_rows()
    assert halves is not None
    values, offsets = draw_bags(halves[1], np.random.default_rng(0))
    assert len(values) == round(halves[1].lookups)
    assert len(offsets) - 1 == round(halves[1].lists)
    assert values.max() < halves[1].num_rows


@pytest.mark.parametrize("rows", [1, 2, 50, 10_000])
@pytest.mark.parametrize("lookups", [1.0, 7.0, 1000.0])
@pytest.mark.parametrize("place", [0, 5, 16])
def test_any_load_is_drawn_with_all_its_lookups(rows: int, lookups: float, place: int) -> None:
    accesses = tuple(float(number == place) for number in range(NUM_BINS))
    counts = draw_counts(lookups, rows, accesses, np.random.default_rng(0))
    assert counts.sum() == lookups
    assert counts.min() >= 1
    assert len(counts) <= rows


def test_nothing_is_drawn_where_nothing_is_looked_up() -> None:
    load = TableLoad("a", 10, 4, 20, 3.0, 0.0, (0.0,) * NUM_BINS)
    values, offsets = draw_bags(load.whole(), np.random.default_rng(0))
    assert (values.tolist(), offsets.tolist()) == ([], [0, 0, 0, 0])


def test_mean_counts_are_those_that_are_drawn() -> None:
    for place in range(NUM_BINS - 1):
        accesses = tuple(float(number == place) for number in range(NUM_BINS))
        counts = draw_counts(3e6, 10**7, accesses, np.random.default_rng(0))
        own = counts[bin_of(counts) == place]
        assert own.mean() == pytest.approx(mean_counts()[place], rel=0.03)
