"""What a sparse update rule is: a pure function of touched rows, their running sums and their summed gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from torch import Tensor

from recfold.spec import Settings


class UpdateSettings(Settings):
    """Numbers of an update rule.

    Args:
        learning_rate: step size.
        eps: added to the root of the running sum (adagrad rules).
        weight_decay: coupled L2: every rule sees `gradient + weight_decay * weight` in place of the gradient. Rows that
            a step does not touch do not decay.
    """

    learning_rate: float = Field(gt=0)
    eps: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)


Update = Callable[[Tensor, Tensor | None, Tensor, UpdateSettings], tuple[Tensor, Tensor | None]]
"""(weight_TD, sum of the touched rows or None, gradient_TD, settings) -> new weight_TD, new sum."""


@dataclass(frozen=True)
class SparseOptimizer:
    """One member of the family.

    Args:
        name: as the user writes it.
        sum_of: what a running sum is kept of: nothing, every row ([R]) or every entry ([R, D]).
        update: the rule; weights, sums and gradients are float32 or float64, all of one dtype.
    """

    name: str
    sum_of: Literal["nothing", "rows", "entries"]
    update: Update


def decayed(weight_TD: Tensor, grad_TD: Tensor, settings: UpdateSettings) -> Tensor:
    """The gradient with coupled weight decay: `grad + weight_decay * weight`."""
    if settings.weight_decay == 0.0:
        return grad_TD
    return grad_TD.add(weight_TD, alpha=settings.weight_decay)
