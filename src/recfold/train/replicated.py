"""Embedding tables of which every rank holds a whole copy: the plainest way over ranks, and the others' measure.

In training every rank gets the bags of all ranks, looks all of them up, and keeps its own outputs; on the way back it
gets the gradients of all ranks. So each copy sees the one-process batch, the ranks' bags in rank order, and all copies
stay equal bit for bit. Outside training a rank looks up what it needs from its own copy.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recfold.embed import Bags, EmbeddingTables
from recfold.spec import Read, TableSpec
from recfold.train.ranks import Ranks, losses


class ReplicatedTables(nn.Module):
    """`EmbeddingTables` on every rank, trained as one.

    Args:
        tables, reads, options: of `EmbeddingTables`.
        ranks: who holds a copy.
    """

    def __init__(self, tables: Mapping[str, TableSpec], reads: Sequence[Read], *, ranks: Ranks, **options: Any) -> None:
        super().__init__()
        self.own = EmbeddingTables(tables, reads, **options)
        self._ranks = ranks

    def forward(self, bags: Mapping[str, Bags]) -> dict[str, Tensor]:
        """As `EmbeddingTables`; in training every rank calls it in the same step."""
        if not (self.training and torch.is_grad_enabled()):
            return cast(dict[str, Tensor], self.own(bags))
        reads = self.own.reads
        every = [_bags_of_all(bags[read.feature], self._ranks) for read in reads]
        found = self.own({read.feature: _joined(parts) for read, parts in zip(reads, every, strict=True)})
        counts = [[part.num_bags(read.mode) for part in parts] for read, parts in zip(reads, every, strict=True)]
        own = _OwnParts.apply(self._ranks, counts, *(found[read.feature] for read in reads))
        return {read.feature: part for read, part in zip(reads, own, strict=True)}

    def state(self) -> dict[str, Tensor]:
        return self.own.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.own.load_state(dict(state))

    def kernels(self) -> dict[str, str]:
        return self.own.kernels()

    def notes(self) -> tuple[str, ...]:
        return self.own.notes()


class _OwnParts(torch.autograd.Function):
    """This rank's rows of lookups of all ranks' bags; backward gathers the gradients of all ranks."""

    @staticmethod
    def forward(ctx: Any, ranks: Ranks, counts: list[list[int]], *found: Tensor) -> tuple[Tensor, ...]:
        ctx.ranks, ctx.counts = ranks, counts
        ctx.kinds = [(full.shape[1], full.dtype, full.device) for full in found]
        return tuple(full.split(sizes)[ranks.rank].clone() for full, sizes in zip(found, counts, strict=True))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        found = [gather_rows(grad, sizes, ctx.ranks) for grad, sizes in zip(grads, ctx.counts, strict=True)]
        return (None, None, *(torch.cat(parts) for parts in found))


def gather_rows(own: Tensor, sizes: Sequence[int], ranks: Ranks) -> list[Tensor]:
    """The rows of every rank in rank order; rank r has `sizes[r]`."""
    padded = own.new_zeros(max(sizes), *own.shape[1:])
    padded[: len(own)] = own
    parts = [torch.empty_like(padded) for _ in sizes]
    with losses():
        dist.all_gather(parts, padded, group=ranks.group)
    return [part[:size] for part, size in zip(parts, sizes, strict=True)]


def _bags_of_all(own: Bags, ranks: Ranks) -> list[Bags]:
    facts = ranks.numbers([float(len(own.values)), float(len(own.offsets)), float(own.weights is not None)])
    values = gather_rows(own.values, [int(n) for n in facts[:, 0]], ranks)
    offsets = gather_rows(own.offsets, [int(n) for n in facts[:, 1]], ranks)
    weights: list[Tensor | None] = [None] * ranks.size
    if bool(facts[:, 2].any()):
        mine = torch.ones(len(own.values), device=own.values.device) if own.weights is None else own.weights
        weights = list(gather_rows(mine, [int(n) for n in facts[:, 0]], ranks))
    return [Bags(*parts) for parts in zip(values, offsets, weights, strict=True)]


def _joined(parts: Sequence[Bags]) -> Bags:
    starts, shift = [], 0
    for part in parts:
        starts.append(part.offsets[:-1] + shift)
        shift += len(part.values)
    offsets = torch.cat([*starts, parts[0].offsets.new_full((1,), shift)])
    weights = None if parts[0].weights is None else torch.cat([cast(Tensor, part.weights) for part in parts])
    return Bags(torch.cat([part.values for part in parts]), offsets, weights)
