"""The floats of a batch as columns side by side."""

from collections.abc import Collection
from typing import Any

import torch

from recfold.batch import ModelInputs
from recfold.model.shape import InputShape


class Columns:
    """Which floats a model reads: dense features and vectors as they are, a sequence of floats by its mean.

    Args:
        without: dense features that are left out.
    """

    def __init__(self, shape: InputShape, without: Collection[str] = ()) -> None:
        self.dense = tuple(name for name in shape.dense if name not in without)
        self.sequences = tuple((group, name) for group, names in shape.dense_sequences.items() for name in names)
        self.width = sum(shape.dense[name] for name in self.dense) + len(self.sequences)

    def parts(self, inputs: ModelInputs) -> list[Any]:
        """Each of them, [B, width]."""
        found: list[Any] = [inputs.dense[name] for name in self.dense]
        return found + [inputs.dense_sequences[group][name].mean() for group, name in self.sequences]

    def __call__(self, inputs: ModelInputs) -> Any:
        """All of them side by side, [B, width]; there is at least one."""
        return torch.cat(self.parts(inputs), dim=1)
