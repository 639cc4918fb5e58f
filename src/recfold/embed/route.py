"""Which shard an id belongs to: pure arithmetic on row cuts.

Legend: U lists of a feature, V ids in all lists, P shards of a column block, cut at rows 0 = cuts[0] < ... < cuts[P].

    lists     [7,2] [] [3] [9,8]      cuts 0 5 10
    shard 0   [2]      [3]            index 0 2      lengths 1 1      ids 2 3
    shard 1   [7]          [9,8]      index 0 3      lengths 1 2      ids 2 4 3   (rows of the shard)
"""

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recfold.embed.bags import Bags


@dataclass(frozen=True, eq=False)
class Part:
    """The part of one feature's lists that one shard looks up.

    Args:
        ids: int64 rows of the shard.
        lengths: int32 ids of each bag; None for bags of one id each.
        weights: one per id, or None for 1.
        index: row of the feature's output that each bag belongs to, rising; None for all of them in order. On the rank
            that looks up for another one it is None.
    """

    ids: Tensor
    lengths: Tensor | None
    weights: Tensor | None
    index: Tensor | None = None

    @property
    def num_bags(self) -> int:
        return len(self.ids) if self.lengths is None else len(self.lengths)


def cut_bags(bags: Bags, mode: str, cuts: Sequence[int], *, keep_empty: bool = False) -> list[Part]:
    """Cut the lists of a feature at the rows where its table is cut; only lists with ids in a shard go there.

    A table that is not cut gets the lists as they are, empty ones included.

    Args:
        mode: `sum` and `mean`: bags; `rows`: one row per id.
        cuts: [P + 1] rows, from 0 to the rows of the table.
        keep_empty: every list goes to every shard, so that sums of several features line up (pooled modes only).
    """
    ids, pooled = bags.values, mode != "rows"
    if len(cuts) == 2:
        return [Part(ids, bags.offsets.diff().int() if pooled else None, bags.weights)]
    parts = len(cuts) - 1
    shard_V = torch.bucketize(ids, torch.tensor(cuts[1:-1], device=ids.device), right=True)
    _, order_V = torch.sort(shard_V.to(torch.int16 if parts < 1 << 15 else torch.int64), stable=True)
    num_ids = torch.bincount(shard_V, minlength=parts).tolist()
    sorted_ids, positions = ids[order_V].split(num_ids), order_V.split(num_ids)
    weights = [None] * parts if bags.weights is None else bags.weights[order_V].split(num_ids)
    indices: Sequence[Tensor] = positions
    lengths: list[Tensor | None] = [None] * parts
    if pooled:
        num_bags = len(bags.offsets) - 1
        bag_V = torch.repeat_interleave(
            torch.arange(num_bags, device=ids.device), bags.offsets.diff(), output_size=len(ids)
        )
        lengths_PU = torch.bincount(shard_V * num_bags + bag_V, minlength=parts * num_bags).view(parts, num_bags)
        if keep_empty:
            return [Part(sorted_ids[part] - cuts[part], lengths_PU[part].int(), weights[part]) for part in range(parts)]
        indices = [length_U.nonzero().squeeze(1) for length_U in lengths_PU]
        lengths = [length_U[index].int() for length_U, index in zip(lengths_PU, indices, strict=True)]
    return [Part(sorted_ids[part] - cuts[part], lengths[part], weights[part], indices[part]) for part in range(parts)]


def cut_bags_reference(bags: Bags, mode: str, cuts: Sequence[int], *, keep_empty: bool = False) -> list[Part]:
    """The slow twin of `cut_bags`: one id at a time."""
    bounds = list(range(len(bags.values) + 1)) if mode == "rows" else bags.offsets.tolist()
    found: list[dict[int, list[int]]] = [{} for _ in cuts[1:]]
    for bag, (start, stop) in enumerate(itertools.pairwise(bounds)):
        for position in range(start, stop):
            part = bisect_right(cuts, int(bags.values[position])) - 1
            found[part].setdefault(bag, []).append(position)
        if (len(cuts) == 2 or keep_empty) and mode != "rows":
            for lists in found:
                lists.setdefault(bag, [])
    parts = []
    for lists, first in zip(found, cuts, strict=False):
        positions = torch.tensor([p for own in lists.values() for p in own], dtype=torch.int64)
        parts.append(
            Part(
                bags.values[positions] - first,
                None if mode == "rows" else torch.tensor([len(own) for own in lists.values()], dtype=torch.int32),
                None if bags.weights is None else bags.weights[positions],
                torch.tensor(list(lists), dtype=torch.int64) if len(cuts) > 2 and not keep_empty else None,
            )
        )
    return parts
