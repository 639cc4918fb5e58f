"""Adagrad with one running sum per entry."""

from torch import Tensor

from recfold.optim.sparse_optimizer import SparseOptimizer, UpdateSettings, decayed


def update(
    weight_TD: Tensor, sum_TD: Tensor | None, grad_TD: Tensor, settings: UpdateSettings
) -> tuple[Tensor, Tensor | None]:
    """`g += weight_decay * w; sum += g^2; w -= learning_rate * g / (sqrt(sum) + eps)`.

    Source: Duchi, Hazan, Singer 2011, section 1.1 (diagonal); the same formula as FBGEMM's EXACT_ADAGRAD.

    Example:
        >>> import torch
        >>> rows, total = update(torch.ones(1, 2), torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]),
        ...                      UpdateSettings(learning_rate=0.5))
        >>> rows.tolist(), total.tolist()
        ([[0.5, 0.5]], [[9.0, 16.0]])
    """
    assert sum_TD is not None
    grad_TD = decayed(weight_TD, grad_TD, settings)
    sum_TD = sum_TD.addcmul(grad_TD, grad_TD)
    return weight_TD.addcdiv(grad_TD, sum_TD.sqrt().add_(settings.eps), value=-settings.learning_rate), sum_TD


ADAGRAD = SparseOptimizer("adagrad", "entries", update)
