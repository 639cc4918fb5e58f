"""A history as one vector: embeddings of its features added, a transformer over them, the mean of what comes out.

Legend: U distinct histories, V positions (merged ones counted once), L the longest history of the batch, D dim.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recfold.batch import Folded, FoldedSequence
from recfold.model.shape import keyed
from recfold.spec import InputError


class HistoryEncoder(nn.Module):
    """Transformer encoder over distinct histories, mean pooled; an empty history gives zeros.

    Source: Vaswani et al. 2017, "Attention Is All You Need", encoder with post-norm; its mean as in RecD's O7 (Zhao et
    al. 2023): encode distinct sequences, expand afterwards.

    Args:
        features: sequence feature -> dim of its table; one of another dim than `dim` is projected.
        floats: sequences of floats that each add a learned direction.
        dim: D.
        heads: of the attention; divides D.
        positions: learned positions, counted from the newest (last) one; 0 for none.
    Raises:
        InputError: heads do not divide dim.
    """

    def __init__(
        self,
        features: Mapping[str, int],
        floats: tuple[str, ...],
        dim: int,
        *,
        layers: int = 1,
        heads: int = 4,
        feedforward: int = 256,
        dropout: float = 0.0,
        positions: int = 0,
    ) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(
                f"{heads} attention heads do not divide the dim {dim}",
                todo="set model.options.heads or tables.dim so that they do",
            )
        self.features, self.floats = tuple(features), floats
        self.projections = nn.ModuleDict(
            {keyed(name): nn.Linear(width, dim, bias=False) for name, width in features.items() if width != dim}
        )
        self.directions = nn.ModuleDict({keyed(name): nn.Linear(1, dim, bias=False) for name in floats})
        self.positions = nn.Embedding(positions, dim) if positions else None
        layer = nn.TransformerEncoderLayer(dim, heads, feedforward, dropout, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, sequences: Mapping[str, FoldedSequence], floats: Mapping[str, FoldedSequence]) -> Folded:
        """Encoded histories [U, D] under the histories' index."""
        parts = {name: sequences[name] for name in self.features} | {name: floats[name] for name in self.floats}
        first = sequences[self.features[0]]
        _check_aligned(parts)
        rows_VD = torch.stack([self._embedded(name, part.rows) for name, part in parts.items()]).sum(0)
        padded_ULD, real_UL = first.with_rows(rows_VD).padded()
        if len(padded_ULD) == 0:
            return Folded(rows_VD.new_zeros(0, rows_VD.shape[1]), first.index)
        if padded_ULD.shape[1] == 0:  # all are empty: the same weights get a gradient (of zero) as in any other batch
            padded_ULD, real_UL = nn.functional.pad(padded_ULD, (0, 0, 0, 1)), nn.functional.pad(real_UL, (0, 1))
        if self.positions is not None:
            padded_ULD = padded_ULD + self._positions(real_UL)
        # attention over nothing has no value: let an empty history see its first (zero) position, and drop it below
        seen_UL = real_UL.clone()
        seen_UL[:, 0] = True
        encoded_ULD = self.transformer(padded_ULD, src_key_padding_mask=~seen_UL)
        kept_UL1 = real_UL.unsqueeze(2).to(encoded_ULD.dtype)
        mean_UD = (encoded_ULD * kept_UL1).sum(1) / kept_UL1.sum(1).clamp(min=1)
        return Folded(mean_UD, first.index)

    def _embedded(self, name: str, rows: Tensor) -> Tensor:
        layers = self.directions if name in self.floats else self.projections
        return layers[keyed(name)](rows) if keyed(name) in layers else rows

    def _positions(self, real_UL: Tensor) -> Tensor:
        assert self.positions is not None
        if real_UL.shape[1] > self.positions.num_embeddings:
            raise InputError(
                f"a history has {real_UL.shape[1]} elements, but there are {self.positions.num_embeddings} positions",
                todo="truncate it in its transforms, or raise model.options.positions",
            )
        from_newest_UL = real_UL.sum(1, keepdim=True) - 1 - torch.arange(real_UL.shape[1], device=real_UL.device)
        return self.positions(from_newest_UL.clamp(min=0))


def _check_aligned(parts: Mapping[str, FoldedSequence]) -> None:
    (first_name, first), *others = parts.items()
    for name, part in others:
        if part.start is first.start and part.length is first.length:
            continue
        if not (torch.equal(part.length, first.length) and torch.equal(part.start, first.start)):
            raise InputError(
                f"the histories {first_name!r} and {name!r} of one group have different lengths",
                todo="put them into different groups, or give both the same truncation",
            )
