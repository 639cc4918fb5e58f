"""Packing into bins of one size: found wherever there is one, of few pieces; proven where there is none."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recfold.plan.search import packing
from recfold.plan.search.packing import pack


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=7), ranks=st.integers(1, 3), room=st.integers(1, 60))
def test_packing_agrees_with_trying_everything(sizes: list[int], ranks: int, room: int) -> None:
    placements = itertools.product(range(ranks), repeat=len(sizes))
    possible = any(max(np.bincount(p, weights=sizes, minlength=ranks)) <= room for p in placements)
    found, proven = pack(np.array(sizes), ranks, room)
    assert (found is not None) == possible
    assert proven == (not possible)
    if found is not None:
        assert max(np.bincount(found, weights=sizes, minlength=ranks)) <= room


def test_a_packing_that_needs_exchanges_is_found() -> None:
    # a perfect packing of 100 pieces on 10 ranks: bins cut at random, so that nothing is left over
    rng = np.random.default_rng(1)
    sizes = np.concatenate(
        [np.diff(np.concatenate([[0], np.sort(rng.choice(9999, 9, replace=False) + 1), [10_000]])) for _ in range(10)]
    )
    found, _ = pack(sizes, 10, 10_010)
    assert found is not None
    assert np.bincount(found, weights=sizes).max() <= 10_010


def test_giving_up_does_not_claim_a_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "NODES", 10)
    assert pack(np.array([3] * 30 + [2]), 16, 5.9) == (None, False)
