"""The slow, obvious lookup: one list at a time on a dense weight, differentiable by autograd."""

import itertools

import torch
from torch import Tensor
from torch.nn.functional import embedding

from recfold.embed.bags import Bags


def lookup_reference(weight_RD: Tensor, bags: Bags, mode: str) -> Tensor:
    """The slow twin of one read of `EmbeddingTables`.

    Args:
        weight_RD: the table; may require a gradient (a dense one).
        mode: `sum`, `mean` (the weighted sum over the number of ids; 0 for an empty list) or `rows`.
    Returns:
        [U, D], or [V, D] for `rows`; float32 where the table is of half precision.

    Example:
        >>> table = torch.tensor([[1.0], [2.0], [4.0]])
        >>> lookup_reference(table, Bags(torch.tensor([0, 2, 1]), torch.tensor([0, 2, 2, 3])), "mean").tolist()
        [[2.5], [0.0], [2.0]]
    """
    low = weight_RD.dtype in (torch.float16, torch.bfloat16)
    rows_VD = embedding(bags.values, weight_RD.float() if low else weight_RD)
    if bags.weights is not None:
        rows_VD = rows_VD * bags.weights.to(rows_VD.dtype).unsqueeze(1)
    if mode == "rows":
        return rows_VD
    bounds = bags.offsets.tolist()
    pooled = [rows_VD[start:stop].sum(0) for start, stop in itertools.pairwise(bounds)]
    if mode == "mean":
        length_U = (bags.offsets[1:] - bags.offsets[:-1]).tolist()
        pooled = [row / max(length, 1) for row, length in zip(pooled, length_U, strict=True)]
    return torch.stack(pooled) if pooled else rows_VD[:0]
