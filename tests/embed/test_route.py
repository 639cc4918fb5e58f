from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recfold.embed import Bags
from recfold.embed.route import Part, cut_bags, cut_bags_reference

MODES = ("sum", "mean", "rows")


@st.composite
def routed(draw: Any) -> tuple[Bags, list[int]]:
    rows = draw(st.integers(1, 30))
    inner = draw(st.sets(st.integers(1, rows - 1), max_size=5)) if rows > 1 else set()
    lists = draw(st.lists(st.lists(st.integers(0, rows - 1), max_size=5), max_size=6))
    values = torch.tensor([value for own in lists for value in own], dtype=torch.int64)
    offsets = torch.tensor([0, *(len(own) for own in lists)]).cumsum(0)
    weights = torch.arange(len(values), dtype=torch.float64) if draw(st.booleans()) else None
    return Bags(values, offsets, weights), [0, *sorted(inner), rows]


def assert_equal(found: Tensor | None, expected: Tensor | None) -> None:
    if found is None or expected is None:
        assert found is expected
    else:
        assert found.dtype == expected.dtype
        assert found.tolist() == expected.tolist()


def assert_equal_parts(found: list[Part], expected: list[Part]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.num_bags == other.num_bags
        for name in ("ids", "lengths", "weights", "index"):
            assert_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("mode", MODES)
@given(case=routed())
def test_cutting_equals_the_slow_twin(mode: str, case: tuple[Bags, list[int]]) -> None:
    bags, cuts = case
    assert_equal_parts(cut_bags(bags, mode, cuts), cut_bags_reference(bags, mode, cuts))


@pytest.mark.parametrize("mode", ["sum", "mean"])
@given(case=routed())
def test_cutting_with_empty_lists_equals_the_slow_twin(mode: str, case: tuple[Bags, list[int]]) -> None:
    bags, cuts = case
    found = cut_bags(bags, mode, cuts, keep_empty=True)
    assert {part.num_bags for part in found} == {bags.num_bags(mode)}
    assert_equal_parts(found, cut_bags_reference(bags, mode, cuts, keep_empty=True))


def test_only_lists_with_ids_in_a_shard_go_there() -> None:
    bags = Bags(torch.tensor([7, 2, 3, 9, 8]), torch.tensor([0, 2, 2, 3, 5]))
    low, high = cut_bags(bags, "sum", (0, 5, 10))
    assert [low.ids.tolist(), high.ids.tolist()] == [[2, 3], [2, 4, 3]]
    assert low.lengths is not None
    assert high.lengths is not None
    assert [low.lengths.tolist(), high.lengths.tolist()] == [[1, 1], [1, 2]]
    assert low.index is not None
    assert high.index is not None
    assert [low.index.tolist(), high.index.tolist()] == [[0, 2], [0, 3]]
