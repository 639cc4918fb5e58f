"""The pooled vectors of a batch in one common width."""

from collections.abc import Collection
from typing import Any

from torch import nn

from recfold.batch import ModelInputs
from recfold.model.shape import InputShape, keyed


class Vectors(nn.Module):
    """Pooled features as vectors of one dim: those of tables of another dim are projected to it.

    Args:
        dim: D.
    """

    def __init__(self, shape: InputShape, dim: int) -> None:
        super().__init__()
        self.features = tuple(shape.pooled)
        self.projections = nn.ModuleDict(
            {keyed(name): nn.Linear(width, dim, bias=False) for name, width in shape.pooled.items() if width != dim}
        )

    def forward(self, inputs: ModelInputs) -> list[Any]:
        """One vector [B, D] for each feature."""
        return self.of(self.features, inputs)

    def of(self, features: Collection[str], inputs: ModelInputs) -> list[Any]:
        """Those of some features."""
        return [self._vector(name, inputs.pooled[name]) for name in features]

    def _vector(self, name: str, vector_BD: Any) -> Any:
        return self.projections[keyed(name)](vector_BD) if keyed(name) in self.projections else vector_BD
