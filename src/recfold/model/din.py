"""DIN: histories summed with weights that depend on the target, then an MLP over everything.

Legend: B samples, V positions of all histories (merged ones counted once), L the longest history of the batch, D dim,
H hidden width of the activation unit.

Formula: of a group of histories with rows k_j and the target's vector q: the vector sum_j a(q, k_j) k_j, where the
weights a(q, k) = MLP([q; k; q - k; q * k]) are not normalised; y = MLP([v; x; these vectors]).
Source: Zhou et al. 2018, "Deep Interest Network for Click-Through Rate Prediction"; the four parts of the activation
unit's input as in its published code. Numbers join the MLP's input. Its activation Dice is not here: use `prelu`.

The unit's first layer is linear: W [q; k; q - k; q * k] = (W_q + W_d) q + (W_k - W_d) k + W_p (q * k). So the part of k
runs once per merged position, the part of q once per sample, and only the product is a matter of both.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear

from recfold.batch import FoldedSequence, ModelInputs
from recfold.model.deep import Flat
from recfold.model.encoder import check_aligned
from recfold.model.head import HeadSettings, build_head
from recfold.model.mlp import ACTIVATIONS, mlp
from recfold.model.shape import InputShape, keyed
from recfold.spec import InputError, unknown


class DinSettings(HeadSettings):
    """Options of DIN, besides those of every head.

    Args:
        query: id features that are the target of every group of histories; where not given, those that read a table of
            the group's histories.
        attention: hidden widths of the activation unit.
        deep: hidden widths of the MLP.
        dim: width in which target and histories are compared; that of most tables where not given. A group, or a
            target, of several features or of another width is projected to it.
    """

    query: tuple[str, ...] = ()
    attention: tuple[int, ...] = Field(default=(80, 40), min_length=1)
    deep: tuple[int, ...] = (200, 80)
    dim: int | None = Field(default=None, gt=0)
    activation: str = "prelu"


class ActivationUnit(nn.Module):
    """Weights of a history's rows for a target: MLP([q; k; q - k; q * k]), its first layer taken apart.

    Args:
        dim: D.
        hidden: widths of the MLP, the first of them H.
    """

    def __init__(self, dim: int, hidden: tuple[int, ...], activation: str) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise unknown("activation", activation, ACTIVATIONS)
        self.first = nn.Linear(4 * dim, hidden[0])
        self.rest = nn.Sequential(ACTIVATIONS[activation](), mlp((*hidden, 1), activation=activation, last=False))

    def forward(self, query_BD: Any, keys: FoldedSequence) -> Any:
        """Weights [B, L]; of no meaning where a history has ended."""
        of_query, of_key, of_difference, of_product = self.first.weight.chunk(4, dim=1)
        query_BH = linear(query_BD, of_query + of_difference, self.first.bias)
        keys_BLH, _ = keys.with_rows(linear(keys.rows, of_key - of_difference)).padded()
        keys_BLD, _ = keys.padded()
        products_BLH = linear(query_BD.unsqueeze(1) * keys_BLD, of_product)
        return self.rest(products_BLH + keys_BLH + query_BH.unsqueeze(1)).squeeze(2)


def activation_reference(unit: ActivationUnit, query_D: Tensor, key_D: Tensor) -> Tensor:
    """The slow twin of `ActivationUnit`: the weight of one row, by the formula as it stands."""
    together = torch.cat([query_D, key_D, query_D - key_D, query_D * key_D])
    return unit.rest(unit.first(together).unsqueeze(0)).squeeze()


class TargetAttention(nn.Module):
    """A group of histories as one vector for each target: the sum of its rows, weighted.

    Args:
        targets: id feature -> width; together the target.
        histories: sequence feature -> width; together the rows.
        floats: sequences of floats that are columns of the rows too.
    """

    def __init__(
        self,
        targets: Mapping[str, int],
        histories: Mapping[str, int],
        floats: tuple[str, ...],
        dim: int,
        settings: DinSettings,
    ) -> None:
        super().__init__()
        self.targets, self.histories, self.floats = tuple(targets), tuple(histories), floats
        query_widths, key_widths = [*targets.values()], [*histories.values(), *(1 for _ in floats)]
        self.query = None if query_widths == [dim] else nn.Linear(sum(query_widths), dim, bias=False)
        self.key = None if key_widths == [dim] else nn.Linear(sum(key_widths), dim, bias=False)
        self.unit = ActivationUnit(dim, settings.attention, settings.activation)

    def forward(self, inputs: ModelInputs, group: str) -> Any:
        """[B, D]; zeros for an empty history."""
        targets: list[Any] = [inputs.pooled[name] for name in self.targets]
        query_BD = torch.cat(targets, dim=1)
        if self.query is not None:
            query_BD = self.query(query_BD)
        parts = {name: inputs.sequences[group][name] for name in self.histories}
        parts |= {name: inputs.dense_sequences[group][name] for name in self.floats}
        check_aligned(parts)
        rows_VD = torch.cat([part.rows for part in parts.values()], dim=1)
        keys = parts[self.histories[0]].with_rows(rows_VD if self.key is None else self.key(rows_VD))
        weights_BL = self.unit(query_BD, keys)
        keys_BLD, _ = keys.padded()  # zeros where a history has ended, whatever the weights are there
        return torch.bmm(weights_BL.unsqueeze(1), keys_BLD).squeeze(1)


class Din(nn.Module):
    """DIN: target attention over every group of histories.

    Raises:
        InputError: there is no history, or no target to compare it with.
    """

    def __init__(self, shape: InputShape, settings: DinSettings) -> None:
        super().__init__()
        if not shape.sequences:
            raise InputError("model 'din' needs a feature of kind sequence", todo="use --model dlrm")
        dim = settings.dim or shape.common_dim()
        self.groups = tuple(shape.sequences)
        self.attention = nn.ModuleDict(
            {
                keyed(group): TargetAttention(
                    _targets(shape, group, settings.query),
                    histories,
                    shape.dense_sequences.get(group, ()),
                    dim,
                    settings,
                )
                for group, histories in shape.sequences.items()
            }
        )
        alone = {group: names for group, names in shape.dense_sequences.items() if group not in shape.sequences}
        self.flat = Flat(InputShape(shape.pooled, shape.sequences, shape.dense, alone, shape.num_labels))
        width = self.flat.width + dim * len(self.groups)
        self.deep = build_head(width, settings.deep, shape.num_labels, settings)

    def forward(self, inputs: ModelInputs) -> Any:
        """Logits [B, num_labels]."""
        attended_BD = [self.attention[keyed(group)](inputs, group) for group in self.groups]
        return self.deep(torch.cat([*self.flat.parts(inputs), *attended_BD], dim=1))


def _targets(shape: InputShape, group: str, query: tuple[str, ...]) -> dict[str, int]:
    """Width of each target of a group.

    Raises:
        InputError: there is none, or it is no id feature.
    """
    for name in query:
        if name not in shape.pooled:
            raise unknown("target", name, shape.pooled)
    names = query or shape.targets.get(group, ())
    if not names:
        raise InputError(
            f"model 'din' does not know what to compare the histories of group {group!r} with",
            expected="an id feature that shares a table with one of them",
            todo=f"set model.options.query to one or more of {', '.join(shape.pooled) or 'no id feature at all'}",
        )
    return {name: shape.pooled[name] for name in names}
