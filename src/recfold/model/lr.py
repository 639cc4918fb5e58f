"""LR: logistic regression, a weight for each id and each number.

Formula: y = b + sum over ids i of w_i + sum over numbers j of u_j x_j, for each label.
Source: Richardson, Dominowska, Ragno 2007, "Predicting Clicks: Estimating the Click-Through Rate for New Ads".
"""

from typing import Any

import torch
from torch import nn

from recfold.batch import ModelInputs
from recfold.model.columns import Columns
from recfold.model.shape import InputShape
from recfold.spec import InputError, Operator, Settings


class LrSettings(Settings):
    """LR has no options."""


class FirstOrder(nn.Module):
    """First-order terms: a bias, the weights of a sample's ids, and where wanted a weight for each number.

    A bag counts as its table pools it (sum or mean), a history by its mean.

    Args:
        columns: the numbers; None leaves them to the rest of the model.
    """

    def __init__(self, shape: InputShape, columns: Columns | None) -> None:
        super().__init__()
        self.features = shape.weights
        self.columns = columns if columns is not None and columns.width else None
        self.bias = nn.Parameter(torch.zeros(shape.num_labels))
        self.linear = nn.Linear(self.columns.width, shape.num_labels, bias=False) if self.columns else None

    def forward(self, inputs: ModelInputs) -> Any:
        """Logits [B, num_labels]."""
        terms_BL = inputs.weight_terms(self.features)
        if self.linear is not None and self.columns is not None:
            terms_BL.append(self.linear(self.columns(inputs)))
        return torch.stack(terms_BL, dim=1).sum(1) + self.bias

    def operators(self) -> tuple[Operator, ...]:
        """The sum over features is linear in the weights."""
        operator = Operator(name="first-order terms", of="weights", features=self.features, total=True)
        return (operator,) if self.features else ()


class Lr(nn.Module):
    """Logistic regression. Numbers, vectors included, have a weight each.

    Raises:
        InputError: there is nothing to read.
    """

    def __init__(self, shape: InputShape, settings: LrSettings) -> None:
        super().__init__()
        columns = Columns(shape)
        if not shape.weights and not columns.width:
            raise InputError("model 'lr' has no feature to read", todo="leave fewer features out")
        self.first = FirstOrder(shape, columns)

    def forward(self, inputs: ModelInputs) -> Any:
        """Logits [B, num_labels]."""
        return self.first(inputs)

    def operators(self) -> tuple[Operator, ...]:
        """What is linear in looked-up rows."""
        return self.first.operators()
