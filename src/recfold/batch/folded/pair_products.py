"""Products of pairs of vectors: inside one stack, between two, and between a folded stack and one of every sample.

Legend: B samples, U distinct rows, M and N vectors, D their dim.
"""

from collections.abc import Iterator, Sequence
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
        products_of = out.view(len(samples), others_BND.shape[1], vectors_UMD.shape[1])
        for left, right_t, product in zip(
            _of_samples(samples, buckets),
            _of_rows(rows, buckets, transposed=True),
            _of_samples(products_of, buckets),
            strict=True,
        ):
            torch.bmm(left, right_t, out=product)
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
        grad = grad.index_select(0, buckets.samples).view(len(samples), others_BND.shape[1], vectors_UMD.shape[1])
        grad_rows, grad_samples = torch.empty_like(rows), torch.empty_like(samples)
        for part, right, grad_left in zip(
            _of_samples(grad, buckets), _of_rows(rows, buckets), _of_samples(grad_samples, buckets), strict=True
        ):
            torch.bmm(part, right, out=grad_left)
        for part_t, left, grad_right in zip(
            _of_samples(grad, buckets, transposed=True),
            _of_samples(samples, buckets),
            _of_rows(grad_rows, buckets),
            strict=True,
        ):
            torch.bmm(part_t, left, out=grad_right)
        grad_vectors = torch.zeros_like(vectors_UMD).index_copy_(0, buckets.rows, grad_rows)
        return grad_vectors, grad_samples.index_select(0, buckets.places), None, None


def folded_products_reference(vectors_UMD: Tensor, others_BND: Tensor, index: FoldIndex) -> Tensor:
    """The slow twin of `FoldedProducts`, all entries."""
    return torch.bmm(others_BND, index.unfold(vectors_UMD).transpose(1, 2)).flatten(1)


def _of_samples(held_BVD: Tensor, buckets: RowBuckets, *, transposed: bool = False) -> Iterator[Tensor]:
    """Of each bucket's rows, the vectors of all samples that use one, as a matrix a row: [rows, count * V, D]."""
    return _matrices(held_BVD, [(number, count) for count, number in buckets.sizes], transposed)


def _of_rows(held_UVD: Tensor, buckets: RowBuckets, *, transposed: bool = False) -> Iterator[Tensor]:
    """The vectors of each bucket's rows, [rows, V, D]."""
    return _matrices(held_UVD, [(number, 1) for _, number in buckets.sizes], transposed)


def _matrices(held: Tensor, sizes: Sequence[tuple[int, int]], transposed: bool) -> Iterator[Tensor]:
    """Views of a contiguous tensor; in one operation each, there are many."""
    _, vectors, dim = held.shape
    start = held.storage_offset()
    for number, count in sizes:
        lines = count * vectors
        if transposed:
            yield held.as_strided((number, dim, lines), (lines * dim, 1, dim), start)
        else:
            yield held.as_strided((number, lines, dim), (lines * dim, dim, 1), start)
        start += number * lines * dim


def _of_all(grad: Tensor, wanted_P: Tensor | None, width: int) -> Tensor:
    """Gradients of all entries from those of the wanted ones."""
    if wanted_P is None:
        return grad.contiguous()
    return grad.new_zeros(len(grad), width).index_add(1, wanted_P, grad)
