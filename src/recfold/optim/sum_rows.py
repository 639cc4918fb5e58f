"""Gradients of bags to gradients of the rows that they read: each distinct row's, summed in a fixed order."""

import torch
from torch import Tensor

LOW_PRECISION = (torch.float16, torch.bfloat16)


def sum_rows(
    grad_ND: Tensor, values_V: Tensor, offsets: Tensor | None, weights_V: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sum the gradients of repeated rows.

    Each row is summed by one thread, in the order of its ids: the bits do not depend on the number of threads.

    Args:
        grad_ND: gradient of each bag's sum, [N, D]; half precisions are summed in float32.
        values_V: int64 row of each id, bags one after the other.
        offsets: int64 [N + 1], or None for bags of one id each (N = V).
        weights_V: what each id was multiplied with, of the dtype of the sum; None for 1.
    Returns:
        rows_T, sorted and distinct, and their gradients [T, D], float32 or float64.

    Example:
        >>> rows, grads = sum_rows(torch.tensor([[1.0], [10.0]]), torch.tensor([7, 9, 7]), torch.tensor([0, 2, 3]))
        >>> rows.tolist(), grads.flatten().tolist()
        ([7, 9], [11.0, 1.0])
    """
    if grad_ND.dtype in LOW_PRECISION:
        grad_ND = grad_ND.float()
    if len(values_V) == 0:
        return values_V, grad_ND.new_zeros(0, grad_ND.shape[1])
    sorted_V, order_V = torch.sort(values_V, stable=True)
    rows_T, counts_T = torch.unique_consecutive(sorted_V, return_counts=True)
    starts = counts_T.new_zeros(len(rows_T) + 1)
    torch.cumsum(counts_T, 0, out=starts[1:])
    bag_V = order_V
    if offsets is not None:
        bags_N = torch.arange(len(grad_ND), device=grad_ND.device)
        bag_V = torch.repeat_interleave(bags_N, offsets.diff(), output_size=len(values_V))[order_V]
    weights = None if weights_V is None else weights_V[order_V]
    # The embedding kernel is the quickest segmented sum that torch has: it fuses the gather with the sum.
    grad_TD, *_ = torch.embedding_bag(grad_ND.contiguous(), bag_V, starts, False, 0, False, weights, True)
    return rows_T, grad_TD


def sum_rows_reference(
    grad_ND: Tensor, values_V: Tensor, offsets: Tensor | None, weights_V: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The slow twin of `sum_rows`: one id at a time."""
    bounds = list(range(len(values_V) + 1)) if offsets is None else offsets.tolist()
    wide = torch.float32 if grad_ND.dtype in LOW_PRECISION else grad_ND.dtype
    sums: dict[int, Tensor] = {}
    for bag, grad_D in enumerate(grad_ND.to(wide)):
        for position in range(bounds[bag], bounds[bag + 1]):
            row = int(values_V[position])
            part = grad_D if weights_V is None else grad_D * weights_V[position]
            sums[row] = sums[row] + part if row in sums else part
    rows = sorted(sums)
    empty = torch.zeros(0, grad_ND.shape[1], dtype=wide)
    return torch.tensor(rows, dtype=torch.int64), torch.stack([sums[row] for row in rows]) if rows else empty
