"""The largest differencing method (Karmarkar and Karp 1982) for any number of ranks."""

import heapq
from collections.abc import Sequence

import numpy as np

from recfold.plan.cost import Cost
from recfold.plan.search.board import prepared
from recfold.plan.task import Assignment, Task


def ldm(task: Task, cost: Cost, *, seed: int = 0, seconds: float | None = None) -> Assignment:
    """On what each piece costs alone. It does not look at memory; what is too much is exchanged away afterwards."""
    board = prepared(task, cost)
    return board.assignment(differenced(board.single_ms_P, board.ranks))


def differenced(weights: Sequence[float] | np.ndarray, ranks: int) -> np.ndarray:
    """Partition weights so that the heaviest part is light.

    Every weight starts as a partition of its own: (weight, 0, ... 0). The two partitions with the largest spread
    are put together, the heaviest part of one with the lightest of the other, until one is left.

    Returns:
        The part of each weight, int64 [P].

    >>> np.bincount(differenced([8, 7, 6, 5, 4], 2), weights=[8, 7, 6, 5, 4]).tolist()  # as in the original article
    [16.0, 14.0]
    """
    heap: list[tuple[float, int, list[tuple[float, list[int]]]]] = []
    for number, weight in enumerate(weights):
        parts: list[tuple[float, list[int]]] = [(float(weight), [number])] + [(0.0, []) for _ in range(ranks - 1)]
        heap.append((-float(weight) if ranks > 1 else 0.0, number, parts))
    heapq.heapify(heap)
    made = len(heap)
    while len(heap) > 1:
        _, _, one = heapq.heappop(heap)
        _, _, other = heapq.heappop(heap)
        joined = [
            (own + opposite, members + others)
            for (own, members), (opposite, others) in zip(one, reversed(other), strict=True)
        ]
        joined.sort(key=lambda part: -part[0])
        heapq.heappush(heap, (joined[-1][0] - joined[0][0], made, joined))
        made += 1
    found = np.zeros(len(weights), np.int64)
    for rank, (_, members) in enumerate(heap[0][2] if heap else []):
        found[members] = rank
    return found
