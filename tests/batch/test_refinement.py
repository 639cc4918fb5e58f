"""Two indexes refined to one: samples share a row where they share both rows."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recfold.batch import FoldIndex
from recfold.batch.refinement import refined, refined_reference
from recfold.spec import InputError


@st.composite
def pairs_of_indexes(draw: st.DrawFn) -> tuple[FoldIndex, FoldIndex]:
    num_samples = draw(st.integers(1, 12))
    found = []
    for _ in range(2):
        rows = draw(st.integers(1, 5))
        inverse = draw(st.lists(st.integers(0, rows - 1), min_size=num_samples, max_size=num_samples))
        found.append(FoldIndex(torch.tensor(sorted(inverse) if draw(st.booleans()) else inverse), rows))
    return found[0], found[1]


@given(pairs_of_indexes())
def test_every_sample_has_the_pair_of_its_rows(indexes: tuple[FoldIndex, FoldIndex]) -> None:
    first, second = indexes
    found = refined(first, second)
    inverse = found.index.inverse
    assert inverse is not None
    pairs = list(zip(*(rows[inverse].tolist() for rows in found.rows), strict=True))
    assert pairs == refined_reference(first, second)
    runs = 1 + sum(a != b for a, b in itertools.pairwise(pairs))
    falls = not (first.never_falls and second.never_falls)
    assert found.index.num_distinct == (len(set(pairs)) if falls else runs)
    for index in indexes:
        values = torch.arange(index.num_distinct, dtype=torch.float64).unsqueeze(1)
        assert torch.equal(found.index.unfold(found.index.rows_of(index)(values)), index.unfold(values))


@given(pairs_of_indexes())
def test_either_order_gives_one_index(indexes: tuple[FoldIndex, FoldIndex]) -> None:
    one, other = refined(*indexes), refined(*indexes[::-1])
    assert one.index is other.index
    assert one.rows == other.rows[::-1]


def test_indexes_of_two_batches_are_refused() -> None:
    first, second = (FoldIndex(torch.tensor([0, 0]), 1, batch=object()) for _ in range(2))
    with pytest.raises(InputError, match="two Folded tensors of different batches are combined"):
        refined(first, second)
