"""The dot interaction of a lazy stack: pairs of folded vectors on distinct rows, others on samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recfold.batch.fold_index import FoldIndex
from recfold.batch.folded.align import common_index, under
from recfold.batch.folded.dispatch import Call, Why, rule, sequence_of
from recfold.batch.folded.folded import Folded
from recfold.batch.folded.lazy_concat import LazyConcat, Part, clusters
from recfold.batch.folded.loans import Loans
from recfold.batch.folded.tensor_like import Lazy


@dataclass(init=False, eq=False, repr=False)  # DistributedDataParallel looks for an output's tensors in its fields
class LazyProducts(Lazy):
    """Stands for `stack @ stack.transpose(1, 2)`, [B, F, F], or flat [B, F x F]; computed for the pairs asked for.

    Args:
        stack: [B, F, D], lazy along F.
        flat: whether the last two axes are one.
        loans: of what it is a view of.
    """

    __slots__ = ("flat", "loans", "stack")

    stack: LazyConcat

    def __init__(self, stack: LazyConcat, flat: bool = False, loans: Loans | None = None) -> None:
        self.stack = stack
        self.flat = flat
        self.loans = Loans() if loans is None else loans

    def __reduce__(self) -> tuple[Any, ...]:
        return LazyProducts, (self.stack, self.flat)

    @property
    def shape(self) -> torch.Size:
        num, vectors, _ = self.stack.shape
        return torch.Size((num, vectors * vectors) if self.flat else (num, vectors, vectors))

    @property
    def held(self) -> tuple[Tensor, ...]:
        return self.stack.held

    @property
    def num_samples(self) -> int:
        return self.stack.num_samples

    @property
    def indexes(self) -> tuple[FoldIndex, ...]:
        return self.stack.indexes

    def check_unchanged(self) -> None:
        self.loans.check_reading()

    def lend(self, copy: Tensor, whole: Tensor | None = None) -> None:
        self.loans.lend(copy, whole, self.flat)

    def on_loan(self) -> Tensor | None:
        return self.loans.find(self.flat)

    def settled(self) -> Any:
        """All products."""
        stack = self.stack.settled()
        products = torch.matmul(stack, stack.transpose(1, 2))
        return products.flatten(1) if self.flat else products

    def pairs(self, rows_P: Tensor, columns_P: Tensor) -> Any:
        """Products of chosen pairs of vectors, [B, P]."""
        if self.stack.order is not None:
            rows_P, columns_P = self.stack.order[rows_P], self.stack.order[columns_P]
        return _pairs(self.stack, rows_P.tolist(), columns_P.tolist())


@rule("bmm", "matmul", lazy=True)
def with_transpose(call: Call) -> Any:
    left, right = call.args[0] if call.args else call.kwargs["input"], call.operands()[1]
    if not (isinstance(left, LazyConcat) and isinstance(right, LazyConcat)):
        return Why("one operand only is a concatenation")
    if (left.ndim, left.batch_axis, left.axis) != (3, 0, 1) or (right.batch_axis, right.axis) != (0, 2):
        return Why("it is no product of a stack with its transpose")
    if not _transposed(left, right):
        return Why("the second operand is not the first one transposed")
    return LazyProducts(left)


def _transposed(left: LazyConcat, right: LazyConcat) -> bool:
    if left.widths != right.widths or left.order is not right.order:
        return False
    for own, other in zip(left.held, right.held, strict=True):
        if own.data_ptr() != other.data_ptr() or own.transpose(1, 2).stride() != other.stride() or own.numel() == 0:
            return False
    return all(
        (isinstance(a, Folded) and isinstance(b, Folded) and a.index is b.index)
        or (isinstance(a, Tensor) and isinstance(b, Tensor))
        for a, b in zip(left.fresh_parts(), right.fresh_parts(), strict=True)
    )


@rule("flatten", "view", "reshape", lazy=True)
def reshaped(call: Call) -> Any:
    own = call.args[0] if call.args else call.kwargs.get("input")
    if not isinstance(own, LazyProducts) or own.flat:
        return Why("it is no product of a stack with its transpose")
    if call.name == "flatten":
        whole = (call.arg(1, "start_dim", 0) % 3, call.arg(2, "end_dim", -1) % 3) == (1, 2)
    else:
        shape = list(sequence_of(call.args[1])) if len(call.args) == 2 else list(call.args[1:])
        whole = len(shape) == 2 and shape[0] in (own.shape[0], -1) and shape[1] in (own.shape[1] ** 2, -1)
    return LazyProducts(own.stack, flat=True, loans=own.loans) if whole else Why("the pairs are arranged otherwise")


@rule("getitem", "index_select", lazy=True)
def chosen(call: Call) -> Any:
    own = call.args[0]
    if not isinstance(own, LazyProducts):
        return Why("an ordinary tensor is indexed")
    if call.name == "index_select":
        items: Sequence[Any] = (slice(None), call.arg(2, "index")) if call.arg(1, "dim") % own.ndim == 1 else ()
    else:
        items = call.args[1] if isinstance(call.args[1], tuple) else ()
    if len(items) != (2 if own.flat else 3) or not (isinstance(items[0], slice) and items[0] == slice(None)):
        return Why("it chooses more than pairs")
    numbers = [torch.as_tensor(item, device=own.device) for item in items[1:] if isinstance(item, (Tensor, list))]
    if len(numbers) != len(items) - 1 or any(n.dtype != torch.int64 or n.dim() != 1 for n in numbers):
        return Why("it chooses more than pairs")
    vectors = own.stack.shape[1]
    if own.flat:
        numbers = [numbers[0] // vectors, numbers[0] % vectors]
    if len(numbers[0]) != len(numbers[1]) or not len(numbers[0]):
        return Why("it chooses more than pairs")
    return own.pairs(numbers[0] % vectors, numbers[1] % vectors)


def _pairs(stack: LazyConcat, rows: list[int], columns: list[int]) -> Any:
    """Pairs inside a set of folded vectors on its distinct rows, the others on samples."""
    tiers = _tiers(stack)
    tier_of = {vector: (number, place) for number, (_, own) in enumerate(tiers) for place, vector in enumerate(own)}
    blocks: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for pair, (row, column) in enumerate(zip(rows, columns, strict=True)):
        first, second = sorted((tier_of[row], tier_of[column]))
        blocks.setdefault((first[0], second[0]), []).append((pair, first[1], second[1]))
    on_samples: dict[int, Tensor] = {}
    parts: list[Part] = []
    places: list[int] = []
    for (first_tier, second_tier), pairs in sorted(blocks.items()):
        left, right = tiers[first_tier][0], tiers[second_tier][0]
        places += [pair for pair, _, _ in pairs]
        if first_tier != second_tier:
            left, right = (_samples(tiers, tier, on_samples) for tier in (first_tier, second_tier))
        products = torch.matmul(left, right.transpose(1, 2)).flatten(1)
        width = right.shape[1]
        wanted = torch.tensor([a * width + b for _, a, b in pairs], device=stack.device)
        parts.append(products.index_select(1, wanted))
    order = torch.tensor(places, device=stack.device).argsort()
    return LazyConcat(parts, 1, 0, order) if len(parts) > 1 or isinstance(parts[0], Folded) else parts[0][:, order]


def _samples(tiers: list[tuple[Part, list[int]]], tier: int, kept: dict[int, Tensor]) -> Tensor:
    if tier not in kept:
        vectors = tiers[tier][0]
        kept[tier] = vectors.unfold() if isinstance(vectors, Folded) else vectors
    return kept[tier]


def _tiers(stack: LazyConcat) -> list[tuple[Part, list[int]]]:
    """Vectors per sample as one part, and each set of folded ones that is worth refining: with their numbers."""
    parts = stack.fresh_parts()
    numbers: list[list[int]] = []
    start = 0
    for width in stack.widths:
        numbers.append(list(range(start, start + width)))
        start += width
    tiers: list[tuple[Part, list[int]]] = []
    plain = [(part, own) for part, own in zip(parts, numbers, strict=True) if isinstance(part, Tensor)]
    if plain:
        tiers.append((torch.cat([part for part, _ in plain], 1), [n for _, own in plain for n in own]))
    folded = [(part, own) for part, own in zip(parts, numbers, strict=True) if isinstance(part, Folded)]
    for members in clusters([part.index for part, _ in folded]):
        inside = [(part, own) for part, own in folded if part.index in members]
        index = common_index([part.index for part, _ in inside])
        assert not isinstance(index, Why)
        values = torch.cat([under(part, index) for part, _ in inside], 1)
        tiers.append((Folded(values, index), [n for _, own in inside for n in own]))
    return tiers
