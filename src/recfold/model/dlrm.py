"""DLRM: bottom MLP over dense features, dot interaction of everything, top MLP.

Source: Naumov et al. 2019, "Deep Learning Recommendation Model for Personalization and Recommendation Systems".
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from recfold.batch import ModelInputs
from recfold.model.interaction import dot_interaction
from recfold.model.mlp import mlp
from recfold.model.shape import InputShape, keyed
from recfold.spec import ReadMode, Schema, Settings, TableSpec


class DlrmSettings(Settings):
    """Options of DLRM.

    Args:
        bottom: hidden widths of the MLP over dense features; its last layer has the interaction's dim.
        top: hidden widths of the MLP over the interaction.
        dim: width in which vectors interact; that of most tables where not given. Others are projected to it.
        activation: of both MLPs.
        dropout: of the top MLP.
    """

    bottom: tuple[int, ...] = (128,)
    top: tuple[int, ...] = (512, 256)
    dim: int | None = Field(default=None, gt=0)
    activation: str = "relu"
    dropout: float = Field(default=0.0, ge=0, lt=1)


class Dlrm(nn.Module):
    """DLRM over looked-up features.

    A table of another dim is projected. Sequences of floats enter by their mean.

    Args:
        shape: of the inputs.
        settings: options.
        num_extra: further vectors [B, dim] that `interact` is given (encoded histories).
    """

    def __init__(self, shape: InputShape, settings: DlrmSettings, *, num_extra: int = 0) -> None:
        super().__init__()
        self.dim = settings.dim or shape.common_dim()
        self.pooled = tuple(shape.pooled)
        self.projections = nn.ModuleDict(
            {keyed(name): nn.Linear(dim, self.dim, bias=False) for name, dim in shape.pooled.items() if dim != self.dim}
        )
        self.dense = tuple(shape.dense)
        self.dense_sequences = tuple((group, name) for group, names in shape.dense_sequences.items() for name in names)
        width = sum(shape.dense.values()) + len(self.dense_sequences)
        activation = settings.activation
        self.bottom = mlp((width, *settings.bottom, self.dim), activation=activation) if width else None
        num_vectors = len(self.pooled) + num_extra + (self.bottom is not None)
        width = num_vectors * (num_vectors - 1) // 2 + self.dim  # beside the pairs: the bottom MLP, or the only vector
        self.top = mlp(
            (width, *settings.top, shape.num_labels), activation=activation, dropout=settings.dropout, last=False
        )

    def forward(self, inputs: ModelInputs) -> Tensor:
        """Logits [B, num_labels]."""
        return self.interact(inputs, [])

    def interact(self, inputs: ModelInputs, extra_BD: list[Tensor]) -> Tensor:
        """Logits [B, num_labels], with further vectors in the interaction."""
        vectors_BD = [self._vector(name, inputs) for name in self.pooled] + extra_BD
        if self.bottom is not None:
            passed_BD = self.bottom(self._dense(inputs))
            vectors_BD.insert(0, passed_BD)
        else:
            passed_BD = torch.stack(vectors_BD).mean(0)
        pairs_BP = dot_interaction(torch.stack(vectors_BD, dim=1))
        return self.top(torch.cat([passed_BD, pairs_BP], dim=1))

    def _vector(self, name: str, inputs: ModelInputs) -> Any:
        vector_BD = inputs.pooled[name]
        return self.projections[keyed(name)](vector_BD) if keyed(name) in self.projections else vector_BD

    def _dense(self, inputs: ModelInputs) -> Tensor:
        columns: list[Any] = [inputs.dense[name] for name in self.dense]
        columns += [inputs.dense_sequences[group][name].mean() for group, name in self.dense_sequences]
        return torch.cat(columns, dim=1)


def pooled_mode(schema: Schema, feature: str) -> ReadMode:
    """How an id feature is pooled: as its table says; a history by its mean, whatever the table says of bags."""
    if schema.features[feature].kind in ("sequence", "dense_sequence"):
        return "mean"
    return schema.tables.get(schema.table_of(feature), TableSpec()).pooling


def dlrm_reads(schema: Schema) -> list[tuple[str, ReadMode]]:
    """Every id feature, pooled."""
    return [(name, pooled_mode(schema, name)) for name, feature in schema.features.items() if feature.is_id]
