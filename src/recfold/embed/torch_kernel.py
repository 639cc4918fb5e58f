"""The kernel that runs everywhere: tables on plain tensors, updated together inside the backward of their lookup."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recfold.embed.huge_pages import use_huge_pages_
from recfold.embed.resolved_table import ResolvedTable
from recfold.optim import Joined, State, find_touched, new_state, update_touched_

CONVERTED_AT_ONCE = 1 << 21  # bytes of rows of half precision that become float32 at a time: they stay in cache


class TorchKernel:
    """Tables of any dtype, dim, update rule and device; the same bits for any number of threads.

    The ids of all tables are sorted at once; a table then sums and updates its rows in blocks that fit a cache.
    """

    name = "torch"

    def __init__(self, tables: Sequence[ResolvedTable], device: torch.device) -> None:
        self.tables = tuple(tables)
        self._weights = [torch.empty(own.rows, own.dim, dtype=own.dtype, device=device) for own in tables]
        for weight_RD in self._weights:
            use_huge_pages_(weight_RD)
            weight_RD.zero_()
        self._states = [
            new_state(own.optimizer, weight_RD) for own, weight_RD in zip(tables, self._weights, strict=True)
        ]
        # autograd runs a backward only for something that requires a gradient
        self._anchor = torch.zeros((), requires_grad=True)

    def weights(self) -> list[Tensor]:
        return self._weights

    def states(self) -> list[State]:
        return self._states

    def __call__(self, joined: Sequence[Joined]) -> list[Tensor]:
        """Sums of each bag's rows, [N, D] a table; their backward updates the tables."""
        return list(_Lookup.apply(self._anchor, self, joined))

    def look_up(self, place: int, joined: Joined) -> Tensor:
        """Sums [N, D] of the bags of one table."""
        weight_RD, own = self._weights[place], self.tables[place]
        if joined.offsets is None:
            rows_VD = weight_RD.index_select(0, joined.values).to(own.out_dtype)
            return rows_VD if joined.weights is None else rows_VD.mul_(joined.weights.unsqueeze(1))
        if len(joined.values) == 0 or joined.num_bags == 0:
            return weight_RD.new_zeros(joined.num_bags, own.dim, dtype=own.out_dtype)
        if own.dtype == own.out_dtype:
            return _sum_bags(weight_RD, joined.values, joined.offsets, joined.weights)
        return _sum_converted(weight_RD, joined, own.out_dtype)

    def update_(self, grads: Sequence[Tensor | None], joined: Sequence[Joined]) -> None:
        """Update the tables whose output has a gradient, each touched row once.

        Args:
            grads: a table's [N, D], or None where the loss does not use its output.
        """
        places = [place for place, grad in enumerate(grads) if grad is not None]
        found = find_touched([joined[place] for place in places], [self.tables[place].rows for place in places])
        for place, touched in zip(places, found, strict=True):
            own, grad_ND = self.tables[place], grads[place]
            assert grad_ND is not None
            update_touched_(self._weights[place], self._states[place], touched, grad_ND, own.optimizer, own.settings)


def _sum_bags(weight_RD: Tensor, values: Tensor, offsets: Tensor, weights: Tensor | None) -> Tensor:
    sums_ND, *_ = torch.embedding_bag(weight_RD, values, offsets, False, 0, False, weights, True)
    return sums_ND


def _sum_converted(weight_RD: Tensor, joined: Joined, dtype: torch.dtype) -> Tensor:
    """Sums of bags of a table of half precision, whose rows are converted before they are added."""
    values, offsets, weights = joined.values, joined.offsets, joined.weights
    assert offsets is not None
    numbers = torch.arange(len(values), device=values.device)
    if values.device.type != "cpu":
        return _sum_bags(weight_RD.index_select(0, values).to(dtype), numbers, offsets, weights)
    sums_ND = weight_RD.new_empty(joined.num_bags, weight_RD.shape[1], dtype=dtype)
    most = max(CONVERTED_AT_ONCE // (weight_RD.shape[1] * dtype.itemsize), 1)
    bag = first = 0
    while bag < joined.num_bags:
        # as many bags as fit, but at least one
        stop = int(torch.searchsorted(offsets, first + most, right=True)) - 1
        stop = min(max(stop, bag + 1), joined.num_bags)
        last = int(offsets[stop])
        rows_VD = weight_RD.index_select(0, values[first:last]).to(dtype)
        own = None if weights is None else weights[first:last]
        sums_ND[bag:stop] = _sum_bags(rows_VD, numbers[: last - first], offsets[bag : stop + 1] - first, own)
        bag, first = stop, last
    return sums_ND


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, kernel: TorchKernel, joined: Sequence[Joined]) -> tuple[Tensor, ...]:
        ctx.kernel, ctx.joined = kernel, joined
        ctx.set_materialize_grads(False)
        return tuple(kernel.look_up(place, own) for place, own in enumerate(joined))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, None, None]:
        ctx.kernel.update_(grads, ctx.joined)
        return None, None, None
