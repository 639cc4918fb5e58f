"""The popularity baselines agree with their slow twins and never look at the present or the future."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recfold.train.popularity import (
    PRIOR,
    Seen,
    as_of_click_rate,
    as_of_click_rate_reference,
    base_rate,
    click_rate,
    click_rate_reference,
)

ROWS = st.lists(
    st.tuples(st.integers(-1, 2), st.integers(0, 4), st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0, 2.5])),
    max_size=20,
)


def seen(rows: list[tuple[int, int, float, float]]) -> Seen:
    c, t, y, w = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Seen(np.array(c, np.int64), np.array(t, np.int64), np.array(y, float), np.array(w, float))


@given(ROWS, ROWS)
def test_both_rates_equal_their_twins(train: list, evaluated: list) -> None:
    before, after = seen(train), seen(evaluated)
    fast, slow = as_of_click_rate(before, after, 0.3), as_of_click_rate_reference(before, after, 0.3)
    np.testing.assert_allclose(fast, slow, rtol=1e-12)
    expected = click_rate_reference(before, after.candidates, 0.3)
    np.testing.assert_allclose(click_rate(before, after.candidates, 0.3), expected, rtol=1e-12)


def test_the_same_moment_and_the_future_are_not_seen() -> None:
    train = seen([(1, 10, 1.0, 1.0), (2, 10, 0.0, 1.0)])
    evaluated = seen([(1, 10, 1.0, 1.0), (1, 20, 1.0, 1.0), (1, 20, 0.0, 1.0), (3, 30, 0.0, 1.0)])
    base = base_rate(train)
    rates = as_of_click_rate(train, evaluated, base)
    assert rates[0] == base  # only samples of its own moment
    assert rates[1] == rates[2] == (2 + PRIOR * base) / (2 + PRIOR)
    assert rates[3] == base  # never seen


def test_an_unseen_candidate_has_the_base_rate() -> None:
    train = seen([(1, 0, 1.0, 1.0), (1, 1, 0.0, 3.0)])
    assert base_rate(train) == 0.25
    assert click_rate(train, np.array([9]), 0.25).tolist() == [0.25]
