"""Wide & Deep: first-order terms of ids beside an MLP over their vectors and the numbers.

Formula: y = b + sum over ids i of w_i + MLP([v; x])
Source: Cheng et al. 2016, "Wide & Deep Learning for Recommender Systems". Its cross-product features are those that the
transform `cross` makes; as there, numbers enter the deep part only.
"""

from typing import Any

from torch import nn

from recfold.batch import ModelInputs
from recfold.model.deep import Flat
from recfold.model.head import HeadSettings, build_head
from recfold.model.lr import FirstOrder
from recfold.model.shape import InputShape
from recfold.spec import Operator


class WideDeepSettings(HeadSettings):
    """Options of Wide & Deep, besides those of every head.

    Args:
        deep: hidden widths of the MLP.
    """

    deep: tuple[int, ...] = (1024, 512, 256)


class WideDeep(nn.Module):
    """Wide & Deep.

    Raises:
        InputError: no feature looks up a table.
    """

    def __init__(self, shape: InputShape, settings: WideDeepSettings) -> None:
        super().__init__()
        self.flat = Flat(shape)
        self.wide = FirstOrder(shape, None)
        self.deep = build_head(self.flat.width, settings.deep, shape.num_labels, settings)

    def forward(self, inputs: ModelInputs) -> Any:
        """Logits [B, num_labels]."""
        return self.wide(inputs) + self.flat.into(self.deep, inputs)

    def operators(self) -> tuple[Operator, ...]:
        """What is linear in looked-up rows."""
        return self.wide.operators() + self.flat.operators(self.deep, "deep")
