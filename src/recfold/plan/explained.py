"""A plan with what it is predicted to cost, and how much better one could be at all."""

import json
from pathlib import Path

import numpy as np

from recfold.plan.bound import check_cost, lower_bound
from recfold.plan.cost import WithExchange
from recfold.plan.cost.cost import rank_sums
from recfold.plan.files import write_whole
from recfold.plan.loads import Loads
from recfold.plan.piece import Piece, TableLoad
from recfold.plan.task import Assignment, Task
from recfold.spec import Plan, Settings

SETS_CHECKED = 500


class RankCost(Settings):
    """Predicted milliseconds of a rank's step: of computing, and of the exchange as if it were the busiest."""

    rank: int
    num_bytes: int
    compute_ms: float
    exchange_ms: float

    @property
    def ms(self) -> float:
        return self.compute_ms + self.exchange_ms


class Rating(Settings):
    """How good a plan is by its cost.

    Args:
        ranks: of each rank.
        bound_ms: no plan's slowest rank takes less, where `bound_holds`.
        bound_holds: whether the cost kept what the bound takes for granted, on sets drawn from these tables.
    """

    ranks: tuple[RankCost, ...]
    bound_ms: float
    bound_holds: bool

    @property
    def slowest_ms(self) -> float:
        return max(rank.ms for rank in self.ranks)

    @property
    def balance(self) -> float:
        """Slowest rank over the mean."""
        mean = sum(rank.ms for rank in self.ranks) / len(self.ranks)
        return self.slowest_ms / mean if mean else 1.0

    @property
    def gap(self) -> float:
        """How far the slowest rank is above the bound: 0.03 is 3 %."""
        return self.slowest_ms / self.bound_ms - 1 if self.bound_ms > 0 else 0.0


class Explained(Settings):
    """What lies beside a plan as `plan.explained.json`.

    Args:
        search, seed, seconds, splits, memory_bytes: what was asked for.
        cost: what rated it, in one line.
        took_s: of the search.
        rating: of the plan.
        loads: that it was searched with.
        measured_ms: of computing, of each rank, on the machine that planned; None where it was not timed.
    """

    search: str
    seed: int
    seconds: float | None
    splits: tuple[str, ...]
    memory_bytes: int | None
    cost: str
    took_s: float
    rating: Rating
    loads: Loads
    measured_ms: tuple[float, ...] | None = None


class Bounded:
    """A task's lower bound, and whether it can be relied on; found once for many plans.

    Args:
        task: what is placed.
        cost: that rates it.
        seed: of the sets that are drawn.
    """

    def __init__(self, task: Task, cost: WithExchange, seed: int = 0) -> None:
        self.task, self.cost = task, cost
        self.bound_ms = lower_bound(task, cost).ms
        self.holds = not task.tables or check_cost(task, cost, seed=seed, sets=SETS_CHECKED).holds()

    def rate(self, assignment: Assignment) -> Rating:
        """What a plan costs beside the bound."""
        compute, exchange = self.cost.parts(rank_sums(assignment, self.task, self.cost))
        held = assignment.rank_bytes(self.task)
        ranks = tuple(
            RankCost(rank=rank, num_bytes=int(held[rank]), compute_ms=float(own), exchange_ms=float(other))
            for rank, (own, other) in enumerate(zip(compute, exchange, strict=True))
        )
        return Rating(ranks=ranks, bound_ms=self.bound_ms, bound_holds=self.holds)


def assignment_of(plan: Plan, tables: tuple[TableLoad, ...]) -> Assignment:
    """A plan's pieces with their loads.

    Raises:
        InputError: loads of other tables.
    """
    plan.check_tables({table.name: (table.rows, table.dim) for table in tables}, plan.ranks)
    pieces, ranks, replicated = [], [], []
    for table in tables:
        placed = plan.tables[table.name]
        if placed.replicated:
            replicated.append(table.name)
        for shard in placed.shards:
            pieces.append(Piece(table, shard.rows, shard.columns))
            ranks.append(shard.rank)
    return Assignment(tuple(pieces), np.array(ranks, dtype=np.int64), tuple(replicated))


def explained_path(plan: Path) -> Path:
    """Where the explanation of a plan lies.

    >>> explained_path(Path("plans/four.json")).name
    'four.explained.json'
    """
    return plan.with_name(f"{plan.stem}.explained.json")


def save_explained(explained: Explained, plan: Path) -> Path:
    """Write it beside a plan, whole or not at all.

    Raises:
        InputError: the disk refuses.
    """
    path = explained_path(plan)
    write_whole(path, json.dumps(explained.model_dump(mode="json"), indent=1) + "\n")
    return path
