"""The family of sparse update rules, and the calls that apply a member to a table."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from recfold.optim.adagrad import ADAGRAD
from recfold.optim.adam import ADAM
from recfold.optim.rowwise_adagrad import ROWWISE_ADAGRAD
from recfold.optim.sgd import SGD
from recfold.optim.sparse_optimizer import LOW_PRECISION, SparseOptimizer, State, UpdateSettings
from recfold.optim.touched import Touched, sum_touched
from recfold.spec import unknown

SPARSE_OPTIMIZERS: dict[str, SparseOptimizer] = {
    optimizer.name: optimizer for optimizer in (SGD, ADAGRAD, ROWWISE_ADAGRAD, ADAM)
}
BLOCK_BYTES = 2 << 20  # of summed gradients: with the rows and one temporary it stays in a core's cache


def sparse_optimizer(name: str) -> SparseOptimizer:
    """A member of the family by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in SPARSE_OPTIMIZERS:
        raise unknown("sparse optimizer", name, SPARSE_OPTIMIZERS)
    return SPARSE_OPTIMIZERS[name]


def new_state(optimizer: SparseOptimizer, weight_RD: Tensor) -> State:
    """What a rule keeps of a table, all zero: [R] or [R, D], float32 where the rows are of half precision, on the
    table's device; `step` is one int64 on the CPU.

    >>> state = new_state(SPARSE_OPTIMIZERS["rowwise_adagrad"], torch.zeros(3, 2, dtype=torch.float16))
    >>> {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in state.items()}
    {'sum': ((3,), torch.float32)}
    """
    dtype = torch.float32 if weight_RD.dtype in LOW_PRECISION else weight_RD.dtype
    shapes = {"rows": weight_RD.shape[:1], "entries": weight_RD.shape}
    return {
        name: torch.zeros((), dtype=torch.int64)
        if of == "table"
        else torch.zeros(shapes[of], dtype=dtype, device=weight_RD.device)
        for name, of in optimizer.state.items()
    }


def update_rows_(
    weight_RD: Tensor,
    state: Mapping[str, Tensor],
    rows_T: Tensor,
    grad_TD: Tensor,
    optimizer: SparseOptimizer,
    settings: UpdateSettings,
) -> None:
    """Update the touched rows of a table in place, each once.

    Rows of half precision are updated in float32 and rounded to nearest.

    Args:
        weight_RD: the table.
        state: as `new_state` made it.
        rows_T: distinct.
        grad_TD: their summed gradients, float32 or float64; scratch, it does not keep its values.
    """
    _count_(state)
    _update_block_(weight_RD, state, rows_T, grad_TD, optimizer, settings)


def update_touched_(
    weight_RD: Tensor,
    state: Mapping[str, Tensor],
    touched: Touched,
    grad_ND: Tensor,
    optimizer: SparseOptimizer,
    settings: UpdateSettings,
) -> None:
    """Sum the gradients of each touched row and update it, as `sum_rows` and `update_rows_` do, but on a CPU in blocks
    of rows whose temporaries stay in cache.

    Args:
        grad_ND: gradient of each bag's sum.
    """
    _count_(state)
    grad_ND = (grad_ND.float() if grad_ND.dtype in LOW_PRECISION else grad_ND).contiguous()
    num_rows, row_bytes = len(touched.rows_T), max(grad_ND.shape[1] * grad_ND.element_size(), 1)
    most = max(BLOCK_BYTES // row_bytes, 1) if grad_ND.device.type == "cpu" else max(num_rows, 1)
    for start in range(0, num_rows, most):
        stop = min(start + most, num_rows)
        grad_TD = sum_touched(grad_ND, touched, start, stop)
        _update_block_(weight_RD, state, touched.rows_T[start:stop], grad_TD, optimizer, settings)


def _count_(state: Mapping[str, Tensor]) -> None:
    if "step" in state:
        state["step"].add_(1)


def _update_block_(
    weight_RD: Tensor,
    state: Mapping[str, Tensor],
    rows_T: Tensor,
    grad_TD: Tensor,
    optimizer: SparseOptimizer,
    settings: UpdateSettings,
) -> None:
    weight_TD = weight_RD.index_select(0, rows_T).to(grad_TD.dtype)
    by_row = {name: state[name] for name, of in optimizer.state.items() if of != "table"}
    own = {**state, **{name: tensor.index_select(0, rows_T) for name, tensor in by_row.items()}}
    optimizer.update_(weight_TD, own, grad_TD, settings)
    _put_rows_(weight_RD, rows_T, weight_TD.to(weight_RD.dtype))
    for name, tensor in by_row.items():
        _put_rows_(tensor, rows_T, own[name])


def _put_rows_(tensor: Tensor, rows_T: Tensor, source: Tensor) -> None:
    """`tensor[rows_T] = source`, bit for bit."""
    # on a CPU index_copy_ moves one element at a time: fewer and wider ones where a row is made of them
    wide = torch.complex128
    if tensor.device.type == "cpu" and tensor.dim() == 2 and tensor.shape[1] * tensor.itemsize % wide.itemsize == 0:
        tensor, source = tensor.view(wide), source.view(wide)
    tensor.index_copy_(0, rows_T, source)


def update_rows_reference_(
    weight_RD: Tensor,
    state: Mapping[str, Tensor],
    rows_T: Tensor,
    grad_TD: Tensor,
    optimizer: SparseOptimizer,
    settings: UpdateSettings,
) -> None:
    """The slow twin of `update_rows_`: one entry at a time in Python floats (float64)."""
    rate, eps, decay = settings.learning_rate, settings.eps, settings.weight_decay
    if optimizer.name == "adam":
        state["step"].fill_(int(state["step"]) + 1)
    for row, grads in zip(rows_T.tolist(), grad_TD.tolist(), strict=True):
        weights = weight_RD[row].tolist()
        grads = [g + decay * w for g, w in zip(grads, weights, strict=True)]
        roots = [1.0] * len(grads)
        if optimizer.name == "rowwise_adagrad":
            total = float(state["sum"][row]) + sum(g * g for g in grads) / len(grads)
            state["sum"][row] = total
            roots = [math.sqrt(total) + eps] * len(grads)
        elif optimizer.name == "adagrad":
            totals = [s + g * g for s, g in zip(state["sum"][row].tolist(), grads, strict=True)]
            _set(state["sum"], row, totals)
            roots = [math.sqrt(total) + eps for total in totals]
        elif optimizer.name == "adam":
            grads, roots = _adam_reference_(state, row, grads, settings)
        moved = [w - rate * g / root for w, g, root in zip(weights, grads, roots, strict=True)]
        _set(weight_RD, row, moved)


def _adam_reference_(
    state: Mapping[str, Tensor], row: int, grads: list[float], settings: UpdateSettings
) -> tuple[list[float], list[float]]:
    """The corrected means and what they are divided by."""
    beta1, beta2, step = settings.beta1, settings.beta2, int(state["step"])
    means = [beta1 * m + (1 - beta1) * g for m, g in zip(state["m"][row].tolist(), grads, strict=True)]
    squares = [beta2 * v + (1 - beta2) * g * g for v, g in zip(state["v"][row].tolist(), grads, strict=True)]
    _set(state["m"], row, means)
    _set(state["v"], row, squares)
    roots = [math.sqrt(v / (1 - beta2**step)) + settings.eps for v in squares]
    return [m / (1 - beta1**step) for m in means], roots


def _set(tensor: Tensor, row: int, values: list[float]) -> None:
    tensor[row] = torch.tensor(values, dtype=tensor.dtype)
