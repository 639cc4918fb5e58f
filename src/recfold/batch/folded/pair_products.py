"""Products of pairs of vectors: inside one stack, between two, and between a folded stack and one of every sample.

Legend: B samples, U distinct rows, M and N vectors, D their dim.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from recfold.batch.fold_index import FoldIndex
from recfold.batch.row_buckets import RowBuckets, row_buckets


class Products(torch.autograd.Function):
    """Chosen entries of `left @ right^T`, or of `left @ left^T`, whose gradient is one product instead of two.

    Args:
        left, right: [R, M, D] and [R, N, D]; right is None for left itself.
        wanted_P: int64, entries of the product as one row; None for all.
    """

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor | None, wanted_P: Tensor | None) -> Tensor:
        ctx.save_for_backward(left, right, wanted_P)
        products = torch.bmm(left, (left if right is None else right).transpose(1, 2)).flatten(1)
        return products if wanted_P is None else products.index_select(1, wanted_P)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        left, right, wanted_P = ctx.saved_tensors
        other = left if right is None else right
        grad = _of_all(grads[0], wanted_P, left.shape[1] * other.shape[1])
        grad = grad.view(len(left), left.shape[1], other.shape[1])
        if right is None:
            return torch.bmm(grad + grad.transpose(1, 2), left), None, None
        return torch.bmm(grad, right), torch.bmm(grad.transpose(1, 2), left), None


class FoldedProducts(torch.autograd.Function):
    """Chosen entries of `others @ vectors[inverse]^T` without copying the folded vectors out to samples.

    All samples of a row meet its vectors in one product; rows that are used equally often share a batched one.

    Args:
        vectors_UMD: folded under `index`.
        others_BND: of every sample.
        wanted_P: int64, entries n * M + m; None for all.
    """

    @staticmethod
    def forward(ctx: Any, vectors_UMD: Tensor, others_BND: Tensor, index: FoldIndex, wanted_P: Tensor | None) -> Tensor:
        buckets = row_buckets(index)
        rows = vectors_UMD.index_select(0, buckets.rows)
        samples = others_BND.index_select(0, buckets.samples)
        ctx.save_for_backward(vectors_UMD, others_BND, rows, samples, wanted_P)
        ctx.index, ctx.buckets = index, buckets
        out = samples.new_empty(len(samples), others_BND.shape[1] * vectors_UMD.shape[1])
        for own, meeting in _rectangles(buckets):
            left, right = samples[meeting].view(len(rows[own]), -1, samples.shape[2]), rows[own]
            torch.bmm(left, right.transpose(1, 2), out=out[meeting].view(*left.shape[:2], right.shape[1]))
        products = out.index_select(0, buckets.places)
        return products if wanted_P is None else products.index_select(1, wanted_P)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        vectors_UMD, others_BND, rows, samples, wanted_P = ctx.saved_tensors
        grad = _of_all(grads[0], wanted_P, others_BND.shape[1] * vectors_UMD.shape[1])
        if torch.is_grad_enabled():  # a gradient of the gradient is wanted: the obvious way is differentiable
            grad = grad.view(len(others_BND), others_BND.shape[1], vectors_UMD.shape[1])
            on_samples = ctx.index.fold_sum(torch.bmm(grad.transpose(1, 2), others_BND))
            return on_samples, torch.bmm(grad, ctx.index.unfold(vectors_UMD)), None, None
        buckets: RowBuckets = ctx.buckets
        grad = grad.index_select(0, buckets.samples)
        grad_rows, grad_samples = torch.empty_like(rows), torch.empty_like(samples)
        for own, meeting in _rectangles(buckets):
            right, left = rows[own], samples[meeting].view(len(rows[own]), -1, samples.shape[2])
            part = grad[meeting].view(*left.shape[:2], right.shape[1])
            torch.bmm(part, right, out=grad_samples[meeting].view(left.shape))
            torch.bmm(part.transpose(1, 2), left, out=grad_rows[own])
        grad_vectors = torch.zeros_like(vectors_UMD).index_copy_(0, buckets.rows, grad_rows)
        return grad_vectors, grad_samples.index_select(0, buckets.places), None, None


def folded_products_reference(vectors_UMD: Tensor, others_BND: Tensor, index: FoldIndex) -> Tensor:
    """The slow twin of `FoldedProducts`, all entries."""
    return torch.bmm(others_BND, index.unfold(vectors_UMD).transpose(1, 2)).flatten(1)


def _rectangles(buckets: RowBuckets) -> Iterator[tuple[slice, slice]]:
    """Rows of one bucket and the samples that use them, in the buckets' order."""
    row = sample = 0
    for count, number in buckets.sizes:
        yield slice(row, row + number), slice(sample, sample + number * count)
        row, sample = row + number, sample + number * count


def _of_all(grad: Tensor, wanted_P: Tensor | None, width: int) -> Tensor:
    """Gradients of all entries from those of the wanted ones."""
    if wanted_P is None:
        return grad.contiguous()
    return grad.new_zeros(len(grad), width).index_add(1, wanted_P, grad)
