"""The formula, and constants found from measurements."""

import numpy as np
import pytest

from recfold.plan.cost.analytic import TERMS, AnalyticCost, fit_analytic, nonnegative_least_squares, terms
from recfold.plan.piece import NUM_BINS, Piece, TableLoad
from recfold.plan.pool import table_pool
from recfold.spec import InputError


def piece(lookups: float, accesses: int) -> Piece:
    shares = tuple(float(place == accesses) for place in range(NUM_BINS))
    return TableLoad("a", 10_000, 8, 36, 100.0, lookups, shares).whole()


def test_terms_count_what_a_step_reads() -> None:
    (found,) = terms([piece(1000.0, 1)])
    assert dict(zip(TERMS, found, strict=True)) == {
        "piece": 1,
        "list": 100,
        "list_column": 800,
        "lookup": 1000,
        "lookup_column": 8000,
        "first": 500,
        "first_column": 4000,
        "again": 500,
        "again_column": 4000,
    }


def test_rows_that_are_read_very_often_are_not_looked_for_again() -> None:
    (found,) = terms([piece(1024.0, 10)])
    assert dict(zip(TERMS, found, strict=True))["again"] == 0


def test_rows_read_again_cost_where_the_cache_is_too_small() -> None:
    ns = (0.0,) * 8 + (1000.0 / 8,)
    rows = AnalyticCost(ns).rows([piece(1000.0, 1)])
    first_bytes = 4 * 500 * 8
    for cache, wanted in ((1e9, 0.0), (first_bytes / 2, 0.25), (0.0, 0.5)):
        assert AnalyticCost(ns, cache).ms(rows) == pytest.approx([wanted])


def test_constants_are_found_again() -> None:
    random = np.random.default_rng(0)
    tables = table_pool(0, num_tables=50)
    sets = [[tables[n].load(int(random.choice([16, 64]))).whole() for n in random.choice(50, 5)] for _ in range(80)]
    true = AnalyticCost(cache_bytes=3e5)
    ms = np.array([true.ms(true.rows(own).sum(0, keepdims=True))[0] for own in sets])
    fitted = fit_analytic([terms(own) for own in sets], ms, 3e5)
    again = np.array([fitted.ms(fitted.rows(own).sum(0, keepdims=True))[0] for own in sets])
    assert np.abs(again / ms - 1).max() < 0.02


def test_least_squares_never_go_below_zero() -> None:
    random = np.random.default_rng(0)
    matrix = random.random((30, 4))
    x = nonnegative_least_squares(matrix, matrix @ np.array([1.0, 0.0, 2.0, -1.0]))
    assert (x >= 0).all()
    assert x[3] == 0
    gradient = matrix.T @ (matrix @ x - matrix @ np.array([1.0, 0.0, 2.0, -1.0]))
    assert gradient[x == 0].min() >= 0
    assert np.abs(gradient[x > 0]).max() < 1e-6


def test_wrong_constants_are_refused() -> None:
    with pytest.raises(InputError, match="9 numbers from 0"):
        AnalyticCost((1.0,))
