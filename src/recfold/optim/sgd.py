"""Stochastic gradient descent on the touched rows."""

from torch import Tensor

from recfold.optim.sparse_optimizer import SparseOptimizer, State, UpdateSettings, decay_


def update_(weight_TD: Tensor, state: State, grad_TD: Tensor, settings: UpdateSettings) -> None:
    """`w -= learning_rate * (g + weight_decay * w)`.

    Example:
        >>> import torch
        >>> rows = torch.ones(1, 2)
        >>> update_(rows, {}, torch.tensor([[1.0, 2.0]]), UpdateSettings(learning_rate=0.25))
        >>> rows.tolist()
        [[0.75, 0.5]]
    """
    decay_(weight_TD, grad_TD, settings)
    weight_TD.add_(grad_TD, alpha=-settings.learning_rate)


SGD = SparseOptimizer("sgd", {}, update_, frozenset({"learning_rate", "weight_decay"}))
