"""A TorchRec peer's dense part: TorchRec's own DLRM modules, and torch's transformer over padded histories.

Legend: B samples, F vectors that interact besides the bottom MLP's, D dim, L the longest history of the batch.
"""

import copy
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recfold.bench.training.torchrec_modules import torchrec_modules
from recfold.model import Dlrm
from recfold.model.encoder import HistoryEncoder
from recfold.spec import InputError


class PeerDlrm(nn.Module):
    """TorchRec's DenseArch, InteractionArch and OverArch with the widths and weights of recfold's DLRM.

    Scalars enter the bottom MLP side by side; a wide vector (the content of an item) has an MLP and a vector of its own
    in the interaction, after all others, as recfold's model has them.

    Args:
        model: at its first step; it is copied.
        order: of the vectors that interact besides the bottom MLP's, where it is not the model's: number, from 0, that
            each has there.
    Raises:
        InputError: it has something that the peers have not.
    """

    def __init__(self, model: Dlrm, order: Sequence[int] | None = None) -> None:
        super().__init__()
        dlrm = torchrec_modules().dlrm
        if model.bottom is None or model.columns.sequences or len(model.vectors.projections):
            raise InputError("the peers have a DLRM with dense values and tables of one dim", todo="report this")
        bottom, top = _linears(model.bottom), _linears(model.top)
        pairs = top[0].in_features - model.dim
        self.num_vectors = next(n for n in itertools.count(1) if n * (n + 1) // 2 == pairs)
        self.dense = dlrm.DenseArch(bottom[0].in_features, [layer.out_features for layer in bottom])
        self.wide_mlps = nn.ModuleList(copy.deepcopy(list(model.wide_mlps.values())))
        self.interaction = dlrm.InteractionArch(self.num_vectors)
        self.over = dlrm.OverArch(top[0].in_features, [layer.out_features for layer in top])
        for own, theirs in zip(_linears(self.dense), bottom, strict=True):
            own.load_state_dict(theirs.state_dict())
        for own, theirs in zip(_linears(self.over), top, strict=True):
            own.load_state_dict(theirs.state_dict())
        with torch.no_grad():
            _linears(self.over)[0].weight.copy_(top[0].weight[:, _columns(model.dim, order or range(self.num_vectors))])

    def forward(self, dense_BW: Tensor, wide: Sequence[Tensor], vectors_BFD: Tensor) -> Tensor:
        """Logits [B, num_labels].

        Args:
            wide: wide vectors of every sample, one tensor a feature.
        """
        if wide:
            through = [mlp(values_BW) for mlp, values_BW in zip(self.wide_mlps, wide, strict=True)]
            vectors_BFD = torch.cat([vectors_BFD, torch.stack(through, dim=1)], dim=1)
        logits: Tensor = self.over(self.interaction(self.dense(dense_BW), vectors_BFD))
        return logits


class PeerEncoder(nn.Module):
    """The history encoder on every sample's padded history: the same `nn.TransformerEncoder`, mean pooled.

    Args:
        encoder: at its first step; its transformer is copied.
    Raises:
        InputError: it has projections, sequences of floats or positions, which the workload has not.
    """

    def __init__(self, encoder: HistoryEncoder) -> None:
        super().__init__()
        if len(encoder.projections) or encoder.floats or encoder.positions is not None:
            raise InputError("the peers have an encoder of added embeddings without positions", todo="report this")
        self.features = encoder.features
        self.transformer = copy.deepcopy(encoder.transformer)

    def forward(self, rows_VD: Tensor, offsets: Tensor) -> Tensor:
        """[B, D] from the rows of all samples' histories, the history of sample b from offsets[b] to offsets[b + 1]."""
        length_B = offsets.diff()
        longest = max(int(length_B.max()), 1)
        padded_BLD = torch.ops.fbgemm.jagged_to_padded_dense(rows_VD, [offsets], [longest])
        real_BL = torch.arange(longest, device=offsets.device) < length_B.unsqueeze(1)
        seen_BL = real_BL.clone()
        seen_BL[:, 0] = True  # attention over nothing has no value
        encoded_BLD = self.transformer(padded_BLD, src_key_padding_mask=~seen_BL)
        kept_BL1 = real_BL.unsqueeze(2).to(encoded_BLD.dtype)
        return (encoded_BLD * kept_BL1).sum(1) / kept_BL1.sum(1).clamp(min=1)


def _linears(module: nn.Module) -> list[nn.Linear]:
    return [part for part in module.modules() if isinstance(part, nn.Linear)]


def _columns(dim: int, order: Sequence[int]) -> Sequence[int]:
    """Columns of our first top layer in TorchRec's order: the bottom MLP, then pairs of vectors in this order.

    Ours are the strict lower triangle of the products row by row, TorchRec's the strict upper one; the first vector is
    the bottom MLP's on both sides.
    """
    pairs = itertools.combinations([0, *(1 + vector for vector in order)], 2)
    return [*range(dim), *(dim + max(pair) * (max(pair) - 1) // 2 + min(pair) for pair in pairs)]
