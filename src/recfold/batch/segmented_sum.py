"""Sums of chosen rows, segment by segment and in fixed order: what copies rows out and what adds them back.

Legend: R rows, P (output, row) pairs, N outputs.

    source_P   2 0 | 0 | 1 2       row that each pair reads
    offsets    0     2   3     5   output n sums the pairs offsets[n] .. offsets[n+1], in this order (N = 3)

Copying is the case of one pair an output; the backward of any such sum is another one, with the pairs sorted by row.
"""

import itertools
from typing import Any

import torch
from torch import Tensor


class SegmentedSum:
    """The linear map `out[n] = sum of rows[source[p]] for p in [offsets[n], offsets[n + 1])`.

    Each output is summed by one thread, from its first pair to its last, half precisions in float32: the bits do not
    depend on the number of threads. Differentiable any number of times; the backward map is made once and kept.

    Args:
        source_P: int64, row of each pair, in [0, num_rows).
        num_rows: R.
        offsets: int64 [N + 1], or None for exactly one pair an output (N = P): a copy.

    Example:
        >>> total = SegmentedSum(torch.tensor([2, 0, 0]), 3, torch.tensor([0, 2, 3, 3]))
        >>> total(torch.tensor([[1.0], [10.0], [100.0]])).flatten().tolist()
        [101.0, 1.0, 0.0]
    """

    def __init__(self, source_P: Tensor, num_rows: int, offsets: Tensor | None = None) -> None:
        self.source_P = source_P
        self.num_rows = num_rows
        self.offsets = offsets
        self.num_outputs = len(source_P) if offsets is None else len(offsets) - 1
        self._transposed: SegmentedSum | None = None

    def __call__(self, rows: Tensor) -> Tensor:
        """Sum rows.

        Args:
            rows: [R, ...], any dtype.
        Returns:
            [N, ...] of the same dtype.
        """
        if rows.dim() == 0 or len(rows) != self.num_rows:
            raise ValueError(f"expected {self.num_rows} rows, got a tensor of shape {tuple(rows.shape)}")
        return _SegmentedSum.apply(rows, self)

    def transposed(self) -> "SegmentedSum":
        """The backward map, [N, ...] -> [R, ...]: row r sums the outputs that read it, in the order of the pairs."""
        if self._transposed is None:
            output_P, source_P = self._outputs(), self.source_P
            if not _known_to_rise(source_P):
                source_P, order = torch.sort(source_P, stable=True)
                output_P = output_P[order]
            offsets = torch.searchsorted(source_P, torch.arange(self.num_rows + 1, device=source_P.device))
            self._transposed = SegmentedSum(output_P, self.num_outputs, offsets)
            self._transposed._transposed = self
        return self._transposed

    def _outputs(self) -> Tensor:
        outputs_N = torch.arange(self.num_outputs, device=self.source_P.device)
        if self.offsets is None:
            return outputs_N
        return torch.repeat_interleave(outputs_N, self.offsets.diff(), output_size=len(self.source_P))

    def _sum(self, rows: Tensor) -> Tensor:
        shape = (self.num_outputs, *rows.shape[1:])
        if self.offsets is None:
            return rows.index_select(0, self.source_P)
        if len(self.source_P) == 0 or 0 in shape:
            return rows.new_zeros(shape)
        if not rows.is_floating_point():
            picked = rows.index_select(0, self.source_P)
            return rows.new_zeros(shape).index_add_(0, self._outputs(), picked)
        flat = rows.reshape(self.num_rows, -1).contiguous()
        # The embedding kernel is the quickest segmented sum that torch has: it fuses the gather with the sum.
        total, *_ = torch.embedding_bag(flat, self.source_P, self.offsets, False, 0, False, None, True)
        return total.reshape(shape)


class _SegmentedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, total: SegmentedSum) -> Tensor:
        ctx.total = total
        return total._sum(rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.total.transposed()(grads[0]), None


def segmented_sum_reference(rows: Tensor, source_P: Tensor, num_rows: int, offsets: Tensor | None = None) -> Tensor:
    """The slow twin of `SegmentedSum`: one addition at a time, half precisions in float32."""
    assert len(rows) == num_rows
    starts = list(range(len(source_P) + 1)) if offsets is None else offsets.tolist()
    wide = torch.float32 if rows.dtype in (torch.float16, torch.bfloat16) else rows.dtype
    out = torch.zeros((len(starts) - 1, *rows.shape[1:]), dtype=wide)
    for n, (start, stop) in enumerate(itertools.pairwise(starts)):
        for row in source_P[start:stop].tolist():
            out[n] += rows[row].to(wide)
    return out.to(rows.dtype)


def _known_to_rise(values: Tensor) -> bool:
    """Whether values never fall, where it costs nothing to know (looking would stall an accelerator)."""
    return values.device.type == "cpu" and bool((values[1:] >= values[:-1]).all())
