"""A linear layer over a lazy concatenation: W [u; i] = W_u u + W_i i, the u part on its distinct rows."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from recfold.batch.fold_index import FoldIndex
from recfold.batch.folded.align import common_index, under
from recfold.batch.folded.dispatch import Call, Why, rule
from recfold.batch.folded.folded import Folded
from recfold.batch.folded.lazy_concat import LazyConcat, clusters
from recfold.batch.folded.precision import half_precision
from recfold.batch.sample_linear import quicker, rows_gradient, rows_product

LEAST_COLUMNS_SAVED = 20
"""Columns times the share of rows saved from which a part gets a product of its own: below, adding its result to every
sample moves more memory than the product saves."""


@rule("linear", lazy=True)
def split_linear(call: Call) -> Any:
    """Each part's product on its own rows, added up in float32."""
    own, weight_NK, bias_N = call.arg(0, "input"), call.arg(1, "weight"), call.arg(2, "bias")
    if not isinstance(own, LazyConcat) or not isinstance(weight_NK, Tensor):
        return Why("its weights are folded")
    if own.axis != own.ndim - 1:
        return linear_of_rows(call, own)
    if weight_NK.shape[1] != own.shape[-1] or (own.order is not None and len(own.order) != sum(own.widths)):
        return Why("its columns do not fit")
    low = half_precision(own)
    split, together = _sides(own)
    return _added(split, together, weight_NK, bias_N, low)


def linear_of_rows(call: Call, own: LazyConcat) -> Any:
    """Parts are rows of their own: each goes through by itself."""
    if own.batch_axis == own.ndim - 1:
        return Why("it sums over the batch axis")
    return own.with_parts([linear(part, *call.args[1:], **call.kwargs) for part in own.fresh_parts()])


Piece = tuple[Any, Tensor]
"""A part and the columns of the weight that it meets."""


def _sides(own: LazyConcat) -> tuple[list[Piece], list[Piece]]:
    """Parts that get a product on their own rows, joined by index; and parts that go together on samples."""
    width = own.shape[own.axis]
    columns = torch.arange(width, device=own.device) if own.order is None else own.order.argsort()
    pieces: list[Piece] = list(zip(own.fresh_parts(), columns.split(own.widths), strict=True))
    folded = [piece for piece in pieces if isinstance(piece[0], Folded)]
    together = [piece for piece in pieces if isinstance(piece[0], Tensor)]
    split: list[Piece] = []
    for members in clusters([part.index for part, _ in folded]):
        joined = _joined([piece for piece in folded if piece[0].index in members])
        rows = joined[0]
        saved = rows.shape[-1] * (1 - rows.num_distinct / max(1, rows.num_samples))
        (split if not together or saved > LEAST_COLUMNS_SAVED else together).append(joined)
    return split, together


def _joined(pieces: list[Piece]) -> Piece:
    index = common_index([part.index for part, _ in pieces])
    assert not isinstance(index, Why)
    values = torch.cat([under(part, index) for part, _ in pieces], -1)
    return Folded(values, index, pieces[0][0].batch_axis), torch.cat([columns for _, columns in pieces])


def _added(
    split: list[Piece], together: list[Piece], weight_NK: Tensor, bias_N: Tensor | None, low: torch.dtype | None
) -> Any:
    if together:
        plain = [part.unfold() if isinstance(part, Folded) else part for part, _ in together]
        split = [(_side_by_side(plain), torch.cat([columns for _, columns in together])), *map(_aligned, split)]
    pieces = [(rows, _weight(weight_NK, columns, rows.shape[-1])) for rows, columns in split]
    with torch.autocast(weight_NK.device.type, enabled=False) if low is not None else nullcontext():
        if low is not None:
            pieces = [(rows.to(low).float(), own_NK.to(low).float()) for rows, own_NK in pieces]
            bias_N = None if bias_N is None else bias_N.to(low).float()
        if together and len(pieces) > 1 and pieces[0][0].ndim == 2:
            indexes = [rows.index for rows, _ in pieces[1:]]
            result: Any = _SplitLinear.apply(
                indexes, bias_N, *(part for rows, own in pieces for part in (_held(rows), own))
            )
        else:
            result = linear(pieces[0][0], pieces[0][1], bias_N)
            for rows, own_NK in pieces[1:]:
                result = result + linear(rows, own_NK)
        return result if low is None else result.to(low)


ALIGNED_COLUMNS = 16
"""Products with a gradient of a number of columns that is no multiple of this take up to 1.6 times as long (MKL)."""


def _side_by_side(parts: list[Tensor]) -> Tensor:
    """Parts along the last axis, wide ones with zero columns after them up to an aligned width."""
    width = sum(part.shape[-1] for part in parts)
    missing = -width % ALIGNED_COLUMNS if width > 4 * ALIGNED_COLUMNS else 0
    if missing:
        parts = [*parts, parts[0].new_zeros(*parts[0].shape[:-1], missing)]
    return torch.cat(parts, -1) if len(parts) > 1 else parts[0]


def _aligned(piece: Piece) -> Piece:
    rows, columns = piece
    return Folded(_side_by_side([rows.values]), rows.index, rows.batch_axis), columns


def _weight(weight_NK: Tensor, columns: Tensor, width: int) -> Tensor:
    own_NK = weight_NK.index_select(1, columns)
    return own_NK if own_NK.shape[1] == width else torch.nn.functional.pad(own_NK, (0, width - own_NK.shape[1]))


def _held(rows: Any) -> Tensor:
    return rows.values if isinstance(rows, Folded) else rows


class _SplitLinear(torch.autograd.Function):
    """The sum of products as one operation: no result of a part is ever written out for all samples by itself.

    Args (after the indexes of the folded parts): bias, then rows and weight of the part per sample and of each folded
    part.
    """

    @staticmethod
    def forward(ctx: Any, indexes: list[FoldIndex], bias_N: Tensor | None, *pieces: Tensor) -> Tensor:
        ctx.indexes = indexes
        ctx.save_for_backward(*pieces)
        ctx.has_bias = bias_N is not None
        (rows_BK, weight_NK), *folded = _pairs_of(pieces)
        out_BN: Tensor | None = None
        for index, (rows_UK, own_NK) in zip(indexes, folded, strict=True):
            # the bias goes with the first folded part: on the fewest rows
            product = linear(rows_UK, own_NK, bias_N if out_BN is None else None)
            assert index.inverse is not None  # parts under the identity are per sample
            copied = product.index_select(0, index.inverse)
            out_BN = copied if out_BN is None else out_BN.add_(copied)
        assert out_BN is not None
        if quicker(rows_BK, weight_NK):
            return rows_product(rows_BK, weight_NK, added_BN=out_BN)
        return out_BN.addmm_(rows_BK, weight_NK.t())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        ((grad_BN,), needs) = (grads, ctx.needs_input_grad)
        (rows_BK, weight_NK), *folded = _pairs_of(ctx.saved_tensors)
        found: list[Tensor | None] = [
            rows_gradient(grad_BN, weight_NK) if needs[2] else None,
            grad_BN.t() @ rows_BK if needs[3] else None,
        ]
        grad_bias = None
        for number, (index, (rows_UK, own_NK)) in enumerate(zip(ctx.indexes, folded, strict=True)):
            grad_UN = index.fold_sum(grad_BN)
            if number == 0 and ctx.has_bias:
                grad_bias = grad_UN.sum(0)
            found.append(grad_UN @ own_NK if needs[4 + 2 * number] else None)
            found.append(grad_UN.t() @ rows_UK if needs[5 + 2 * number] else None)
        return None, grad_bias, *found


def _pairs_of(pieces: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(pieces[::2], pieces[1::2], strict=True))
