"""FM: factorization machine, first-order terms and every pair of features as the product of their vectors.

Formula: y = b + sum_i w_i x_i + sum over pairs i < j of <v_i, v_j> x_i x_j
           = b + sum_i w_i x_i + 1/2 sum over d of ((sum_i v_id x_i)^2 - sum_i v_id^2 x_i^2)
With `pairs` = `fields` an id feature is one i with x_i = 1 (its vector is the pooled one of a bag); with `ids` each id
of a bag is one, with x_i its weight (over the number of ids, where the table pools by mean), so that ids of one bag are
pairs too. For bags of one id these are the same. A number is one i whose vector is times x_i.
Source: Rendle 2010, "Factorization Machines".
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import linear

from recfold.batch import ModelInputs
from recfold.model.columns import Columns
from recfold.model.lr import FirstOrder
from recfold.model.shape import InputShape
from recfold.model.vectors import Vectors
from recfold.spec import InputError, Operator, Settings

PairsOf = Literal["fields", "ids"]
"""What interacts: the features' pooled vectors, or the vectors of single ids."""


class FmSettings(Settings):
    """Options of FM.

    Args:
        dim: width in which vectors interact; that of most tables where not given. Others are projected to it.
        pairs: `fields`: of the features' pooled vectors; `ids`: of single ids, as in the paper.
    """

    dim: int | None = Field(default=None, gt=0)
    pairs: PairsOf = "fields"


class Pairs(nn.Module):
    """Second-order terms of vectors and numbers: `pairs` above, by the square of the sum less the sum of squares.

    With several labels each has a weight for every entry d (all 1 at first): L sums of the same squares.

    Args:
        shape: whose pooled features are the vectors.
        columns: the numbers.
        dim: D.
        pairs: of `fields` or of `ids`.
    Raises:
        InputError: vectors that would be projected, which is for pooled ones only.
    """

    def __init__(self, shape: InputShape, columns: Columns, dim: int, pairs: PairsOf) -> None:
        super().__init__()
        self.columns, self.of_ids, self.norm = columns, pairs == "ids", shape.num_labels == 1
        self.vectors = tuple(name for name, width in shape.pooled.items() if width == dim)
        self.projected = tuple(name for name in shape.pooled if name not in self.vectors)
        if self.of_ids and self.projected:
            raise InputError(
                f"pairs of ids need vectors of one width, but those of feature {self.projected[0]!r} are of another",
                got=shape.pooled[self.projected[0]],
                expected=dim,
                todo="give all tables one dim (tables.dim), or use pairs=fields",
            )
        self.factors = nn.Parameter(torch.randn(columns.width, dim) * 0.01) if columns.width else None
        self.share = nn.Parameter(torch.ones(shape.num_labels, dim)) if shape.num_labels > 1 else None

    def forward(self, projected_BD: list[Any], inputs: ModelInputs) -> Any:
        """Logits [B, num_labels].

        Args:
            projected_BD: vectors of features whose tables are of another width.
        """
        totals_BD = inputs.vector_terms(self.vectors) + projected_BD
        squares = inputs.square_terms(self.vectors, of_ids=self.of_ids, norm=self.norm)
        squares += [self._summed(vector_BD.square()) for vector_BD in projected_BD]
        if self.factors is not None:
            x_BN, squares_ND = self.columns(inputs), self.factors.square()
            totals_BD.append(linear(x_BN, self.factors.t()))
            squares.append(linear(x_BN.square(), self._summed(squares_ND).t()))
        total_BD = torch.stack(totals_BD, dim=1).sum(1).square()
        pairs = 0.5 * (self._summed(total_BD) - torch.stack(squares, dim=1).sum(1))
        return pairs if self.share is None else linear(pairs, self.share)

    def operators(self) -> tuple[Operator, ...]:
        """The sums over features are sums over their rows."""
        squares: PairsOf = "ids" if self.of_ids else "fields"
        pairs = Operator(name="pairs", of="vectors", features=self.vectors, total=True, squares=squares, norm=self.norm)
        return (pairs,) if self.vectors else ()

    def _summed(self, squares_BD: Any) -> Any:
        """Over columns, where no label weighs them."""
        return squares_BD.sum(1, keepdim=True) if self.norm else squares_BD


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
        self.pairs = Pairs(shape, columns, dim, settings.pairs)

    def forward(self, inputs: ModelInputs) -> Any:
        """Logits [B, num_labels]."""
        return self.first(inputs) + self.pairs(self.vectors.of(self.pairs.projected, inputs), inputs)

    def operators(self) -> tuple[Operator, ...]:
        """What is linear in looked-up rows and their squares."""
        return self.first.operators() + self.pairs.operators()


def pairs_reference(vectors_BFD: torch.Tensor) -> torch.Tensor:
    """The slow twin of `Pairs` for one label, of vectors that are times their numbers: one pair at a time, [B]."""
    num_vectors = vectors_BFD.shape[1]
    total_B = vectors_BFD.new_zeros(len(vectors_BFD))
    for i in range(num_vectors):
        for j in range(i):
            total_B = total_B + (vectors_BFD[:, i] * vectors_BFD[:, j]).sum(1)
    return total_B
