"""Rows of an index sorted by how many samples use them, so that samples and rows meet in few rectangular products.

inverse_B   0 0 1 2 2          row 1 is used once, rows 0 and 2 twice
rows        1 | 0 2            buckets: one row of one sample, two rows of two samples
samples     2 | 0 1 3 4        the samples of each row next to each other, in this order of rows
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recfold.batch.fold_index import FoldIndex


@dataclass(frozen=True)
class RowBuckets:
    """Rows and samples in an order in which rows of one count follow each other.

    Args:
        rows: int64, numbers of the rows that are used, by rising count.
        samples: int64 [B], numbers of the samples, row by row in that order.
        places: int64 [B], where each sample is in it.
        sizes: (samples of each row, rows) of each bucket.
    """

    rows: Tensor
    samples: Tensor
    places: Tensor
    sizes: tuple[tuple[int, int], ...]


def row_buckets(index: FoldIndex) -> RowBuckets:
    """Sort the rows of an index; reads its tensor.

    Example:
        >>> found = row_buckets(FoldIndex(torch.tensor([0, 0, 1, 2, 2]), 3))
        >>> found.rows.tolist(), found.samples.tolist(), found.sizes
        ([1, 0, 2], [2, 0, 1, 3, 4], ((1, 1), (2, 2)))
    """
    inverse_B = index.inverse
    if inverse_B is None:
        inverse_B = torch.arange(index.num_samples)
    counts_U = torch.bincount(inverse_B, minlength=index.num_distinct)
    sorted_counts, rows = torch.sort(counts_U, stable=True)
    rank_U = torch.empty_like(rows)
    rank_U[rows] = torch.arange(len(rows), device=rows.device)
    samples = torch.argsort(rank_U[inverse_B], stable=True)
    places = torch.empty_like(samples)
    places[samples] = torch.arange(len(samples), device=samples.device)
    values, numbers = torch.unique_consecutive(sorted_counts, return_counts=True)
    sizes = tuple((count, number) for count, number in zip(values.tolist(), numbers.tolist(), strict=True) if count)
    unused = len(rows) - sum(number for _, number in sizes)
    return RowBuckets(rows[unused:], samples, places, sizes)
