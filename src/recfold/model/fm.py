"""FM: factorization machine, first-order terms and every pair of features as the product of their vectors.

Formula: y = b + sum_i w_i x_i + sum over pairs i < j of <v_i, v_j> x_i x_j
           = b + sum_i w_i x_i + 1/2 sum over d of ((sum_i v_id x_i)^2 - sum_i v_id^2 x_i^2)
An id feature is one i with x_i = 1 (its vector is the pooled one of a bag), a number one whose vector is times x_i.
Source: Rendle 2010, "Factorization Machines".
"""

from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import linear

from recfold.batch import ModelInputs
from recfold.model.columns import Columns
from recfold.model.lr import FirstOrder
from recfold.model.shape import InputShape
from recfold.model.vectors import Vectors
from recfold.spec import Settings


class FmSettings(Settings):
    """Options of FM.

    Args:
        dim: width in which vectors interact; that of most tables where not given. Others are projected to it.
    """

    dim: int | None = Field(default=None, gt=0)


class Pairs(nn.Module):
    """Second-order terms of vectors and numbers: `pairs` above, by the square of the sum less the sum of squares.

    With several labels each has a weight for every entry d (all 1 at first): L sums of the same squares.

    Args:
        columns: the numbers.
        dim: D.
    """

    def __init__(self, columns: Columns, dim: int, num_labels: int) -> None:
        super().__init__()
        self.columns = columns
        self.factors = nn.Parameter(torch.randn(columns.width, dim) * 0.01) if columns.width else None
        self.share = nn.Parameter(torch.ones(num_labels, dim)) if num_labels > 1 else None

    def forward(self, vectors_BD: list[Any], inputs: ModelInputs) -> Any:
        """Logits [B, num_labels]."""
        stack_BFD = torch.stack(vectors_BD, dim=1)
        total_BD, squares_BD = stack_BFD.sum(1), stack_BFD.square().sum(1)
        if self.factors is not None:
            x_BN = self.columns(inputs)
            total_BD = total_BD + linear(x_BN, self.factors.t())
            squares_BD = squares_BD + linear(x_BN.square(), self.factors.square().t())
        pairs_BD = 0.5 * (total_BD.square() - squares_BD)
        return pairs_BD.sum(1, keepdim=True) if self.share is None else linear(pairs_BD, self.share)


class Fm(nn.Module):
    """Factorization machine. Numbers, vectors included, have a weight and a factor each.

    Raises:
        InputError: no feature looks up a table.
    """

    def __init__(self, shape: InputShape, settings: FmSettings) -> None:
        super().__init__()
        columns, dim = Columns(shape), settings.dim or shape.common_dim()
        self.first = FirstOrder(shape, columns)
        self.vectors = Vectors(shape, dim)
        self.pairs = Pairs(columns, dim, shape.num_labels)

    def forward(self, inputs: ModelInputs) -> Any:
        """Logits [B, num_labels]."""
        return self.first(inputs) + self.pairs(self.vectors(inputs), inputs)


def pairs_reference(vectors_BFD: torch.Tensor) -> torch.Tensor:
    """The slow twin of `Pairs` for one label, of vectors that are times their numbers: one pair at a time, [B]."""
    num_vectors = vectors_BFD.shape[1]
    total_B = vectors_BFD.new_zeros(len(vectors_BFD))
    for i in range(num_vectors):
        for j in range(i):
            total_B = total_B + (vectors_BFD[:, i] * vectors_BFD[:, j]).sum(1)
    return total_B
