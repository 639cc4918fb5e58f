"""Concatenations of parts under several indexes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from recfold.batch import Folded, FoldIndex, LazyConcat

INDEX = FoldIndex(torch.tensor([0, 0, 1, 0, 1, 1]), 2)


def test_batch_norm_of_a_concatenation_keeps_running_statistics_and_gradients() -> None:
    """Part by part: the parts share the running statistics, whose changes must not reach another part's backward."""
    torch.manual_seed(0)
    leaves = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((6, 2), (2, 3), (6, 1))]
    found, right = (nn.BatchNorm1d(6, dtype=torch.float64) for _ in range(2))
    weights = torch.randn(6, 6, dtype=torch.float64)
    joined = torch.cat([leaves[0], Folded(leaves[1], INDEX), leaves[2]], 1)
    out = found(joined)
    assert isinstance(out, LazyConcat)
    expected = right(torch.cat([leaves[0], leaves[1][INDEX.inverse], leaves[2]], 1))
    torch.testing.assert_close(out.unfold(), expected)
    grads = torch.autograd.grad((out * weights).sum(), [*leaves, *found.parameters()])
    for one, other in zip(
        grads, torch.autograd.grad((expected * weights).sum(), [*leaves, *right.parameters()]), strict=True
    ):
        torch.testing.assert_close(one, other)
    for one, other in zip(found.buffers(), right.buffers(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x[:, torch.tensor([0, 9])],
        lambda x: x[:, torch.tensor([-9])],
        lambda x: x.index_select(1, torch.tensor([9])),
        lambda x: x.index_select(1, torch.tensor([-1])),
        lambda x: x.narrow(1, 3, 4),
        lambda x: x.select(1, 9),
        lambda x: x.unsqueeze(4),
        lambda x: x.sum(3),
        lambda x: x.unbind(3),
        lambda x: x.split(0, 1),
        lambda x: torch.bmm(x.unsqueeze(2), x.unsqueeze(2).transpose(1, 2))[:, torch.tensor([9]), torch.tensor([0])],
        lambda x: torch.bmm(x.unsqueeze(2), x.unsqueeze(2).mT).flatten(1)[:, torch.tensor([99])],
    ],
)
def test_what_is_not_there_is_an_error(wrong: Callable[[Any], Any]) -> None:
    folded = Folded(torch.randn(2, 2), FoldIndex(torch.tensor([0, 0, 1]), 2))
    joined = torch.cat([folded, torch.randn(3, 2)], 1)
    with pytest.raises((IndexError, RuntimeError)):
        wrong(joined.unfold())
    with pytest.raises((IndexError, RuntimeError)):
        wrong(joined)
