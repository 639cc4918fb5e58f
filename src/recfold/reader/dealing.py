"""Which samples each rank gets in which batch: pure arithmetic on the number of samples of each unit.

Units in reading order are cut into blocks of about `block_samples` samples, never inside a unit; block k belongs to
rank k modulo the number of ranks. A rank's batch is the next `batch_size` samples of its blocks. When the number of
ranks or the batch size changes, what no rank has taken yet keeps its order and is dealt again. Ranks step together:
after s steps each rank has taken s batches, or all it had.

    units         aaa bb cccc d ee       (block_samples = 4, 2 ranks, batch_size = 3)
    blocks        0 0 0  1 1 1 ...
    rank 0        aaa bb . ee            batches aaa | bbe | e
    rank 1        cccc d                 batches ccc | cd

Legend: N units of the epoch in reading order, K units of a rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Deal(NamedTuple):
    """A stretch of an epoch in which neither the number of ranks nor the batch size changed."""

    world_size: int
    batch_size: int
    steps: int


def owners(left: np.ndarray, block_samples: int, world_size: int) -> np.ndarray:
    """The rank that each unit is dealt to, int64 [N]; -1 for a unit that has nothing left.

    Args:
        left: samples of each unit that no rank has taken yet, int64 [N].

    Example:
        >>> owners(np.array([3, 2, 0, 4, 1, 2]), 4, 2).tolist()
        [0, 0, -1, 1, 0, 0]
    """
    owner = np.full(len(left), -1, dtype=np.int64)
    some = np.flatnonzero(left)
    if len(some):
        begins = np.cumsum(left[some]) - left[some]
        block = begins // block_samples
        number = np.concatenate([[0], np.cumsum(np.diff(block) != 0)])
        owner[some] = number % world_size
    return owner


def done_after(num_samples: np.ndarray, deals: Sequence[Deal], block_samples: int) -> np.ndarray:
    """How many samples of each unit have been taken after some deals: always its first ones. int64 [N].

    Example:
        >>> done_after(np.array([3, 2, 4, 1, 2]), [Deal(1, 4, 1), Deal(2, 1, 1)], 4).tolist()
        [3, 2, 0, 1, 0]
    """
    done = np.zeros(len(num_samples), dtype=np.int64)
    for deal in deals:
        left = num_samples - done
        owner = owners(left, block_samples, deal.world_size)
        by_owner = np.argsort(owner, kind="stable")
        sizes = left[by_owner]
        begins = np.cumsum(sizes) - sizes
        first_of_owner = np.searchsorted(owner[by_owner], owner[by_owner])
        begins -= begins[first_of_owner]
        taken = np.clip(deal.batch_size * deal.steps - begins, 0, sizes)
        done[by_owner] += taken
    return done


class Pieces(NamedTuple):
    """Parts of units that make a batch, in order: samples [begin, end) of unit `unit` each, int64."""

    unit: np.ndarray
    begin: np.ndarray
    end: np.ndarray


@dataclass(frozen=True)
class Share:
    """What one rank gets.

    Args:
        unit: numbers of its units in reading order, int64 [K].
        begin: first sample of each that is left, int64 [K].
        bounds: running sum of the samples, int64 [K + 1].
    """

    unit: np.ndarray
    begin: np.ndarray
    bounds: np.ndarray

    @property
    def num_samples(self) -> int:
        return int(self.bounds[-1])

    def num_batches(self, batch_size: int) -> int:
        return -(-self.num_samples // batch_size)

    def range_of(self, batch: int, batch_size: int) -> tuple[int, int]:
        """Which of the K units a batch touches, as a half-open range."""
        first, last = batch * batch_size, min((batch + 1) * batch_size, self.num_samples)
        return (
            int(np.searchsorted(self.bounds, first, side="right")) - 1,
            int(np.searchsorted(self.bounds, last, side="left")),
        )

    def pieces(self, batch: int, batch_size: int) -> Pieces:
        """The pieces of one batch."""
        first, last = batch * batch_size, min((batch + 1) * batch_size, self.num_samples)
        k0, k1 = self.range_of(batch, batch_size)
        low = np.maximum(self.bounds[k0:k1], first)
        high = np.minimum(self.bounds[k0 + 1 : k1 + 1], last)
        shift = self.begin[k0:k1] - self.bounds[k0:k1]
        return Pieces(self.unit[k0:k1], low + shift, high + shift)


def share_of(num_samples: np.ndarray, done: np.ndarray, block_samples: int, rank: int, world_size: int) -> Share:
    """Deal what is left to the ranks and take one rank's share.

    Args:
        num_samples, done: per unit in reading order, int64 [N].

    Example:
        >>> share = share_of(np.array([3, 2, 4, 1, 2]), np.zeros(5, np.int64), 4, rank=0, world_size=2)
        >>> share.num_samples, share.num_batches(4), [x.tolist() for x in share.pieces(1, 4)]
        (8, 2, [[1, 3, 4], [1, 0, 0], [2, 1, 2]])
    """
    left = num_samples - done
    unit = np.flatnonzero(owners(left, block_samples, world_size) == rank)
    bounds = np.zeros(len(unit) + 1, dtype=np.int64)
    np.cumsum(left[unit], out=bounds[1:])
    return Share(unit, done[unit], bounds)


def steps_of(num_samples: np.ndarray, done: np.ndarray, block_samples: int, world_size: int, batch_size: int) -> int:
    """Number of steps until every rank has taken what it was dealt."""
    left = num_samples - done
    owner = owners(left, block_samples, world_size)
    per_rank = np.bincount(owner[owner >= 0], weights=left[owner >= 0], minlength=world_size)
    return int(-(-per_rank.max() // batch_size)) if len(per_rank) else 0


def deal_reference(
    num_samples: Sequence[int], deals: Sequence[Deal], block_samples: int
) -> tuple[list[list[list[tuple[int, int]]]], list[tuple[int, int]]]:
    """The slow twin of this module: deals samples one by one.

    Returns:
        batches[step][rank] as lists of (unit, sample) over all deals, and what is left, in reading order.
    """
    rest = [(unit, sample) for unit, count in enumerate(num_samples) for sample in range(count)]
    batches = []
    for deal in deals:
        streams: list[list[tuple[int, int]]] = [[] for _ in range(deal.world_size)]
        block, previous_block, previous_unit = -1, -1, -1
        for place, (unit, sample) in enumerate(rest):
            if unit != previous_unit:
                if place // block_samples != previous_block:
                    block += 1
                previous_block, previous_unit = place // block_samples, unit
            streams[block % deal.world_size].append((unit, sample))
        taken = []
        for step in range(deal.steps):
            cut = slice(step * deal.batch_size, (step + 1) * deal.batch_size)
            batches.append([stream[cut] for stream in streams])
            taken += [pair for stream in streams for pair in stream[cut]]
        rest = sorted(set(rest) - set(taken))
    return batches, rest
