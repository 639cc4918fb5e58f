"""Adam on the touched rows."""

import math

from torch import Tensor

from recfold.optim.sparse_optimizer import SparseOptimizer, State, UpdateSettings, decay_


def update_(weight_TD: Tensor, state: State, grad_TD: Tensor, settings: UpdateSettings) -> None:
    """`g += weight_decay * w; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    w -= learning_rate * m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps)`.

    A row that a step does not touch keeps its weight, m and v. `step` counts the updates of the whole table, this one
    included, whichever rows they touched; so a row that is first touched at step 1000 is hardly corrected.

    Source: Kingma and Ba 2015, algorithm 1. Touched rows only, and one count per table, are as in
    torch.optim.SparseAdam and FBGEMM's ADAM; `eps` stands outside the corrected root as in algorithm 1, FBGEMM and
    torch.optim.Adam (SparseAdam adds it before the correction). Weight decay is coupled as in torch.optim.Adam
    (FBGEMM's ADAM decouples it).

    Example:
        >>> import torch
        >>> rows, m, v = torch.ones(1, 2), torch.zeros(1, 2), torch.zeros(1, 2)
        >>> settings = UpdateSettings(learning_rate=0.25, beta1=0.5, beta2=0.5)
        >>> update_(rows, {"step": torch.tensor(1), "m": m, "v": v}, torch.tensor([[2.0, -4.0]]), settings)
        >>> rows.tolist(), m.tolist(), v.tolist()
        ([[0.75, 1.25]], [[1.0, -2.0]], [[2.0, 8.0]])
    """
    step = int(state["step"])
    decay_(weight_TD, grad_TD, settings)
    m_TD = state["m"].mul_(settings.beta1).add_(grad_TD, alpha=1 - settings.beta1)
    v_TD = state["v"].mul_(settings.beta2).addcmul_(grad_TD, grad_TD, value=1 - settings.beta2)
    root_TD = v_TD.sqrt().div_(math.sqrt(1 - settings.beta2**step)).add_(settings.eps)
    weight_TD.addcdiv_(m_TD, root_TD, value=-settings.learning_rate / (1 - settings.beta1**step))


ADAM = SparseOptimizer(
    "adam",
    {"step": "table", "m": "entries", "v": "entries"},
    update_,
    frozenset({"learning_rate", "eps", "weight_decay", "beta1", "beta2"}),
)
