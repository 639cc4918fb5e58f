"""DeepFM: a factorization machine and an MLP over the same vectors.

Formula: y = FM(v, x) + MLP([v; x])
Source: Guo et al. 2017, "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction". As there, a number
enters the FM as itself with a vector of its own, and the MLP as itself.
"""

from typing import Any

from pydantic import Field
from torch import nn

from recfold.batch import ModelInputs
from recfold.model.deep import Flat
from recfold.model.fm import Pairs, PairsOf
from recfold.model.head import HeadSettings, build_head
from recfold.model.lr import FirstOrder
from recfold.model.shape import InputShape
from recfold.model.vectors import Vectors
from recfold.spec import Operator


class DeepFmSettings(HeadSettings):
    """Options of DeepFM, besides those of every head.

    Args:
        deep: hidden widths of the MLP.
        dim: width in which vectors interact; that of most tables where not given. Others are projected to it.
        pairs: `fields`: of the features' pooled vectors; `ids`: of single ids, as in `fm`.
    """

    deep: tuple[int, ...] = (400, 400, 400)
    dim: int | None = Field(default=None, gt=0)
    pairs: PairsOf = "fields"


class DeepFm(nn.Module):
    """DeepFM.

    Raises:
        InputError: no feature looks up a table.
    """

    def __init__(self, shape: InputShape, settings: DeepFmSettings) -> None:
        super().__init__()
        self.flat = Flat(shape)
        dim = settings.dim or shape.common_dim()
        self.first = FirstOrder(shape, self.flat.columns)
        self.vectors = Vectors(shape, dim)
        self.pairs = Pairs(shape, self.flat.columns, dim, settings.pairs)
        self.deep = build_head(self.flat.width, settings.deep, shape.num_labels, settings)

    def forward(self, inputs: ModelInputs) -> Any:
        """Logits [B, num_labels]."""
        interacting = self.pairs(self.vectors.of(self.pairs.projected, inputs), inputs)
        return self.first(inputs) + interacting + self.flat.into(self.deep, inputs)

    def operators(self) -> tuple[Operator, ...]:
        """What is linear in looked-up rows and their squares: of vectors, those of features that both parts read so."""
        deep = self.flat.operators(self.deep, "deep")
        both = tuple(own.model_copy(update={"features": self.pairs.vectors}) for own in deep)
        return self.first.operators() + (self.pairs.operators() + both if both and self.pairs.vectors else ())
