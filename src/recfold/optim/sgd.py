"""Stochastic gradient descent on the touched rows."""

from torch import Tensor

from recfold.optim.sparse_optimizer import SparseOptimizer, UpdateSettings, decayed


def update(
    weight_TD: Tensor, sum_T: Tensor | None, grad_TD: Tensor, settings: UpdateSettings
) -> tuple[Tensor, Tensor | None]:
    """`w -= learning_rate * (g + weight_decay * w)`.

    Example:
        >>> import torch
        >>> rows, _ = update(torch.ones(1, 2), None, torch.tensor([[1.0, 2.0]]), UpdateSettings(learning_rate=0.25))
        >>> rows.tolist()
        [[0.75, 0.5]]
    """
    grad_TD = decayed(weight_TD, grad_TD, settings)
    return weight_TD.add(grad_TD, alpha=-settings.learning_rate), None


SGD = SparseOptimizer("sgd", "nothing", update)
