"""Adagrad with one running sum per entry."""

from torch import Tensor

from recfold.optim.sparse_optimizer import SparseOptimizer, State, UpdateSettings, decay_


def update_(weight_TD: Tensor, state: State, grad_TD: Tensor, settings: UpdateSettings) -> None:
    """`g += weight_decay * w; sum += g^2; w -= learning_rate * g / (sqrt(sum) + eps)`.

    Source: Duchi, Hazan, Singer 2011, section 1.1 (diagonal); the same formula as FBGEMM's EXACT_ADAGRAD.

    Example:
        >>> import torch
        >>> rows, total = torch.ones(1, 2), torch.zeros(1, 2)
        >>> update_(rows, {"sum": total}, torch.tensor([[3.0, 4.0]]), UpdateSettings(learning_rate=0.5))
        >>> rows.tolist(), total.tolist()
        ([[0.5, 0.5]], [[9.0, 16.0]])
    """
    decay_(weight_TD, grad_TD, settings)
    sum_TD = state["sum"].addcmul_(grad_TD, grad_TD)
    weight_TD.addcdiv_(grad_TD, sum_TD.sqrt().add_(settings.eps), value=-settings.learning_rate)


ADAGRAD = SparseOptimizer("adagrad", {"sum": "entries"}, update_, frozenset({"learning_rate", "eps", "weight_decay"}))
