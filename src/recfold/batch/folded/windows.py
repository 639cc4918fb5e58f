"""Windows: padded sequences whose positions repeat, so that what works position by position runs once for each.

Legend: V merged positions, U distinct sequences, L the padded length, D width, H heads.

    rows      r0 r1 r2 r3 0       V = 4, and one row for what lies after the end of a sequence
    source    0 1 2 | 1 2 3 | 3 4 4       U = 3 windows of L = 3
"""

import weakref
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention

from recfold.batch.fold_index import FoldIndex
from recfold.batch.folded.dispatch import Call, Why, axis_of, rule
from recfold.batch.folded.folded import Folded
from recfold.batch.folded.loans import Loans
from recfold.batch.folded.names import POINTWISE
from recfold.batch.folded.random import draws_masks
from recfold.batch.folded.tensor_like import Lazy
from recfold.batch.segmented_sum import SegmentedSum


@dataclass(init=False, eq=False, repr=False)  # DistributedDataParallel looks for an output's tensors in its fields
class Windows(Lazy):
    """Stands for [B, L, ...] (or [L, B, ...]): position l of sequence u is row `source[u * L + l]`.

    Args:
        rows: [V + 1, ...]; the last one is what padding holds.
        source: copies rows to U * L positions.
        index: of the U distinct sequences.
        length: L.
        batch_axis: 0 or 1; the other one of the two is that of positions.
        loans: of what it is a view of.
    """

    __slots__ = ("batch_axis", "index", "length", "loans", "rows", "source")

    rows: Tensor

    def __init__(
        self,
        rows: Tensor,
        source: SegmentedSum,
        index: FoldIndex,
        length: int,
        batch_axis: int = 0,
        loans: Loans | None = None,
    ) -> None:
        self.rows = rows
        self.source = source
        self.index = index
        self.length = length
        self.batch_axis = batch_axis
        self.loans = Loans() if loans is None else loans

    def __reduce__(self) -> tuple[Any, ...]:
        return Windows, (self.rows, self.source, self.index, self.length, self.batch_axis)

    @property
    def num_samples(self) -> int:
        return self.index.num_samples

    @property
    def indexes(self) -> tuple[FoldIndex, ...]:
        return (self.index,)

    def _key(self) -> Hashable:
        return weakref.ref(self.rows), self.batch_axis

    @property
    def shape(self) -> torch.Size:
        leading = (self.index.num_samples, self.length)
        return torch.Size((*(leading if self.batch_axis == 0 else leading[::-1]), *self.rows.shape[1:]))

    @property
    def held(self) -> tuple[Tensor, ...]:
        return (self.rows,)

    def settled(self) -> Folded:
        """The distinct sequences written out."""
        values = self.written(self.rows)
        return Folded(values if self.batch_axis == 0 else values.transpose(0, 1), self.index, self.batch_axis)

    def written(self, rows: Tensor) -> Tensor:
        """Rows of these positions, [U, L, ...]."""
        return self.source(rows).view(self.index.num_distinct, self.length, *rows.shape[1:])

    def with_rows(self, rows: Tensor) -> "Windows":
        return Windows(rows, self.source, self.index, self.length, self.batch_axis)

    def __repr__(self) -> str:
        return f"Windows(shape={list(self.shape)}, rows={len(self.rows)})"


NOT_BY_POSITION = Why("it looks at several positions of a sequence")


@rule(*POINTWISE, "to", "cpu", "cuda", lazy=True)
def pointwise(call: Call) -> Any:
    """On rows, where the other operands are the same at all positions of all samples."""
    own = [operand for operand in call.operands() if isinstance(operand, Windows)]
    if not own or call.kwargs.get("inplace"):
        return NOT_BY_POSITION
    first = own[0]
    for other in call.operands():
        if isinstance(other, Windows):
            if other.source is not first.source or other.batch_axis != first.batch_axis or other.ndim != first.ndim:
                return NOT_BY_POSITION
        elif not isinstance(other, Tensor) or any(size != 1 for size in other.shape[: -(first.ndim - 2) or None]):
            return Why("an operand differs from position to position")
        elif other.dim() > first.ndim:
            return NOT_BY_POSITION

    def rows_of(given: Any) -> Any:
        if isinstance(given, Windows):
            return given.rows
        return given.reshape(given.shape[-(first.ndim - 2) :]) if given.dim() > first.ndim - 2 else given

    return first.with_rows(call.mapped(rows_of).run()) if first.ndim > 2 else NOT_BY_POSITION


@rule("dropout", lazy=True)
def in_evaluation(call: Call) -> Any:
    own = call.arg(0, "input")
    if not isinstance(own, Windows) or (call.arg(2, "training", True) and call.arg(1, "p", 0.5) > 0):
        return Why("it draws random numbers for every sample")
    return own


@rule("linear", "layer_norm", "rms_norm", lazy=True)
def by_position(call: Call) -> Any:
    own = call.arg(0, "input")
    others = call.operands()[1:]
    if not isinstance(own, Windows) or own.ndim < 3 or not all(isinstance(other, Tensor) for other in others):
        return NOT_BY_POSITION
    if call.name != "linear" and len(call.arg(1, "normalized_shape")) > own.ndim - 2:
        return NOT_BY_POSITION
    return own.with_rows(call.mapped(lambda given: given.rows if given is own else given).run())


@rule("transpose", "swapaxes", "swapdims", lazy=True)
def transpose(call: Call) -> Any:
    own = call.arg(0, "input")
    if not isinstance(own, Windows):
        return NOT_BY_POSITION
    if {axis_of(call.arg(1, "dim0"), own.ndim), axis_of(call.arg(2, "dim1"), own.ndim)} != {0, 1}:
        return NOT_BY_POSITION
    return Windows(own.rows, own.source, own.index, own.length, 1 - own.batch_axis, own.loans)


@rule("multi_head_attention_forward", lazy=True)
def self_attention(call: Call) -> Any:
    """Self-attention over windows: queries, keys and values once per merged position, attention once per sequence.

    Where a product is wider than what it is made of, as all three together are, writing its rows out to the sequences
    costs more than writing out the inputs; it pays where enough positions repeat (`pays`).
    """
    own, key, value = (call.arg(i, name) for i, name in enumerate(("query", "key", "value")))
    width, heads = call.arg(3, "embed_dim_to_check"), call.arg(4, "num_heads")
    weight, bias, dropout = call.arg(5, "in_proj_weight"), call.arg(6, "in_proj_bias"), call.arg(10, "dropout_p")
    training, masked = call.arg(13, "training", True), call.arg(14, "key_padding_mask")
    if not isinstance(own, Windows) or own is not key or own is not value or own.batch_axis != 1 or own.ndim != 3:
        return NOT_BY_POSITION
    plain = call.arg(7, "bias_k") is None and call.arg(8, "bias_v") is None and not call.arg(9, "add_zero_attn")
    if not plain or call.arg(15, "need_weights", True) or call.kwargs.get("use_separate_proj_weight"):
        return NOT_BY_POSITION
    if own.shape[2] != width or any(call.kwargs.get(name) is not None for name in ("static_k", "static_v")):
        return NOT_BY_POSITION
    if masked is not None and not (isinstance(masked, Folded) and masked.index is own.index and masked.ndim == 2):
        return Why("the padding mask is per sample")
    if (training and dropout > 0 and draws_masks()) or not pays(own, width, 3 * width):
        return NOT_BY_POSITION
    mask = _mask(call.arg(16, "attn_mask"), masked, own.rows.dtype)
    if isinstance(mask, Why):
        return mask
    projected = own.written(linear(own.rows, weight, bias)).view(-1, own.length, 3, heads, width // heads)
    query_UHLD, key_UHLD, value_UHLD = projected.permute(2, 0, 3, 1, 4)
    attended = scaled_dot_product_attention(
        query_UHLD,
        key_UHLD,
        value_UHLD,
        mask,
        dropout if training else 0.0,
        bool(call.kwargs.get("is_causal")) and mask is None,
    )
    found = attended.permute(2, 0, 1, 3).reshape(own.length, -1, width)
    out = linear(found, call.arg(11, "out_proj_weight"), call.arg(12, "out_proj_bias"))
    return Folded(out, own.index, 1), None


def pays(own: Windows, width: int, out_width: int) -> bool:
    """Whether a product on merged positions saves more than writing out its wider rows costs (as in `split_linear`)."""
    positions = own.index.num_distinct * own.length
    saved_flops = 6 * (positions - len(own.rows)) * width * out_width
    moved_bytes = 3 * 4 * positions * max(0, out_width - width)
    return saved_flops > FLOPS_PER_BYTE * moved_bytes


FLOPS_PER_BYTE = 10
"""Floating-point operations that take as long as moving one byte, roughly, on the CPUs this was measured on."""


def _mask(attention: Any, masked: Folded | None, dtype: torch.dtype) -> Any:
    """What is added to the attention's logits, [U or 1, 1, L or 1, L], or None."""
    if isinstance(attention, Tensor) and attention.dim() == 2:
        mask = _added(attention, dtype)[None, None]
    elif attention is None:
        mask = None
    else:
        return Why("the attention mask is per sample")
    if masked is None:
        return mask
    padding = _added(masked.values, dtype)[:, None, None, :]
    return padding if mask is None else mask + padding


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf")) if mask.dtype == torch.bool else mask
