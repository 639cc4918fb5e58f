import torch
from hypothesis import given
from hypothesis import strategies as st

from recfold.batch.jagged import (
    jagged_index_select,
    jagged_index_select_reference,
    offsets_of,
    window_positions,
)


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4), max_size=6), st.data())
def test_index_select_equals_the_reference(lists: list[list[int]], data: st.DataObject) -> None:
    values = torch.tensor([value for row in lists for value in row], dtype=torch.int64)
    offsets = offsets_of(torch.tensor([len(row) for row in lists], dtype=torch.int64))
    weights = torch.rand(len(values)) if data.draw(st.booleans()) else None
    picks = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=9)) if lists else []
    index = torch.tensor(picks, dtype=torch.int64)

    got = jagged_index_select(values, offsets, index, weights)
    expected = jagged_index_select_reference(values, offsets, index, weights)
    for ours, theirs in zip(got, expected, strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)
    assert torch.equal(got[1].diff(), torch.tensor([len(lists[i]) for i in picks], dtype=torch.int64))


def test_index_select_of_rows_with_further_axes() -> None:
    rows = torch.arange(6.0).view(3, 2)
    values, offsets, _ = jagged_index_select(rows, torch.tensor([0, 2, 3]), torch.tensor([1, 0, 0]))
    assert torch.equal(values, rows[[2, 0, 1, 0, 1]])
    assert offsets.tolist() == [0, 1, 3, 5]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=8))
def test_window_positions_are_the_ranges(windows: list[tuple[int, int]]) -> None:
    start, length = (torch.tensor([window[i] for window in windows], dtype=torch.int64) for i in (0, 1))
    positions, offsets = window_positions(start, length)
    assert positions.tolist() == [at for first, size in windows for at in range(first, first + size)]
    assert offsets.tolist() == [sum(size for _, size in windows[:n]) for n in range(len(windows) + 1)]
