"""LazyConcat: parts under different indexes side by side, nothing copied yet."""

import weakref
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recfold.batch.fold_index import FoldIndex
from recfold.batch.folded.align import common_index, under
from recfold.batch.folded.dispatch import Why
from recfold.batch.folded.folded import Folded
from recfold.batch.folded.loans import Loans
from recfold.batch.folded.tensor_like import Lazy
from recfold.spec import InputError

Part = Any
"""Folded or Tensor: either takes a tensor's place."""


@dataclass(init=False, eq=False, repr=False)  # DistributedDataParallel looks for an output's tensors in its fields
class LazyConcat(Lazy):
    """Stands for the concatenation of parts, Folded or per sample, along an axis that is not the batch's.

    Args:
        parts: of equal shapes but for `axis`, all with the batch on `batch_axis`.
        axis: along which they lie side by side.
        order: int64, which column of the parts (side by side) each column of this tensor is; None for as they lie.

    Example:
        >>> user = Folded(torch.tensor([[1.0], [2.0]]), FoldIndex(torch.tensor([0, 0, 1]), 2))
        >>> item = torch.tensor([[5.0], [6.0], [7.0]])
        >>> LazyConcat([user, item], axis=1, batch_axis=0).unfold().tolist()
        [[1.0, 5.0], [1.0, 6.0], [2.0, 7.0]]
    """

    __slots__ = ("_versions", "axis", "batch_axis", "loans", "order", "parts", "viewed")

    parts: tuple[Part, ...]

    def __init__(self, parts: Sequence[Part], axis: int, batch_axis: int, order: Tensor | None = None) -> None:
        self.parts = tuple(parts)
        self.axis = axis
        self.batch_axis = batch_axis
        self.order = order
        self.viewed = False
        self.loans = Loans()
        self._versions = _versions(self.parts)

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(part.shape[self.axis] for part in self.parts)

    @property
    def num_samples(self) -> int:
        return self.parts[0].shape[self.batch_axis]

    @property
    def shape(self) -> torch.Size:
        shape = list(self.parts[0].shape)
        shape[self.axis] = sum(self.widths) if self.order is None else len(self.order)
        return torch.Size(shape)

    @property
    def held(self) -> tuple[Tensor, ...]:
        return tuple(part.values if isinstance(part, Folded) else part for part in self.parts)

    @property
    def indexes(self) -> tuple[FoldIndex, ...]:
        return tuple(part.index for part in self.parts if isinstance(part, Folded))

    def lend(self, copy: Tensor, whole: Tensor | None = None) -> None:
        self.viewed = True
        super().lend(copy, whole)

    def _key(self) -> Hashable:
        """The very parts: other views of their memory hold other columns, or have other gradients."""
        order = None if self.order is None else tuple(self.order.tolist())
        return self.axis, self.batch_axis, tuple(map(weakref.ref, self.held)), order

    def as_view(self, out: "LazyConcat") -> "LazyConcat":
        """One that torch would give as a view of this: neither may be changed in place any more."""
        self.viewed = out.viewed = True
        out.loans = self.loans
        return out

    def lent(self, out: Part) -> Part:
        """A piece of a part that torch would give as a view of this, as a copy: the part itself must not change."""
        out = out.clone()
        self.lend(out.values if isinstance(out, Folded) else out)
        return out

    def fresh_parts(self) -> tuple[Part, ...]:
        """The parts.

        Raises:
            InputError: one was changed in place since: a concatenation would hold what it was before.
        """
        if _versions(self.parts) != self._versions:
            raise InputError(
                "a tensor was changed in place after it was concatenated with folded ones",
                todo="change it out of place, or call .unfold() on the concatenation before",
            )
        return self.parts

    def with_parts(self, parts: Sequence[Part], axis: int | None = None, batch_axis: int | None = None) -> "LazyConcat":
        """The same arrangement of other parts."""
        return LazyConcat(
            parts,
            self.axis if axis is None else axis,
            self.batch_axis if batch_axis is None else batch_axis,
            self.order,
        )

    def replace_(self, other: "LazyConcat") -> None:
        """Become another one: an operation in place."""
        self.parts, self.axis, self.batch_axis, self.order = other.parts, other.axis, other.batch_axis, other.order
        self._versions = other._versions

    def settled(self) -> Any:
        """A Folded where all parts share one index that is well below the batch, else an ordinary tensor."""
        parts = self.fresh_parts()
        folded = [part for part in parts if isinstance(part, Folded)]
        if len(folded) == len(parts):
            index = common_index([part.index for part in folded])
            if not isinstance(index, Why):
                values = torch.cat([under(part, index) for part in folded], self.axis)
                return Folded(self._ordered(values), index, self.batch_axis)
        return self._ordered(
            torch.cat([part.unfold() if isinstance(part, Folded) else part for part in parts], self.axis)
        )

    def columns(self, chosen: Tensor) -> "LazyConcat":
        """Some columns in some order, repeats allowed.

        Args:
            chosen: int64 [C], rising or not, in [0, width).
        """
        at = chosen if self.order is None else self.order[chosen]
        parts: list[Part] = []
        places: list[Tensor] = []
        start = 0
        for part, width in zip(self.fresh_parts(), self.widths, strict=True):
            inside = ((at >= start) & (at < start + width)).nonzero().flatten()
            if len(inside):
                parts.append(torch.index_select(part, self.axis, at[inside] - start))
                places.append(inside)
            start += width
        order = torch.cat(places).argsort()
        return LazyConcat(parts, self.axis, self.batch_axis, None if _in_order(order) else order)

    def slice(self, start: int, stop: int) -> Any:
        """Columns [start, stop) as views; of one part alone where they lie in one."""
        if self.order is not None:
            return self.as_view(self.columns(torch.arange(start, stop, device=self.order.device)))
        parts: list[Part] = []
        first = 0
        for part, width in zip(self.fresh_parts(), self.widths, strict=True):
            low, high = max(start, first), min(stop, first + width)
            if low < high:
                parts.append(part.narrow(self.axis, low - first, high - low))
            first += width
        if len(parts) == 1:
            return self.lent(parts[0])
        return self.as_view(LazyConcat(parts, self.axis, self.batch_axis))

    def _ordered(self, values: Tensor) -> Tensor:
        return values if self.order is None else values.index_select(self.axis, self.order)

    def __reduce__(self) -> tuple[Any, ...]:
        return LazyConcat, (self.fresh_parts(), self.axis, self.batch_axis, self.order)

    def __repr__(self) -> str:
        return f"LazyConcat(shape={list(self.shape)}, parts={[tuple(part.shape) for part in self.parts]})"


def _in_order(order: Tensor) -> bool:
    return torch.equal(order, torch.arange(len(order), device=order.device))


def _versions(parts: Sequence[Part]) -> tuple[int, ...]:
    held = (part.values if isinstance(part, Folded) else part for part in parts)
    return tuple(0 if tensor.is_inference() else tensor._version for tensor in held)


def clusters(indexes: Sequence[FoldIndex]) -> list[list[FoldIndex]]:
    """Indexes sorted into sets that are worth refining together, smallest first."""
    found: list[list[FoldIndex]] = []
    for index in sorted(dict.fromkeys(indexes), key=lambda own: (own.num_distinct, own.serial)):
        for members in found:
            if not isinstance(common_index([*members, index]), Why):
                members.append(index)
                break
        else:
            found.append([index])
    return found
