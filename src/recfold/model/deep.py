"""The input of deep towers: every vector and every number side by side."""

import itertools
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from recfold.batch import ModelInputs
from recfold.model.columns import Columns
from recfold.model.head import first_linear, split_first
from recfold.model.shape import InputShape
from recfold.spec import Operator


class Flat:
    """Pooled vectors, each as wide as its table, and numbers side by side.

    Raises:
        InputError: no feature looks up a table.
    """

    def __init__(self, shape: InputShape) -> None:
        shape.common_dim()
        self.features = tuple(shape.pooled)
        self.columns = Columns(shape)
        self.widths = tuple(shape.pooled.values())
        self.width = sum(shape.pooled.values()) + self.columns.width

    def parts(self, inputs: ModelInputs) -> list[Any]:
        """Each of them, [B, width]."""
        return [inputs.pooled[name] for name in self.features] + self.columns.parts(inputs)

    def into(self, head: nn.Module, inputs: ModelInputs) -> Any:
        """What a head makes of all of them; what its first layer gives of some of them may be there already."""
        products_BH, given = inputs.products()
        if not products_BH:
            return head(self(inputs))
        first, rest = split_first(head)
        left = [name for name in self.features if name not in given]
        kept = [(first_column, stop) for name, (first_column, stop) in self.where().items() if name in left]
        kept.append((self.width - self.columns.width, self.width))
        parts = [inputs.pooled[name] for name in left] + self.columns.parts(inputs)
        hidden_BH = torch.stack(products_BH, dim=1).sum(1) + first.bias
        if parts:
            weight_HW = torch.cat([first.weight[:, start:stop] for start, stop in kept], dim=1)
            hidden_BH = hidden_BH + linear(torch.cat(parts, dim=1), weight_HW)
        return rest(hidden_BH)

    def where(self) -> dict[str, tuple[int, int]]:
        """Feature -> its columns."""
        bounds = itertools.accumulate(self.widths, initial=0)
        return dict(zip(self.features, itertools.pairwise(bounds), strict=True))

    def operators(self, head: nn.Module, name: str) -> tuple[Operator, ...]:
        """The first layer of a head, where it has one, is linear in the vectors.

        Args:
            name: of the head in its model.
        """
        found = first_linear(head)
        if found is None:
            return ()
        where = f"{name}.{found[0]}.weight"
        return (
            Operator(
                name="first layer",
                of="vectors",
                features=self.features,
                parameter=where,
                product=found[1].out_features,
                columns=self.where(),
            ),
        )

    def __call__(self, inputs: ModelInputs) -> Any:
        """All of them side by side, [B, width]."""
        return torch.cat(self.parts(inputs), dim=1)
