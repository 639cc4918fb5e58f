"""Products of pairs of vectors: inside one stack, between two, and between a folded stack and one of every sample.

Legend: B samples, U distinct rows, M and N vectors, D their dim.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from recfold.batch.fold_index import FoldIndex
from recfold.batch.ragged_products import ragged_products, ragged_products_gradients, serves
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

    All samples of a row meet its vectors in one product. Where `ragged_products` serves, these are one operation;
    elsewhere rows that are used equally often share a batched one.

    Args:
        vectors_UMD: folded under `index`.
        others_BND: of every sample.
        wanted_P: int64, entries n * M + m; None for all.
    """

    @staticmethod
    def forward(ctx: Any, vectors_UMD: Tensor, others_BND: Tensor, index: FoldIndex, wanted_P: Tensor | None) -> Tensor:
        by_row = _by_row(index, vectors_UMD, others_BND)
        samples = by_row.sorted(others_BND.contiguous())
        ctx.save_for_backward(vectors_UMD, others_BND, samples, wanted_P)
        ctx.index, ctx.by_row = index, by_row
        products = by_row.restored(by_row.products(vectors_UMD.contiguous(), samples))
        return products if wanted_P is None else products.index_select(1, wanted_P)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        vectors_UMD, others_BND, samples, wanted_P = ctx.saved_tensors
        grad = _of_all(grads[0], wanted_P, others_BND.shape[1] * vectors_UMD.shape[1])
        if torch.is_grad_enabled():  # a gradient of the gradient is wanted: the obvious way is differentiable
            grad = grad.view(len(others_BND), others_BND.shape[1], vectors_UMD.shape[1])
            on_samples = ctx.index.fold_sum(torch.bmm(grad.transpose(1, 2), others_BND))
            return on_samples, torch.bmm(grad, ctx.index.unfold(vectors_UMD)), None, None
        of_vectors, of_samples = ctx.by_row.gradients(ctx.by_row.sorted(grad), vectors_UMD.contiguous(), samples)
        return of_vectors, ctx.by_row.restored(of_samples), None, None


def folded_products_reference(vectors_UMD: Tensor, others_BND: Tensor, index: FoldIndex) -> Tensor:
    """The slow twin of `FoldedProducts`, all entries."""
    return torch.bmm(others_BND, index.unfold(vectors_UMD).transpose(1, 2)).flatten(1)


class _Ragged:
    """Products of any number of samples a row in one operation; samples that lie row by row are not moved."""

    def __init__(self, index: FoldIndex) -> None:
        self.order, self.offsets = index.samples_by_row()
        if self.order is not None:
            self.places = torch.empty_like(self.order)
            self.places[self.order] = torch.arange(len(self.order))

    def sorted(self, held: Tensor) -> Tensor:
        """What there is of each sample, row by row."""
        return held if self.order is None else held.index_select(0, self.order)

    def restored(self, held: Tensor) -> Tensor:
        """In the order of the samples again."""
        return held if self.order is None else held.index_select(0, self.places)

    def products(self, vectors_UMD: Tensor, samples_BND: Tensor) -> Tensor:
        """All entries, [B, N * M], of samples in the order of their rows."""
        return ragged_products(vectors_UMD, samples_BND, self.offsets)

    def gradients(self, grad_BP: Tensor, vectors_UMD: Tensor, samples_BND: Tensor) -> tuple[Tensor, Tensor]:
        """Of vectors and samples, from that of all entries."""
        return ragged_products_gradients(grad_BP, vectors_UMD, samples_BND, self.offsets)


class _Bucketed:
    """The same with a product of a stack for all rows that are used equally often."""

    def __init__(self, index: FoldIndex) -> None:
        self.buckets = row_buckets(index)

    def sorted(self, held: Tensor) -> Tensor:
        return held.index_select(0, self.buckets.samples)

    def restored(self, held: Tensor) -> Tensor:
        return held.index_select(0, self.buckets.places)

    def products(self, vectors_UMD: Tensor, samples_BND: Tensor) -> Tensor:
        buckets, rows = self.buckets, vectors_UMD.index_select(0, self.buckets.rows)
        out = samples_BND.new_empty(len(samples_BND), samples_BND.shape[1], vectors_UMD.shape[1])
        for left, right_t, product in zip(
            _of_samples(samples_BND, buckets),
            _of_rows(rows, buckets, transposed=True),
            _of_samples(out, buckets),
            strict=True,
        ):
            torch.bmm(left, right_t, out=product)
        return out.flatten(1)

    def gradients(self, grad_BP: Tensor, vectors_UMD: Tensor, samples_BND: Tensor) -> tuple[Tensor, Tensor]:
        buckets, rows = self.buckets, vectors_UMD.index_select(0, self.buckets.rows)
        grad = grad_BP.view(len(samples_BND), samples_BND.shape[1], vectors_UMD.shape[1])
        of_rows, of_samples = torch.empty_like(rows), torch.empty_like(samples_BND)
        for part, right, of_left in zip(
            _of_samples(grad, buckets), _of_rows(rows, buckets), _of_samples(of_samples, buckets), strict=True
        ):
            torch.bmm(part, right, out=of_left)
        for part_t, left, of_right in zip(
            _of_samples(grad, buckets, transposed=True),
            _of_samples(samples_BND, buckets),
            _of_rows(of_rows, buckets),
            strict=True,
        ):
            torch.bmm(part_t, left, out=of_right)
        return torch.zeros_like(vectors_UMD).index_copy_(0, buckets.rows, of_rows), of_samples


def _by_row(index: FoldIndex, *operands: Tensor) -> _Ragged | _Bucketed:
    return _Ragged(index) if serves(*operands) else _Bucketed(index)


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
