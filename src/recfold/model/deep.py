"""The input of deep towers: every vector and every number side by side."""

from typing import Any

import torch

from recfold.batch import ModelInputs
from recfold.model.columns import Columns
from recfold.model.shape import InputShape


class Flat:
    """Pooled vectors, each as wide as its table, and numbers side by side.

    Raises:
        InputError: no feature looks up a table.
    """

    def __init__(self, shape: InputShape) -> None:
        shape.common_dim()
        self.features = tuple(shape.pooled)
        self.columns = Columns(shape)
        self.width = sum(shape.pooled.values()) + self.columns.width

    def parts(self, inputs: ModelInputs) -> list[Any]:
        """Each of them, [B, width]."""
        return [inputs.pooled[name] for name in self.features] + self.columns.parts(inputs)

    def __call__(self, inputs: ModelInputs) -> Any:
        """All of them side by side, [B, width]."""
        return torch.cat(self.parts(inputs), dim=1)
