"""The kernel that runs everywhere: one table on plain tensors, updated inside the backward of its lookup."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recfold.embed.bags import Joined
from recfold.embed.resolved_table import ResolvedTable
from recfold.optim import new_sum, sum_rows, update_rows_


class TorchKernel:
    """One table; any dtype, dim, update rule and device; the same bits for any number of threads."""

    name = "torch"

    def __init__(self, tables: Sequence[ResolvedTable], device: torch.device) -> None:
        (self.table,) = tables
        self.weight_RD = torch.zeros(self.table.rows, self.table.dim, dtype=self.table.dtype, device=device)
        self.running_sum = new_sum(self.table.optimizer, self.weight_RD)
        # autograd runs a backward only for something that requires a gradient
        self._anchor = torch.zeros((), requires_grad=True)

    def weights(self) -> list[Tensor]:
        return [self.weight_RD]

    def sums(self) -> list[Tensor | None]:
        return [self.running_sum]

    def __call__(self, joined: Sequence[Joined]) -> list[Tensor]:
        """Sums of each bag's rows, [N, D]; their backward updates the table."""
        (own,) = joined
        return [_Lookup.apply(self._anchor, self, own)]

    def look_up(self, joined: Joined) -> Tensor:
        weight_RD, out_dtype = self.weight_RD, self.table.out_dtype
        if joined.offsets is None:
            rows_VD = weight_RD.index_select(0, joined.values).to(out_dtype)
            return rows_VD if joined.weights is None else rows_VD.mul_(joined.weights.unsqueeze(1))
        if len(joined.values) == 0 or joined.num_bags == 0:
            return weight_RD.new_zeros(joined.num_bags, self.table.dim, dtype=out_dtype)
        values = joined.values
        if weight_RD.dtype != out_dtype:
            weight_RD = weight_RD.index_select(0, values).to(out_dtype)
            values = torch.arange(len(values), device=values.device)
        sums_ND, *_ = torch.embedding_bag(weight_RD, values, joined.offsets, False, 0, False, joined.weights, True)
        return sums_ND

    def update_(self, grad_ND: Tensor, joined: Joined) -> None:
        rows_T, grad_TD = sum_rows(grad_ND, joined.values, joined.offsets, joined.weights)
        if len(rows_T):
            update_rows_(self.weight_RD, self.running_sum, rows_T, grad_TD, self.table.optimizer, self.table.settings)


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, kernel: TorchKernel, joined: Joined) -> Tensor:
        ctx.kernel, ctx.joined = kernel, joined
        return kernel.look_up(joined)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, None]:
        ctx.kernel.update_(grads[0], ctx.joined)
        return None, None, None
