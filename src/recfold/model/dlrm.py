"""DLRM: bottom MLP over numbers, dot interaction of everything, top MLP.

Formula: y = top([b; <v_i, v_j> for all i > j]), the v_i being b = bottom(x), the vectors of ids, and wide features
(kind vector) each through an MLP of its own.
Source: Naumov et al. 2019, "Deep Learning Recommendation Model for Personalization and Recommendation Systems".
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from recfold.batch import ModelInputs
from recfold.model.columns import Columns
from recfold.model.head import HeadSettings, build_head
from recfold.model.interaction import dot_interaction
from recfold.model.mlp import mlp
from recfold.model.shape import InputShape, keyed
from recfold.model.vectors import Vectors


class DlrmSettings(HeadSettings):
    """Options of DLRM, besides those of every head.

    Args:
        bottom: hidden widths of the MLP over numbers; its last layer has the interaction's dim.
        vector_mlp: hidden widths of the MLP that each feature of kind vector has, to a vector of its own in the
            interaction; None puts its entries among the numbers instead.
        top: hidden widths of the MLP over the interaction.
        dim: width in which vectors interact; that of most tables where not given. Others are projected to it.
    """

    bottom: tuple[int, ...] = (128,)
    vector_mlp: tuple[int, ...] | None = (128,)
    top: tuple[int, ...] = (512, 256)
    dim: int | None = Field(default=None, gt=0)


class Dlrm(nn.Module):
    """DLRM over looked-up features.

    A table of another dim is projected. Sequences of floats enter by their mean.

    Args:
        shape: of the inputs.
        settings: options.
        num_extra: further vectors [B, dim] that `interact` is given (encoded histories).
    Raises:
        InputError: no feature looks up a table, or an unknown activation.
    """

    def __init__(self, shape: InputShape, settings: DlrmSettings, *, num_extra: int = 0) -> None:
        super().__init__()
        self.dim = settings.dim or shape.common_dim()
        self.vectors = Vectors(shape, self.dim)
        activation = settings.activation
        hidden = settings.vector_mlp
        wide = {} if hidden is None else {name: width for name, width in shape.dense.items() if width > 1}
        self.wide = tuple(wide)
        self.wide_mlps = nn.ModuleDict(
            {
                keyed(name): mlp((width, *(hidden or ()), self.dim), activation=activation)
                for name, width in wide.items()
            }
        )
        self.columns = Columns(shape, without=wide)
        width = self.columns.width
        self.bottom = mlp((width, *settings.bottom, self.dim), activation=activation) if width else None
        num_vectors = len(shape.pooled) + len(wide) + num_extra + (self.bottom is not None)
        width = num_vectors * (num_vectors - 1) // 2 + self.dim  # beside the pairs: the bottom MLP, or the only vector
        self.top = build_head(width, settings.top, shape.num_labels, settings)

    def forward(self, inputs: ModelInputs) -> Tensor:
        """Logits [B, num_labels]."""
        return self.interact(inputs, self.numbers(inputs), [])

    def numbers(self, inputs: ModelInputs) -> tuple[Any, list[Any]]:
        """What reads no embedding, and comes first for that: embeddings may still be on their way.

        Returns:
            The bottom MLP's vector [B, dim], None without one; and one of each wide feature.
        """
        passed_BD = None if self.bottom is None else self.bottom(self.columns(inputs))
        return passed_BD, [self.wide_mlps[keyed(name)](inputs.dense[name]) for name in self.wide]

    def interact(self, inputs: ModelInputs, numbers: tuple[Any, list[Any]], extra_BD: list[Any]) -> Tensor:
        """Logits [B, num_labels], with further vectors in the interaction.

        Args:
            numbers: what `numbers` gives.
        """
        passed_BD, wide_BD = numbers
        vectors_BD = self.vectors(inputs) + extra_BD + wide_BD
        if passed_BD is not None:
            vectors_BD.insert(0, passed_BD)
        else:
            passed_BD = torch.stack(vectors_BD).mean(0)
        pairs_BP = dot_interaction(torch.stack(vectors_BD, dim=1))
        return self.top(torch.cat([passed_BD, pairs_BP], dim=1))
