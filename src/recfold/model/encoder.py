"""A history as one vector: embeddings of its features added, a transformer over them, the mean of what comes out.

Legend: B samples, V positions (merged ones counted once), L the longest history of the batch, D dim.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recfold.batch import FoldedSequence, share_masks
from recfold.model.shape import keyed
from recfold.spec import InputError


class HistoryEncoder(nn.Module):
    """Transformer encoder over histories, mean pooled; an empty history gives zeros.

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
        self.transformer = share_masks(nn.TransformerEncoder(layer, layers, enable_nested_tensor=False))

    def forward(self, sequences: Mapping[str, FoldedSequence], floats: Mapping[str, FoldedSequence]) -> Any:
        """Encoded histories [B, D]."""
        parts = {name: sequences[name] for name in self.features} | {name: floats[name] for name in self.floats}
        first = sequences[self.features[0]]
        check_aligned(parts)
        rows_VD = torch.stack([self._embedded(name, part.rows) for name, part in parts.items()]).sum(0)
        padded_BLD, real_BL = first.with_rows(rows_VD).padded()
        if first.num_samples == 0:
            return rows_VD.new_zeros(0, rows_VD.shape[1])
        if padded_BLD.shape[1] == 0:  # all are empty: the same weights get a gradient (of zero) as in any other batch
            padded_BLD, real_BL = nn.functional.pad(padded_BLD, (0, 0, 0, 1)), nn.functional.pad(real_BL, (0, 1))
        if self.positions is not None:
            padded_BLD = padded_BLD + self._positions(real_BL)
        # attention over nothing has no value: let an empty history see its first (zero) position, and drop it below
        seen_BL = real_BL.clone()
        seen_BL[:, 0] = True
        encoded_BLD = self.transformer(padded_BLD, src_key_padding_mask=~seen_BL)
        kept_BL1 = real_BL.unsqueeze(2).to(encoded_BLD.dtype)
        return (encoded_BLD * kept_BL1).sum(1) / kept_BL1.sum(1).clamp(min=1)

    def _embedded(self, name: str, rows: Tensor) -> Tensor:
        layers = self.directions if name in self.floats else self.projections
        return layers[keyed(name)](rows) if keyed(name) in layers else rows

    def _positions(self, real_BL: Any) -> Any:
        assert self.positions is not None
        if real_BL.shape[1] > self.positions.num_embeddings:
            raise InputError(
                f"a history has {real_BL.shape[1]} elements, but there are {self.positions.num_embeddings} positions",
                todo="truncate it in its transforms, or raise model.options.positions",
            )
        from_newest_BL = real_BL.sum(1, keepdim=True) - 1 - torch.arange(real_BL.shape[1], device=real_BL.device)
        return self.positions(from_newest_BL.clamp(min=0))


def check_aligned(parts: Mapping[str, FoldedSequence]) -> None:
    """The histories of one group are equally long.

    Raises:
        InputError: it names the first one that is not.
    """
    (first_name, first), *others = parts.items()
    for name, part in others:
        if part.start is first.start and part.length is first.length:
            continue
        if not (torch.equal(part.length, first.length) and torch.equal(part.start, first.start)):
            raise InputError(
                f"the histories {first_name!r} and {name!r} of one group have different lengths",
                todo="put them into different groups, or give both the same truncation",
            )
