"""The dot interaction of a lazy stack: pairs of folded vectors on distinct rows, others on samples."""

import functools
import weakref
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recfold.batch.fold_index import FoldIndex
from recfold.batch.folded.align import common_index, under
from recfold.batch.folded.dispatch import Call, Why, axis_of, entries_of, rule, sequence_of
from recfold.batch.folded.folded import Folded
from recfold.batch.folded.lazy_concat import LazyConcat, Part, clusters
from recfold.batch.folded.loans import Loans
from recfold.batch.folded.pair_products import FoldedProducts, Products
from recfold.batch.folded.precision import half_precision
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

    def _key(self) -> Hashable:
        return self.flat, tuple(map(weakref.ref, self.stack.held))

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
        whole = (axis_of(call.arg(1, "start_dim", 0), 3), axis_of(call.arg(2, "end_dim", -1), 3)) == (1, 2)
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
        items: Sequence[Any] = (slice(None), call.arg(2, "index")) if axis_of(call.arg(1, "dim"), own.ndim) == 1 else ()
    else:
        items = call.args[1] if isinstance(call.args[1], tuple) else ()
    if len(items) != (2 if own.flat else 3) or not (isinstance(items[0], slice) and items[0] == slice(None)):
        return Why("it chooses more than pairs")
    numbers = [torch.as_tensor(item, device=own.device) for item in items[1:] if isinstance(item, (Tensor, list))]
    if len(numbers) != len(items) - 1 or any(n.dtype != torch.int64 or n.dim() != 1 for n in numbers):
        return Why("it chooses more than pairs")
    if not all(map(len, numbers)) or len(set(map(len, numbers))) > 1:
        return Why("it chooses more than pairs")
    vectors, size = own.stack.shape[1], own.shape[1]
    numbers = [entries_of(n, size, 0 if call.name == "index_select" else -size) for n in numbers]
    if own.flat:
        numbers = [numbers[0] // vectors, numbers[0] % vectors]
    return own.pairs(numbers[0], numbers[1])


def _pairs(stack: LazyConcat, rows: list[int], columns: list[int]) -> Any:
    """Pairs inside a set of folded vectors on its distinct rows, the others on samples."""
    low = half_precision(stack)
    with torch.autocast(stack.device.type, enabled=False):
        return _in_tiers(
            stack if low is None else stack.with_parts([p.to(low) for p in stack.fresh_parts()]), rows, columns
        )


def _in_tiers(stack: LazyConcat, rows: list[int], columns: list[int]) -> Any:
    tiers = _tiers(stack)
    plan = _plan(tuple(tuple(own) for _, own in tiers), tuple(rows), tuple(columns), stack.device)
    parts: list[Part] = []
    later: list[Part] = []
    for number in range(len(tiers) - 1, -1, -1):
        vectors = tiers[number][0]
        if number in plan.inside:
            products = Products.apply(_held(vectors), None, plan.inside[number])
            parts.append(Folded(products, vectors.index) if isinstance(vectors, Folded) else products)
        if number in plan.across:
            meeting = [part.unfold() if isinstance(part, Folded) else part for part in later]
            others = torch.cat(meeting, 1) if len(meeting) > 1 else meeting[0]
            if isinstance(vectors, Folded) and vectors.device.type == "cpu":
                parts.append(FoldedProducts.apply(vectors.values, others, vectors.index, plan.across[number]))
            else:
                on_samples = vectors.unfold() if isinstance(vectors, Folded) else vectors
                parts.append(Products.apply(others, on_samples, plan.across[number]))
        later.append(vectors)
    if len(parts) > 1 or isinstance(parts[0], Folded):
        return LazyConcat(parts, 1, 0, plan.order)
    return parts[0].index_select(1, plan.order)


@dataclass(frozen=True)
class _Plan:
    """Which entries of which product are wanted.

    Args:
        inside: tier -> entries of its product with itself, as one row; None for all of them.
        across: tier -> entries of the product of all later tiers, side by side, the last one first, with it.
        order: which of the entries, product by product from the last tier on, each pair is.
    """

    inside: dict[int, Tensor | None]
    across: dict[int, Tensor | None]
    order: Tensor


@functools.lru_cache(maxsize=64)
def _plan(
    tiers: tuple[tuple[int, ...], ...], rows: tuple[int, ...], columns: tuple[int, ...], device: torch.device
) -> _Plan:
    tier_of = {vector: (number, place) for number, own in enumerate(tiers) for place, vector in enumerate(own)}
    firsts = [sum(len(own) for own in tiers[number + 1 :]) for number in range(len(tiers))]
    found: list[dict[int, list[tuple[int, int]]]] = [{}, {}]
    for pair, (row, column) in enumerate(zip(rows, columns, strict=True)):
        (first, a), (second, b) = sorted((tier_of[row], tier_of[column]))
        width = len(tiers[first])
        at = a * width + b if first == second else (firsts[second] + b) * width + a
        found[first != second].setdefault(first, []).append((pair, at))
    blocks: list[dict[int, list[int] | None]] = [{}, {}]
    places: list[int] = []
    for number in range(len(tiers) - 1, -1, -1):
        for which in (0, 1):
            entries = found[which].get(number)
            if entries is not None:
                size = len(tiers[number]) * (firsts[number] if which else len(tiers[number]))
                entries = sorted(entries, key=lambda entry: entry[1])
                wanted = [at for _, at in entries]
                blocks[which][number] = None if wanted == list(range(size)) else wanted
                places += [pair for pair, _ in entries]
    with torch.inference_mode(False):  # kept for steps that train
        inside, across = (
            {number: None if own is None else torch.tensor(own, device=device) for number, own in block.items()}
            for block in blocks
        )
        return _Plan(inside, across, torch.tensor(places, device=device).argsort())


def _held(vectors: Part) -> Tensor:
    return vectors.values if isinstance(vectors, Folded) else vectors


def _tiers(stack: LazyConcat) -> list[tuple[Part, list[int]]]:
    """Vectors per sample as one part, and each set of folded ones that is worth refining: with their numbers.

    The one with the most vectors comes first: across tiers, one product a tier meets all later ones.
    """
    parts = stack.fresh_parts()
    numbers: list[list[int]] = []
    start = 0
    for width in stack.widths:
        numbers.append(list(range(start, start + width)))
        start += width
    tiers: list[tuple[Part, list[int]]] = []  # and each one's vectors
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
    return sorted(tiers, key=lambda tier: -len(tier[1]))
