"""What a sparse update rule is: a function of touched rows, their state and their summed gradients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from recfold.spec import Settings

LOW_PRECISION = (torch.float16, torch.bfloat16)

StateOf = Literal["rows", "entries", "table"]
"""What one number of a state belongs to: a row ([R]), an entry ([R, D]) or the whole table ([])."""

State = dict[str, Tensor]
"""Name of a state -> its tensor; those of one table, or of its touched rows."""


class UpdateSettings(Settings):
    """Numbers of an update rule.

    Args:
        learning_rate: step size.
        eps: added to the root that the step is divided by (adagrad rules, adam).
        weight_decay: coupled L2: every rule sees `gradient + weight_decay * weight` in place of the gradient. Rows that
            a step does not touch do not decay.
        beta1, beta2: of adam: how much of the running means of the gradient and of its square stays.
    """

    learning_rate: float = Field(gt=0)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)


Update = Callable[[Tensor, State, Tensor, UpdateSettings], None]
"""(weight_TD, state of the touched rows, gradient_TD, settings): weight and state change in place. The gradient is
scratch: what it holds afterwards means nothing. What belongs to the whole table is only read."""


@dataclass(frozen=True)
class SparseOptimizer:
    """One member of the family.

    Args:
        name: as the user writes it.
        state: what it keeps; `step` counts the updates of a table.
        update_: the rule; weights, states and gradients are float32 or float64, all of one dtype (`step`: int64).
        options: the settings that it looks at.
    """

    name: str
    state: Mapping[str, StateOf]
    update_: Update
    options: frozenset[str]


def decay_(weight_TD: Tensor, grad_TD: Tensor, settings: UpdateSettings) -> None:
    """Coupled weight decay: `grad += weight_decay * weight`."""
    if settings.weight_decay != 0.0:
        grad_TD.add_(weight_TD, alpha=settings.weight_decay)
