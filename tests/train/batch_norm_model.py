"""A DLRM with batch norm after its bottom MLP and on every looked-up vector, for tests."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from recfold.batch import ModelInputs
from recfold.model import build_model
from recfold.train import assemble


class Normalised(nn.Module):
    """Vectors, each normalised."""

    def __init__(self, vectors: nn.Module, dim: int) -> None:
        super().__init__()
        self.vectors = vectors
        self.norms = nn.ModuleDict({name: nn.BatchNorm1d(dim) for name in vectors.features})

    def forward(self, inputs: ModelInputs) -> list[Any]:
        names = self.vectors.features
        found = zip(names, self.vectors(inputs), strict=True)
        return [self.norms[name](vector) if name in self.norms else vector for name, vector in found]


def model_with_batch_norm(name: str, shape: Any, options: Mapping[str, Any]) -> nn.Module:
    """As `build_model`, of a DLRM."""
    model = build_model(name, shape, options)
    model.vectors = Normalised(model.vectors, model.dim)
    model.bottom.append(nn.BatchNorm1d(model.dim, momentum=None))
    return model


@contextmanager
def normalising(build: Callable[..., nn.Module]) -> Iterator[None]:
    """Inside it learners build their models with `build`."""
    before = assemble.build_model
    assemble.build_model = build
    try:
        yield
    finally:
        assemble.build_model = before
