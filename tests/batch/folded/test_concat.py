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
