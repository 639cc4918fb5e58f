"""Which rows the ids of a step touch, and the bags of each: one sort for all tables."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recfold.optim.sparse_optimizer import LOW_PRECISION

INT32_MAX = torch.iinfo(torch.int32).max


@dataclass(frozen=True, eq=False)
class Joined:
    """All reads of one table as one list of bags whose rows are summed.

    Args:
        values: [V] int64.
        offsets: [N + 1] int64, or None for bags of one id each (N = V).
        weights: [V] what each row is multiplied with, or None for 1.
    """

    values: Tensor
    offsets: Tensor | None
    weights: Tensor | None

    @property
    def num_bags(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1


@dataclass(frozen=True, eq=False)
class Touched:
    """The rows that the ids of one table touch.

    Args:
        rows_T: int64, sorted and distinct.
        starts: [T + 1] row t was read by `bag_V[starts[t]:starts[t + 1]]`.
        bag_V: bag of each id, the ids sorted by row; those of one row stay in order. Of the dtype of `starts`.
        weights_V: of the ids in that order, or None.
    """

    rows_T: Tensor
    starts: Tensor
    bag_V: Tensor
    weights_V: Tensor | None


def find_touched(tables: Sequence[Joined], rows: Sequence[int]) -> list[Touched]:
    """Sort the ids of every table by row, all in one stable sort of (table, row).

    Args:
        tables: at least one, all on one device.
        rows: of each table; no id reaches it.

    Example:
        >>> (found,) = find_touched([Joined(torch.tensor([7, 9, 7]), torch.tensor([0, 2, 3]), None)], [10])
        >>> found.rows_T.tolist(), found.starts.tolist(), found.bag_V.tolist()
        ([7, 9], [0, 2, 3], [0, 1, 0])
    """
    counts = [len(own.values) for own in tables]
    first_rows = list(itertools.accumulate(rows, initial=0))
    first_ids = list(itertools.accumulate(counts, initial=0))
    device, num_ids = tables[0].values.device, first_ids[-1]
    # narrow keys: half the memory to sort, and on a CPU torch has a parallel radix sort of many integers
    keys_V = torch.empty(num_ids, dtype=_narrowest(first_rows[-1]), device=device)
    for key_V, own, first in zip(keys_V.split(counts), tables, first_rows[:-1], strict=True):
        torch.add(own.values, first, out=key_V)
    sorted_V, order_V = torch.sort(keys_V, stable=True)
    is_first_V = torch.ones(num_ids, dtype=torch.bool, device=device)
    torch.ne(sorted_V[1:], sorted_V[:-1], out=is_first_V[1:])
    starts = is_first_V.nonzero().squeeze(1)
    rows_T = sorted_V.index_select(0, starts).long()
    dtype = _narrowest(max(num_ids, *(own.num_bags for own in tables)))
    bag_V = torch.cat([_bags(own, dtype) for own in tables]).index_select(0, order_V)
    bounds = torch.searchsorted(starts, torch.tensor(first_ids, device=device)).tolist()
    starts = torch.cat([starts, starts.new_full((1,), num_ids)])
    found = []
    for table, own in enumerate(tables):
        first, last = first_ids[table], first_ids[table + 1]
        start, stop = bounds[table], bounds[table + 1]
        found.append(
            Touched(
                rows_T[start:stop] - first_rows[table],
                (starts[start : stop + 1] - first).to(dtype),
                bag_V[first:last],
                None if own.weights is None else own.weights.index_select(0, order_V[first:last] - first),
            )
        )
    return found


def sum_touched(grad_ND: Tensor, touched: Touched, start: int, stop: int) -> Tensor:
    """Gradients [stop - start, D] of the touched rows from `start` to `stop`, each the sum over its bags.

    Each row is summed by one thread, in the order of its ids: the bits do not depend on the number of threads.

    Args:
        grad_ND: gradient of each bag's sum, contiguous, float32 or float64.
    """
    starts, bag_V, weights_V = touched.starts, touched.bag_V, touched.weights_V
    if start > 0 or stop < len(touched.rows_T):
        low, high = int(starts[start]), int(starts[stop])
        starts, bag_V = starts[start : stop + 1] - low, bag_V[low:high]
        weights_V = None if weights_V is None else weights_V[low:high]
    # The embedding kernel is the quickest segmented sum that torch has: it fuses the gather with the sum.
    grad_TD, *_ = torch.embedding_bag(grad_ND, bag_V, starts, False, 0, False, weights_V, True)
    return grad_TD


def sum_rows(
    grad_ND: Tensor, values_V: Tensor, offsets: Tensor | None, weights_V: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sum the gradients of repeated rows of one table.

    Args:
        grad_ND: gradient of each bag's sum, [N, D]; half precisions are summed in float32.
        values_V: int64 row of each id, bags one after the other.
        offsets: int64 [N + 1], or None for bags of one id each (N = V).
        weights_V: what each id was multiplied with, of the dtype of the sum; None for 1.
    Returns:
        rows_T, sorted and distinct, and their gradients [T, D], float32 or float64.

    Example:
        >>> rows, grads = sum_rows(torch.tensor([[1.0], [10.0]]), torch.tensor([7, 9, 7]), torch.tensor([0, 2, 3]))
        >>> rows.tolist(), grads.flatten().tolist()
        ([7, 9], [11.0, 1.0])
    """
    if grad_ND.dtype in LOW_PRECISION:
        grad_ND = grad_ND.float()
    if len(values_V) == 0:
        return values_V, grad_ND.new_zeros(0, grad_ND.shape[1])
    (touched,) = find_touched([Joined(values_V, offsets, weights_V)], [torch.iinfo(torch.int64).max])
    return touched.rows_T, sum_touched(grad_ND.contiguous(), touched, 0, len(touched.rows_T))


def sum_rows_reference(
    grad_ND: Tensor, values_V: Tensor, offsets: Tensor | None, weights_V: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The slow twin of `sum_rows`: one id at a time."""
    bounds = list(range(len(values_V) + 1)) if offsets is None else offsets.tolist()
    wide = torch.float32 if grad_ND.dtype in LOW_PRECISION else grad_ND.dtype
    sums: dict[int, Tensor] = {}
    for bag, grad_D in enumerate(grad_ND.to(wide)):
        for position in range(bounds[bag], bounds[bag + 1]):
            row = int(values_V[position])
            part = grad_D if weights_V is None else grad_D * weights_V[position]
            sums[row] = sums[row] + part if row in sums else part
    rows = sorted(sums)
    empty = torch.zeros(0, grad_ND.shape[1], dtype=wide)
    return torch.tensor(rows, dtype=torch.int64), torch.stack([sums[row] for row in rows]) if rows else empty


def _bags(own: Joined, dtype: torch.dtype) -> Tensor:
    """Bag [V] of each id of a table."""
    bags_N = torch.arange(own.num_bags, dtype=dtype, device=own.values.device)
    if own.offsets is None:
        return bags_N
    return torch.repeat_interleave(bags_N, own.offsets.diff(), output_size=len(own.values))


def _narrowest(largest: int) -> torch.dtype:
    return torch.int32 if largest <= INT32_MAX else torch.int64
