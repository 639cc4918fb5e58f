"""The family of sparse update rules, and one call that applies a member to a table."""

import math

import torch
from torch import Tensor

from recfold.optim.adagrad import ADAGRAD
from recfold.optim.rowwise_adagrad import ROWWISE_ADAGRAD
from recfold.optim.sgd import SGD
from recfold.optim.sparse_optimizer import SparseOptimizer, UpdateSettings
from recfold.optim.sum_rows import LOW_PRECISION
from recfold.spec import unknown

SPARSE_OPTIMIZERS: dict[str, SparseOptimizer] = {
    optimizer.name: optimizer for optimizer in (SGD, ADAGRAD, ROWWISE_ADAGRAD)
}


def sparse_optimizer(name: str) -> SparseOptimizer:
    """A member of the family by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in SPARSE_OPTIMIZERS:
        raise unknown("sparse optimizer", name, SPARSE_OPTIMIZERS)
    return SPARSE_OPTIMIZERS[name]


def new_sum(optimizer: SparseOptimizer, weight_RD: Tensor) -> Tensor | None:
    """Zero running sums for a table: [R], [R, D] or None; float32 where the rows are of half precision.

    >>> new_sum(SPARSE_OPTIMIZERS["rowwise_adagrad"], torch.zeros(3, 2, dtype=torch.float16)).dtype
    torch.float32
    """
    if optimizer.sum_of == "nothing":
        return None
    dtype = torch.float32 if weight_RD.dtype in LOW_PRECISION else weight_RD.dtype
    shape = weight_RD.shape if optimizer.sum_of == "entries" else weight_RD.shape[:1]
    return torch.zeros(shape, dtype=dtype, device=weight_RD.device)


def update_rows_(
    weight_RD: Tensor,
    running_sum: Tensor | None,
    rows_T: Tensor,
    grad_TD: Tensor,
    optimizer: SparseOptimizer,
    settings: UpdateSettings,
) -> None:
    """Update the touched rows of a table in place, each once.

    Rows of half precision are updated in float32 and rounded to nearest.

    Args:
        weight_RD: the table.
        running_sum: as `new_sum` made it.
        rows_T: distinct.
        grad_TD: their summed gradients, float32 or float64.
    """
    weight_TD = weight_RD.index_select(0, rows_T).to(grad_TD.dtype)
    sum_T = None if running_sum is None else running_sum.index_select(0, rows_T)
    weight_TD, sum_T = optimizer.update(weight_TD, sum_T, grad_TD, settings)
    weight_RD.index_copy_(0, rows_T, weight_TD.to(weight_RD.dtype))
    if running_sum is not None and sum_T is not None:
        running_sum.index_copy_(0, rows_T, sum_T)


def update_rows_reference_(
    weight_RD: Tensor,
    running_sum: Tensor | None,
    rows_T: Tensor,
    grad_TD: Tensor,
    optimizer: SparseOptimizer,
    settings: UpdateSettings,
) -> None:
    """The slow twin of `update_rows_`: one entry at a time in Python floats (float64)."""
    rate, eps, decay = settings.learning_rate, settings.eps, settings.weight_decay
    for row, grads in zip(rows_T.tolist(), grad_TD.tolist(), strict=True):
        weights = weight_RD[row].tolist()
        grads = [g + decay * w for g, w in zip(grads, weights, strict=True)]
        if running_sum is None:
            roots = [1.0] * len(grads)
        elif optimizer.sum_of == "rows":
            total = float(running_sum[row]) + sum(g * g for g in grads) / len(grads)
            running_sum[row] = total
            roots = [math.sqrt(total) + eps] * len(grads)
        else:
            totals = [s + g * g for s, g in zip(running_sum[row].tolist(), grads, strict=True)]
            running_sum[row] = torch.tensor(totals, dtype=running_sum.dtype)
            roots = [math.sqrt(total) + eps for total in totals]
        moved = [w - rate * g / root for w, g, root in zip(weights, grads, roots, strict=True)]
        weight_RD[row] = torch.tensor(moved, dtype=weight_RD.dtype)
