"""The history encoder: empty histories, and the mean over what is there."""

import torch

from recfold.batch import FoldedSequence, FoldIndex
from recfold.model.encoder import HistoryEncoder


def sequence(rows: torch.Tensor, start: list[int], length: list[int]) -> FoldedSequence:
    return FoldedSequence(rows, torch.tensor(start), torch.tensor(length), FoldIndex.identity(len(start)))


def test_an_empty_history_is_zeros_and_sends_no_nan_back() -> None:
    torch.manual_seed(0)
    encoder = HistoryEncoder({"x": 8}, (), 8)
    rows = torch.randn(3, 8, requires_grad=True)
    encoded = encoder({"x": sequence(rows, [0, 1], [0, 2])}, {})
    assert not encoded[0].any()
    assert encoded[1].any()
    encoded.square().sum().backward()
    assert rows.grad is not None
    assert not rows.grad[0].any()
    assert rows.grad[1:].isfinite().all()
    assert rows.grad[1:].any()


def test_a_batch_of_empty_histories_is_zeros() -> None:
    encoder = HistoryEncoder({"x": 8}, (), 8)
    assert not encoder({"x": sequence(torch.empty(0, 8), [0, 0], [0, 0])}, {}).any()


def test_a_history_is_encoded_as_if_it_were_alone() -> None:
    torch.manual_seed(0)
    encoder = HistoryEncoder({"x": 8}, (), 8, positions=5).double()
    rows = torch.randn(6, 8, dtype=torch.float64)
    together = encoder({"x": sequence(rows, [0, 1, 4], [4, 5, 1])}, {})
    for number, (start, length) in enumerate([(0, 4), (1, 5), (4, 1)]):
        alone = encoder({"x": sequence(rows, [start], [length])}, {})
        torch.testing.assert_close(together[number], alone[0])
