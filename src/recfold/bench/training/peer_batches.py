"""Batches as a TorchRec peer reads them: KJTs built beforehand, scalars side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recfold.batch import Batch, InverseKeyedJaggedTensor
from recfold.bench.training.torchrec_modules import torchrec_modules
from recfold.spec import InputError
from recfold.train.learner import Learner


@dataclass(frozen=True)
class PeerBatch:
    """What a peer's step reads.

    Args:
        kjt: of the pooled features, in the order of the tables.
        dense_BW: scalars of every sample, side by side.
        wide: wide vectors of every sample, one tensor a feature.
        labels_BL: float32.
        rows: KJT of the tables that histories read: all ids of all samples, each a bag of its own.
        offsets: of each encoder's histories in them, int64 [B + 1].
    """

    kjt: Any
    dense_BW: Tensor
    wide: list[Tensor]
    labels_BL: Tensor
    rows: Any = None
    offsets: Sequence[Tensor] = ()


def pooled_tables(learner: Learner) -> dict[str, str]:
    """Feature -> its table, of the features whose rows are summed."""
    found = {read.feature: read for read in learner.assembled.reads if read.mode != "rows"}
    for read in found.values():
        if read.mode != "sum":
            raise InputError(f"the peers cannot read feature {read.feature!r} by {read.mode}", todo="report this")
    return {name: read.table for name, read in found.items()}


def lists_of(batch: Batch) -> dict[str, InverseKeyedJaggedTensor]:
    """Id-list feature -> its group's lists."""
    return {key: group.lists for group in batch.groups.values() if group.lists is not None for key in group.lists.keys}


def torchrec_kjt(keys: list[str], values: Tensor, lengths: Tensor, **about: Any) -> Any:
    """A KJT whose lengths and offsets are both there already, so that no step has to make them."""
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0, dtype=lengths.dtype)])
    return torchrec_modules().jagged.KeyedJaggedTensor(keys, values, lengths=lengths, offsets=offsets, **about)


def plain_kjt(plain: Batch, features: tuple[str, ...], lengths_dtype: torch.dtype = torch.int64) -> Any:
    """Some features of an expanded batch."""
    lists = lists_of(plain)
    bags = [lists[name].bags(name) for name in features]
    values, lengths = torch.cat([own[0] for own in bags]), torch.cat([own[1].diff() for own in bags])
    return torchrec_kjt(list(features), values, lengths.to(lengths_dtype), stride=plain.num_samples)


def variable_kjt(batch: Batch, features: tuple[str, ...], lengths_dtype: torch.dtype = torch.int64) -> Any:
    """The distinct lists, how many each feature has, and which one each sample uses."""
    lists = lists_of(batch)
    bags = [lists[name].bags(name) for name in features]
    samples_B = torch.arange(batch.num_samples)
    inverse = [lists[name].inverse for name in features]
    return torchrec_kjt(
        list(features),
        torch.cat([own[0] for own in bags]),
        torch.cat([own[1].diff() for own in bags]).to(lengths_dtype),
        stride_per_key_per_rank=[[lists[name].num_distinct] for name in features],
        inverse_indices=(list(features), torch.stack([samples_B if own is None else own for own in inverse])),
    )


def dense_of(plain: Batch, names: tuple[str, ...], device: torch.device) -> list[Tensor]:
    """Dense features of an expanded batch, [B, W] each."""
    owner = {key: group for group in plain.groups.values() for key in group.dense_keys}
    return [owner[name].dense_of(name).contiguous().to(device) for name in names]


def labels_of(plain: Batch, device: torch.device) -> Tensor:
    """float32 [B, L]."""
    return plain.labels.to(device, torch.float32)
