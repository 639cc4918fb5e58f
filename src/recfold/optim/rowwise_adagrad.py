"""Adagrad with one running sum per row: D times less state."""

from torch import Tensor

from recfold.optim.sparse_optimizer import SparseOptimizer, UpdateSettings, decayed


def update(
    weight_TD: Tensor, sum_T: Tensor | None, grad_TD: Tensor, settings: UpdateSettings
) -> tuple[Tensor, Tensor | None]:
    """`g += weight_decay * w; sum += mean over the row of g^2; w -= learning_rate * g / (sqrt(sum) + eps)`.

    Source: Gupta et al. 2014, "Training highly multiclass classifiers"; the same formula as FBGEMM's
    EXACT_ROWWISE_ADAGRAD.

    Example:
        >>> import torch
        >>> rows, total = update(torch.ones(1, 4), torch.zeros(1), torch.tensor([[2.0, 0.0, 0.0, 0.0]]),
        ...                      UpdateSettings(learning_rate=0.25))
        >>> rows.tolist(), total.tolist()
        ([[0.5, 1.0, 1.0, 1.0]], [1.0])
    """
    assert sum_T is not None
    grad_TD = decayed(weight_TD, grad_TD, settings)
    sum_T = sum_T + grad_TD.square().mean(1)
    step_T = settings.learning_rate / (sum_T.sqrt() + settings.eps)
    return weight_TD.addcmul(grad_TD, step_T.unsqueeze(1), value=-1), sum_T


ROWWISE_ADAGRAD = SparseOptimizer("rowwise_adagrad", "rows", update)
