"""Searches: (task, cost) -> pieces and the rank of each."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from recfold.plan.cost import Cost
from recfold.plan.search.autoshard import autoshard
from recfold.plan.search.best import best
from recfold.plan.search.cost_greedy import cost_greedy
from recfold.plan.search.dreamshard import dreamshard
from recfold.plan.search.ldm import ldm
from recfold.plan.search.neuroshard import neuroshard
from recfold.plan.search.random import random
from recfold.plan.search.single_greedy import dim, lookup, size, size_lookup
from recfold.plan.task import Assignment, Task
from recfold.spec import unknown

__all__ = ["SEARCHERS", "Search", "find"]


class Search(Protocol):
    """What every search offers.

    Args:
        task: what is to be placed, and how it may be split.
        cost: that the slowest rank is rated by.
        seed: of whatever is random in it.
        seconds: that it may take, for those that get better with time; None for so many steps, whatever they take.
            The same seed gives the same assignment where it is None.
    Returns:
        Pieces that tile every table, within the memory of every rank.
    Raises:
        InputError: an impossible task; the same from every search.
    """

    def __call__(self, task: Task, cost: Cost, *, seed: int = 0, seconds: float | None = None) -> Assignment: ...


SEARCHERS: Mapping[str, Search] = {
    "random": random,
    "size": size,
    "dim": dim,
    "lookup": lookup,
    "size-lookup": size_lookup,
    "ldm": ldm,
    "cost-greedy": cost_greedy,
    "autoshard": autoshard,
    "dreamshard": dreamshard,
    "neuroshard": neuroshard,
    "best": best,
}


def find(task: Task, cost: Cost, *, search: str = "best", seed: int = 0, seconds: float | None = None) -> Assignment:
    """Search by name.

    Raises:
        InputError: an unknown name; or an impossible task: which table does not fit, and what would help.
    """
    if search not in SEARCHERS:
        raise unknown("search", search, SEARCHERS)
    if not task.tables:
        return Assignment((), np.zeros(0, np.int64))
    return SEARCHERS[search](task, cost, seed=seed, seconds=seconds)
