"""Two indexes refined to one: the distinct pairs of their rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recfold.batch.fold_index import FoldIndex
from recfold.batch.segmented_sum import SegmentedSum
from recfold.spec import InputError


@dataclass(frozen=True)
class Refinement:
    """The index of distinct pairs.

    Args:
        index: over U pairs.
        rows: for each of the two indexes, its row in each pair, int64 [U].
    """

    index: FoldIndex
    rows: tuple[Tensor, Tensor]


def refined(first: FoldIndex, second: FoldIndex) -> Refinement:
    """The distinct pairs of two indexes of one batch; computed once and kept with the indexes.

    Where neither index falls, a pair that comes back later in the batch counts again: runs are found without sorting.

    Raises:
        InputError: indexes of different batches.

    Example:
        >>> a = FoldIndex(torch.tensor([0, 0, 1, 1]), 2)
        >>> b = FoldIndex(torch.tensor([0, 1, 1, 1]), 2)
        >>> refined(a, b).index.inverse.tolist(), [rows.tolist() for rows in refined(a, b).rows]
        ([0, 1, 2, 2], [[0, 0, 1], [0, 1, 1]])
    """
    check_same_batch(first, second)
    if second.serial < first.serial:
        own = refined(second, first)
        return Refinement(own.index, (own.rows[1], own.rows[0]))
    kept = second.refinements.get(first.serial)
    if kept is None:
        kept = _refined(first, second)
        second.refinements[first.serial] = kept
    return kept


def check_same_batch(first: FoldIndex, second: FoldIndex) -> None:
    """Two indexes may be combined.

    Raises:
        InputError: they are of different batches or of different numbers of samples.
    """
    if first.batch is not None and second.batch is not None and first.batch is not second.batch:
        raise InputError(
            "two Folded tensors of different batches are combined",
            got=f"batches of {first.num_samples} and {second.num_samples} samples",
            expected="tensors of one batch",
        )
    if first.num_samples != second.num_samples:
        raise InputError(
            "two Folded tensors have different numbers of samples",
            got=f"{first.num_samples} and {second.num_samples}",
            expected="the same",
        )


def _refined(first: FoldIndex, second: FoldIndex) -> Refinement:
    assert first.inverse is not None
    assert second.inverse is not None
    a_B, b_B = first.inverse, second.inverse
    if first.never_falls and second.never_falls:
        starts_B = torch.ones_like(a_B, dtype=torch.bool)
        starts_B[1:] = (a_B[1:] != a_B[:-1]) | (b_B[1:] != b_B[:-1])
        inverse_B = starts_B.cumsum(0) - 1
        at_U = starts_B.nonzero().flatten()
        rows = (a_B[at_U], b_B[at_U])
    else:
        pairs_U, inverse_B = torch.unique(a_B * second.num_distinct + b_B, return_inverse=True)
        rows = (pairs_U // second.num_distinct, pairs_U % second.num_distinct)
    index = FoldIndex(inverse_B, len(rows[0]), validate=False, batch=first.batch or second.batch)
    for coarse, own in zip((first, second), rows, strict=True):
        index.refines(coarse, SegmentedSum(own, coarse.num_distinct))
        for coarser, above in coarse.coarser.items():
            if coarser not in index.coarser:
                index.refines(coarser, SegmentedSum(above.source_P[own], coarser.num_distinct))
    return Refinement(index, rows)


def refined_reference(first: FoldIndex, second: FoldIndex) -> list[tuple[int, int]]:
    """The slow twin: the pair of rows that each sample uses."""
    a, b = (range(i.num_samples) if i.inverse is None else i.inverse.tolist() for i in (first, second))
    return list(zip(a, b, strict=True))
