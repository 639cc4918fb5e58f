"""How good a plan can be at all: a lower bound of the slowest rank, and whether a cost lets it be trusted.

    slowest rank >= max(dearest piece that cannot be cut, min(cost of all tables together, sum of what each costs
    alone) / ranks)

The first part needs a cost that never falls when a piece is added. The second needs a cost by which a piece costs at
most what it costs cut in two, and either a set at most what its parts cost apart (then the first of the two is the
smaller, and all ranks together cost at least that), or a set at least what its parts cost apart (then the second is,
and they cost at least that). All of it is checked by drawing sets, not proven.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recfold.plan.cost import Cost, rank_ms
from recfold.plan.piece import Piece
from recfold.plan.search.cut import halves, smallest
from recfold.plan.task import Assignment, Task

TOLERANCE = 1e-6
"""Violations smaller than this share are rounding."""


@dataclass(frozen=True)
class Bound:
    """Args:
    ms: no plan's slowest rank takes less, as far as the cost can be trusted.
    dearest_ms: of the dearest piece that cannot be cut; 0 where every table can be cut at rows or replicated.
    together_ms: all tables on one rank, over the number of ranks.
    apart_ms: the sum of each table alone on a rank, over the number of ranks.
    dearest: that piece's table; None where there is none.
    """

    ms: float
    dearest_ms: float
    together_ms: float
    apart_ms: float
    dearest: str | None

    def gap(self, slowest_ms: float) -> float:
        """How much slower a plan is than the bound: 0.03 is 3 %."""
        return slowest_ms / self.ms - 1 if self.ms > 0 else 0.0


@dataclass(frozen=True)
class Violations:
    """How often, of the sets drawn, a cost breaks what the bound takes for granted.

    Args:
        drawn: pairs of sets.
        share: of them by which the cost breaks it.
        mean, most: by how much, as a share of the cost; of those that break it.
    """

    drawn: int
    share: float
    mean: float
    most: float


@dataclass(frozen=True)
class Check:
    """Args:
    together: a set costs more than its two parts apart.
    apart: a set costs less than its two parts apart.
    cut: a piece costs more than its two halves apart.
    falling: a set costs less than a part of it.
    """

    together: Violations
    apart: Violations
    cut: Violations
    falling: Violations

    def holds(self, share: float = 0.02, size: float = 0.02) -> bool:
        """Whether the bound can be relied on: violations are few, or none is large.

        Sets may cost more than their parts, or less, but not both.
        """

        def few(own: Violations) -> bool:
            return own.share <= share or own.most <= size

        return (few(self.together) or few(self.apart)) and few(self.cut) and few(self.falling)


def lower_bound(task: Task, cost: Cost) -> Bound:
    """The bound by a cost; see `check_cost` for whether it can be relied on.

    With columns allowed to be cut, the dearest piece is the smallest that halving leaves; with rows or replication
    allowed there is none.
    """
    if not task.tables:
        return Bound(0.0, 0.0, 0.0, 0.0, None)
    whole = cost.rows([table.whole() for table in task.tables])
    together = float(cost.ms(whole.sum(0)[None])[0]) / task.ranks
    apart = float(cost.ms(whole).sum()) / task.ranks
    if task.ranks == 1:
        return Bound(together, 0.0, together, apart, None)
    if task.splits & {"rows", "replicate"}:
        return Bound(min(together, apart), 0.0, together, apart, None)
    single = cost.ms(cost.rows([smallest(table, task.splits) for table in task.tables]))
    dearest = int(np.argmax(single))
    most = float(single[dearest])
    return Bound(max(most, min(together, apart)), most, together, apart, task.tables[dearest].name)


def gap(assignment: Assignment, task: Task, cost: Cost) -> float:
    """How much slower the slowest rank is than the lower bound: 0.03 is 3 %."""
    return lower_bound(task, cost).gap(float(rank_ms(assignment, task, cost).max()))


def check_cost(task: Task, cost: Cost, *, seed: int = 0, sets: int = 1000) -> Check:
    """Draw sets of a task's pieces, and count where the cost is not what the bound takes it for.

    Args:
        sets: pairs of disjoint sets that are drawn: of few pieces up to all of them, so that the sums which the bound
            rates are among them.
    """
    rng = np.random.default_rng(seed)
    pieces = [table.whole() for table in task.tables]
    rows = cost.rows(pieces)
    one, other = np.zeros((sets, rows.shape[1])), np.zeros((sets, rows.shape[1]))
    for number in range(sets):
        size = round(len(pieces) ** rng.uniform(0, 1))
        chosen = rng.permutation(len(pieces))[: max(size, min(len(pieces), 2))]
        cut = int(rng.integers(1, max(len(chosen), 2)))
        one[number], other[number] = rows[chosen[:cut]].sum(0), rows[chosen[cut:]].sum(0)
    one_ms, other_ms, both_ms = cost.ms(one), cost.ms(other), cost.ms(one + other)
    return Check(
        together=_violations(both_ms, one_ms + other_ms),
        apart=_violations(one_ms + other_ms, both_ms),
        cut=_cut_violations(pieces, rows, task, cost),
        falling=_violations(np.maximum(one_ms, other_ms), both_ms),
    )


def _cut_violations(pieces: Sequence[Piece], rows: np.ndarray, task: Task, cost: Cost) -> Violations:
    pairs = [(number, pair) for number, piece in enumerate(pieces) for pair in halves(piece, task.splits)]
    if not pairs:
        return Violations(0, 0.0, 0.0, 0.0)
    whole = cost.ms(rows[[number for number, _ in pairs]])
    parts = cost.ms(cost.rows([half for _, pair in pairs for half in pair])).reshape(-1, 2).sum(1)
    return _violations(whole, parts)


def _violations(less: np.ndarray, more: np.ndarray) -> Violations:
    """Where what should be less is more."""
    excess = less / np.maximum(more, 1e-12) - 1
    broken = excess[excess > TOLERANCE]
    if not len(broken):
        return Violations(len(less), 0.0, 0.0, 0.0)
    return Violations(len(less), len(broken) / len(less), float(broken.mean()), float(broken.max()))
