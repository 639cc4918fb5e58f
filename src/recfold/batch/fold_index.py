"""Which distinct row each sample uses, and the two maps that follow from it: copy out and sum back."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recfold.batch.checks import check_inverse, check_range
from recfold.batch.segmented_sum import SegmentedSum
from recfold.spec import InputError

if TYPE_CHECKING:
    from recfold.batch.refinement import Refinement

_SERIAL = itertools.count()


class FoldIndex:
    """The index of a group: sample b uses distinct row `inverse[b]`. A value: do not change its tensor.

    Args:
        inverse: int64 [B], entries in [0, num_distinct); None for the identity (every sample its own row, U = B).
        num_distinct: U.
        validate: check the above (reads the tensor; leave out only for what is right by construction).
        batch: whatever stands for its batch: indexes of two batches are not combined; None for an unknown one.
    Attributes:
        serial: a number of its own.
        refinements: by the serial of the other index (see `refined`).
        coarser: indexes that this one refines, and the row of theirs that each row of this one belongs to.
    Raises:
        InputError: `inverse` has a wrong dtype, shape or entry.

    Example:
        >>> index = FoldIndex(torch.tensor([0, 0, 1]), 2)
        >>> index.unfold(torch.tensor([[5.0], [7.0]])).flatten().tolist()
        [5.0, 5.0, 7.0]
        >>> index.fold_sum(torch.ones(3, 1)).flatten().tolist()
        [2.0, 1.0]
    """

    __slots__ = (
        "_copy",
        "_never_falls",
        "batch",
        "coarser",
        "inverse",
        "num_distinct",
        "num_samples",
        "refinements",
        "serial",
    )

    def __init__(
        self, inverse: Tensor | None, num_distinct: int, *, validate: bool = True, batch: object = None
    ) -> None:
        if validate:
            if num_distinct < 0:
                raise InputError("a fold index has a negative number of distinct rows", got=num_distinct)
            if inverse is not None:
                check_inverse("a fold index", inverse, num_distinct)
        self.inverse = inverse
        self.num_distinct = num_distinct
        self.num_samples = num_distinct if inverse is None else len(inverse)
        self.batch = batch
        self.serial = next(_SERIAL)
        self.refinements: dict[int, Refinement] = {}
        self.coarser: dict[FoldIndex, SegmentedSum] = {}
        self._copy: SegmentedSum | None = None
        self._never_falls: bool | None = None

    @classmethod
    def identity(cls, num_samples: int) -> "FoldIndex":
        """Every sample its own row: unfolding is then no work at all."""
        return cls(None, num_samples)

    @property
    def is_identity(self) -> bool:
        return self.inverse is None

    @property
    def never_falls(self) -> bool:
        """Whether rows follow each other as their samples do (looked at once)."""
        if self._never_falls is None:
            self._never_falls = self.inverse is None or bool((self.inverse[1:] >= self.inverse[:-1]).all())
        return self._never_falls

    def refines(self, coarse: "FoldIndex", rows: SegmentedSum) -> None:
        """Say that every row of this index belongs to one row of a coarser one."""
        self.coarser[coarse] = rows

    def rows_of(self, coarse: "FoldIndex") -> SegmentedSum:
        """Rows of an index that this one refines -> rows of this one.

        Raises:
            KeyError: this index does not refine it.
        """
        return self.coarser[coarse]

    @property
    def dedup_factor(self) -> float:
        """Samples per distinct row, B / U (1.0 where there are neither)."""
        return self.num_samples / self.num_distinct if self.num_distinct else 1.0

    def unfold(self, values: Tensor) -> Tensor:
        """Copy distinct rows out to samples.

        Its backward sums gradients back row by row in the order of the samples: the same bits for any number of
        threads. The identity returns `values` itself.

        Args:
            values: [U, ...], any dtype; differentiable.
        Returns:
            [B, ...].
        """
        if self.inverse is None:
            self._check_rows(values, self.num_distinct)
            return values
        return self._copy_out()(values)

    def fold_sum(self, values: Tensor) -> Tensor:
        """Sum the samples of each distinct row, in the order of the samples: the transpose of `unfold`.

        Args:
            values: [B, ...]; differentiable.
        Returns:
            [U, ...]; zeros for a row that no sample uses.
        """
        if self.inverse is None:
            self._check_rows(values, self.num_samples)
            return values
        return self._copy_out().transposed()(values)

    def counts(self, device: torch.device | str | None = None) -> Tensor:
        """Number of samples of each distinct row, int64 [U].

        Args:
            device: where to put the ones of an identity index; any other index has its own place.
        """
        if self.inverse is None:
            return torch.ones(self.num_distinct, dtype=torch.int64, device=device)
        return torch.bincount(self.inverse, minlength=self.num_distinct)

    def samples_by_row(self) -> tuple[Tensor | None, Tensor]:
        """Samples sorted by their row, in order inside each; of another index than the identity made once.

        Returns:
            int64 [B], None for as they lie; and int64 [U + 1], where those of each row begin.
        """
        if self.inverse is None:
            return None, torch.arange(self.num_distinct + 1)
        by_row = self._copy_out().transposed()
        assert by_row.offsets is not None
        return None if self.never_falls else by_row.source_P, by_row.offsets

    def expanded(self, per_distinct: Tensor) -> Tensor:
        """Like `unfold`, for bookkeeping tensors such as starts and lengths: never differentiated."""
        return per_distinct if self.inverse is None else per_distinct[self.inverse]

    def select(self, start: int, stop: int) -> tuple["FoldIndex", Tensor]:
        """The index of samples [start, stop) alone.

        Returns:
            The index, renumbered to the distinct rows that these samples use, and the numbers of those rows, rising.
        Raises:
            InputError: the range is not inside the batch.
        """
        check_range("the batch", start, stop, self.num_samples)
        if self.inverse is None:
            return FoldIndex.identity(stop - start), torch.arange(start, stop)
        part = self.inverse[start:stop]
        used_U = torch.zeros(self.num_distinct, dtype=torch.bool, device=part.device)
        used_U[part] = True
        kept = used_U.nonzero().flatten()
        number_U = used_U.cumsum(0) - 1
        return FoldIndex(number_U[part], len(kept), validate=False), kept

    @staticmethod
    def concat(indexes: Sequence["FoldIndex"]) -> "FoldIndex":
        """One index over the samples of all, one after the other; rows are numbered in the same order."""
        total = sum(index.num_distinct for index in indexes)
        if all(index.is_identity for index in indexes):
            return FoldIndex.identity(total)
        device = next(index.inverse.device for index in indexes if index.inverse is not None)
        parts, first = [], 0
        for index in indexes:
            inverse = index.inverse
            parts.append(
                torch.arange(first, first + index.num_samples, device=device) if inverse is None else inverse + first
            )
            first += index.num_distinct
        return FoldIndex(torch.cat(parts), total, validate=False)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "FoldIndex":
        """The same index on a device (itself, if it is there already)."""
        if self.inverse is None:
            return self
        moved = self.inverse.to(device, non_blocking=non_blocking)
        return self if moved is self.inverse else FoldIndex(moved, self.num_distinct, validate=False)

    def pin_memory(self) -> "FoldIndex":
        """The same index in page-locked memory; itself where there is no CUDA device to copy to."""
        if self.inverse is None or not torch.cuda.is_available():
            return self
        return FoldIndex(self.inverse.pin_memory(), self.num_distinct, validate=False)

    def _copy_out(self) -> SegmentedSum:
        if self._copy is None:
            assert self.inverse is not None
            self._copy = SegmentedSum(self.inverse, self.num_distinct)
        return self._copy

    def _check_rows(self, values: Tensor, rows: int) -> None:
        if values.dim() == 0 or len(values) != rows:
            raise ValueError(f"expected {rows} rows, got a tensor of shape {tuple(values.shape)}")

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (self.inverse, self.num_distinct)

    def __repr__(self) -> str:
        kind = "identity" if self.is_identity else "inverse"
        return f"FoldIndex({kind}, num_samples={self.num_samples}, num_distinct={self.num_distinct})"


def unfold_reference(index: FoldIndex, values: Tensor) -> Tensor:
    """The slow twin of `FoldIndex.unfold`: one sample at a time."""
    inverse = range(index.num_samples) if index.inverse is None else index.inverse.tolist()
    rows = [values[u] for u in inverse]
    return torch.stack(rows) if rows else values.new_zeros((0, *values.shape[1:]))


def fold_sum_reference(index: FoldIndex, values: Tensor) -> Tensor:
    """The slow twin of `FoldIndex.fold_sum`: one sample at a time, half precisions in float32."""
    wide = torch.float32 if values.dtype in (torch.float16, torch.bfloat16) else values.dtype
    out = torch.zeros((index.num_distinct, *values.shape[1:]), dtype=wide)
    inverse = range(index.num_samples) if index.inverse is None else index.inverse.tolist()
    for b, u in enumerate(inverse):
        out[u] += values[b].to(wide)
    return out.to(values.dtype)


def _restore(inverse: Tensor | None, num_distinct: int) -> FoldIndex:
    return FoldIndex(inverse, num_distinct, validate=False)
