"""Adagrad with one running sum per row: D times less state."""

from torch import Tensor
from torch.linalg import vector_norm

from recfold.optim.sparse_optimizer import SparseOptimizer, State, UpdateSettings, decay_


def update_(weight_TD: Tensor, state: State, grad_TD: Tensor, settings: UpdateSettings) -> None:
    """`g += weight_decay * w; sum += mean over the row of g^2; w -= learning_rate * g / (sqrt(sum) + eps)`.

    Source: Gupta et al. 2014, "Training highly multiclass classifiers"; the same formula as FBGEMM's
    EXACT_ROWWISE_ADAGRAD.

    Example:
        >>> import torch
        >>> rows, total = torch.ones(1, 4), torch.zeros(1)
        >>> update_(rows, {"sum": total}, torch.tensor([[2.0, 0.0, 0.0, 0.0]]), UpdateSettings(learning_rate=0.25))
        >>> rows.tolist(), total.tolist()
        ([[0.5, 1.0, 1.0, 1.0]], [1.0])
    """
    decay_(weight_TD, grad_TD, settings)
    norm_T = vector_norm(grad_TD, dim=1)  # reads the gradient once; its square would be as large again
    sum_T = state["sum"].addcmul_(norm_T, norm_T, value=1 / grad_TD.shape[1])
    _move_(weight_TD, sum_T, grad_TD, settings)


def update_with_norms_(
    weight_TD: Tensor, state: State, grad_TD: Tensor, settings: UpdateSettings, square_T: Tensor, dim: int
) -> None:
    """`update_` of some columns of the rows.

    Args:
        grad_TD: of these columns, weight decay included.
        square_T: sum of `g^2` over all columns of the rows, weight decay included.
        dim: number of all columns.
    """
    sum_T = state["sum"].add_(square_T, alpha=1 / dim)
    _move_(weight_TD, sum_T, grad_TD, settings)


def _move_(weight_TD: Tensor, sum_T: Tensor, grad_TD: Tensor, settings: UpdateSettings) -> None:
    step_T = sum_T.sqrt().add_(settings.eps).reciprocal_().mul_(settings.learning_rate)
    weight_TD.sub_(grad_TD.mul_(step_T.unsqueeze(1)))


ROWWISE_ADAGRAD = SparseOptimizer(
    "rowwise_adagrad", {"sum": "rows"}, update_, frozenset({"learning_rate", "eps", "weight_decay"})
)
