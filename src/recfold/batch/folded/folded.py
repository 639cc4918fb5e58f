"""Folded: a dense tensor held once per distinct row."""

import importlib
import sys
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recfold.batch.fold_index import FoldIndex
from recfold.batch.folded import loans
from recfold.batch.folded.tensor_like import TensorLike
from recfold.spec import InputError

_COMPILED = "recfold.batch.folded.compiled"


@dataclass(frozen=True, eq=False, repr=False)
class Folded(TensorLike):
    """Stands for a tensor whose batch axis repeats rows: `values` indexed by `inverse` along `batch_axis`.

    It takes a tensor's place in ordinary modules: what works row by row runs on the U distinct rows and gives a Folded
    again; what does not is unfolded first, so that every result is that of the ordinary tensor. docs/folding.md tells
    what does which.

    Args:
        values: [..., U, ...].
        index: of U distinct rows.
        batch_axis: which axis of `values` holds the distinct rows.
    Raises:
        InputError: the index is over another number of rows.

    Example:
        >>> import torch
        >>> folded = Folded(torch.tensor([[1.0], [2.0]]), FoldIndex(torch.tensor([1, 1, 0]), 2))
        >>> folded.shape, torch.relu(folded - 1.0).values.flatten().tolist()
        (torch.Size([3, 1]), [0.0, 1.0])
        >>> (folded + torch.tensor([[10.0], [20.0], [30.0]])).flatten().tolist()
        [12.0, 22.0, 31.0]
    """

    values: Tensor
    index: FoldIndex
    batch_axis: int = 0

    def __post_init__(self) -> None:
        ndim = self.values.dim()
        if not -ndim <= self.batch_axis < ndim or self.values.shape[self.batch_axis] != self.index.num_distinct:
            raise InputError(
                "values of a Folded do not fit its index",
                got=f"shape {list(self.values.shape)}",
                expected=f"{self.index.num_distinct} rows" + (f" on axis {self.batch_axis}" if self.batch_axis else ""),
            )
        if self.batch_axis < 0:
            object.__setattr__(self, "batch_axis", self.batch_axis + ndim)
        if "torch._dynamo" in sys.modules and _COMPILED not in sys.modules:
            importlib.import_module(_COMPILED)  # while nothing is compiled: it cannot be loaded in the midst of that

    @property
    def num_samples(self) -> int:
        return self.index.num_samples

    @property
    def num_distinct(self) -> int:
        return self.index.num_distinct

    @property
    def shape(self) -> torch.Size:
        shape = list(self.values.shape)
        shape[self.batch_axis] = self.index.num_samples
        return torch.Size(shape)

    @property
    def held(self) -> tuple[Tensor, ...]:
        return (self.values,)

    @property
    def indexes(self) -> tuple[FoldIndex, ...]:
        return (self.index,)

    def check_unchanged(self) -> None:
        loans.check_reading(self.values)

    def lend(self, copy: Tensor, whole: Tensor | None = None) -> None:
        if not loans.share_memory(self.values, copy):  # a true view sees everything
            loans.loans_of(self.values).lend(copy, whole, self._key())

    def on_loan(self) -> Tensor | None:
        known = loans.known_loans(self.values)
        return None if known is None else known.find(self._key())

    def _key(self) -> Hashable:
        """The very tensor: another view of its memory may have other gradients."""
        return weakref.ref(self.values), self.batch_axis, self.index.serial

    def written_out(self) -> Tensor:
        """The tensor it stands for; differentiable, see `FoldIndex.unfold`."""
        self.check_unchanged()
        return unfolded(self.values, self.index, self.batch_axis)

    def __repr__(self) -> str:
        rows = f"{self.num_distinct} rows for {self.num_samples} samples"
        return f"Folded({self.values!r}, {rows}, batch_axis={self.batch_axis})"


def unfolded(values: Tensor, index: FoldIndex, batch_axis: int) -> Tensor:
    """Copy distinct rows on any axis out to samples; axes lie in memory as those of the values do."""
    if index.inverse is None:
        return values
    if batch_axis == 0 and values.is_contiguous():
        return index.unfold(values)
    return rows_along(values, batch_axis, index.inverse, index.unfold, index.fold_sum)


def rows_along(
    values: Tensor,
    axis: int,
    source: Tensor,
    copy: Callable[[Tensor], Tensor],
    add_back: Callable[[Tensor], Tensor],
) -> Tensor:
    """Choose rows on any axis; axes lie in memory in the order that they have in the values.

    That order decides what can be viewed as what, so that it must be the ordinary tensor's.

    Args:
        source: which rows.
        copy, add_back: the same along axis 0, and its transpose.
    """
    order = sorted(range(values.dim()), key=values.stride, reverse=True)
    place = order.index(axis)
    lying = values.permute(order)
    rows = copy(lying) if place == 0 else _RowsAlong.apply(lying, place, source, add_back)
    return rows.permute([order.index(own) for own in range(values.dim())])


class _RowsAlong(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, axis: int, source: Tensor, add_back: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.axis, ctx.add_back = axis, add_back
        return values.index_select(axis, source)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.add_back(grads[0].movedim(ctx.axis, 0)).movedim(0, ctx.axis), None, None, None


def as_folded(values: Tensor, index: FoldIndex) -> "Tensor | Folded":
    """A Folded where that saves something, else the ordinary tensor: nothing is paid for rows that do not repeat.

    Args:
        values: [U, ...].
    Returns:
        Folded, or [B, ...] where U is not well below B (`WORTH`).
    """
    if index.is_identity:
        return values
    if index.num_distinct > WORTH * index.num_samples:
        return index.unfold(values)
    return Folded(values, index)


WORTH = 0.9
"""Most distinct rows a sample for which values are kept folded: above it, bookkeeping outweighs the repeats."""
