"""How good a plan can be at all: a lower bound of the slowest rank, and whether a cost lets it be trusted.

    slowest rank >= max(dearest piece that cannot be cut, min(cost of all tables together, sum of what each costs
    alone) / ranks)

The first part needs a cost that never falls when a piece is added. The second needs a cost by which a piece costs at
most what it costs cut in two, and either a set at most what its parts cost apart (then the first of the two is the
smaller, and all ranks together cost at least that), or a set at least what its parts cost apart (then the second is,
and they cost at least that). All of it is checked by drawing sets, not proven.

Where the exchange is a part of the cost (`WithExchange`) this is asked of computing only. All ranks exchange at least
the bytes of uncut tables; a mean of f(bytes of a rank) is at least the convex minorant of f at the mean bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recfold.plan.cost import Cost, WithExchange, rank_ms
from recfold.plan.cost.exchange import exchange_bytes
from recfold.plan.piece import Piece
from recfold.plan.search.cut import halves, smallest
from recfold.plan.task import Assignment, Task

SAMPLED = 400
"""Places at which the exchange is rated to find its convex minorant."""

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
    allowed there is none. A table that costs less where all ranks have it than where one has counts as replicated.
    """
    if not task.tables:
        return Bound(0.0, 0.0, 0.0, 0.0, None)
    shares = [_shares_ms(task, cost, copied) for copied in _worth_copying(task, cost)]
    together, apart = min(shares, key=min)
    if task.ranks == 1:
        return Bound(together, 0.0, together, apart, None)
    if task.splits & {"rows", "replicate"}:
        return Bound(min(together, apart), 0.0, together, apart, None)
    single = cost.ms(cost.rows([smallest(table, task.splits) for table in task.tables]))
    dearest = int(np.argmax(single))
    most = float(single[dearest])
    return Bound(max(most, min(together, apart)), most, together, apart, task.tables[dearest].name)


def _shares_ms(task: Task, cost: Cost, copied_T: np.ndarray) -> tuple[float, float]:
    """Even shares of a rank: of all tables together, and of each alone.

    Args:
        copied_T: bool, which of them all ranks have.
    """
    compute = cost.compute if isinstance(cost, WithExchange) else cost
    rows = compute.rows([table.whole() for table in task.tables])
    if copied_T.any():
        rows = np.where(copied_T[:, None], task.ranks * compute.rows(_copies(task)), rows)
    together, apart = float(compute.ms(rows.sum(0)[None])[0]) / task.ranks, float(compute.ms(rows).sum()) / task.ranks
    if not isinstance(cost, WithExchange):
        return together, apart
    most = np.where(copied_T[:, None], *_bytes(task, cost)).sum(0)
    exchange_ms = sum(
        convex_minorant(way, total, total / task.ranks) for way, total in zip(_ways(cost), most.tolist(), strict=True)
    )
    return together + exchange_ms, apart + exchange_ms


def _worth_copying(task: Task, cost: Cost) -> list[np.ndarray]:
    """Choices of tables that all ranks have, bool [T]: none, and those that would cost less so, where that is allowed
    and they fit; exchanges at what another byte costs beside all others."""
    none = np.zeros(len(task.tables), dtype=bool)
    if "replicate" not in task.splits or task.ranks == 1:
        return [none]
    compute = cost.compute if isinstance(cost, WithExchange) else cost
    saved = task.ranks * compute.ms(compute.rows(_copies(task)))
    saved -= compute.ms(compute.rows([table.whole() for table in task.tables]))
    if isinstance(cost, WithExchange):
        copied, whole = _bytes(task, cost)
        for column, way in enumerate(_ways(cost)):
            total = float(whole[:, column].sum())
            mean, less = total / task.ranks, 0.98 * total / task.ranks
            slope = (convex_minorant(way, total, mean) - convex_minorant(way, total, less)) / max(mean - less, 1e-9)
            saved += (copied - whole)[:, column] * slope
    fits = np.array([task.memory_bytes is None or table.num_bytes <= task.memory_bytes for table in task.tables])
    return [none, fits & (saved < 0)]


def _copies(task: Task) -> list[Piece]:
    return [table.replica(task.ranks) for table in task.tables]


def _bytes(task: Task, cost: WithExchange) -> tuple[np.ndarray, np.ndarray]:
    """Bytes that all ranks exchange for each table, forward and backward, [T, 2] each: all have it, one has it."""
    copied = task.ranks * exchange_bytes(_copies(task), task.ranks, cost.number_bytes)
    return copied, exchange_bytes([table.whole() for table in task.tables], task.ranks, cost.number_bytes)


def _ways(cost: WithExchange) -> tuple[Callable[[np.ndarray], np.ndarray], ...]:
    """Milliseconds of the forward's exchange of so many bytes, and what the backward's adds."""
    none = np.zeros(1)
    nothing_ms = float(cost.exchange.ms(none, none)[0])

    def forward(num_bytes: np.ndarray) -> np.ndarray:
        return cost.exchange.ms(num_bytes, np.zeros(len(num_bytes)))

    def backward(num_bytes: np.ndarray) -> np.ndarray:
        return cost.exchange.ms(np.zeros(len(num_bytes)), num_bytes) - nothing_ms

    return forward, backward


def convex_minorant(function: Callable[[np.ndarray], np.ndarray], most: float, at: float) -> float:
    """The largest convex function below a function on [0, most] that also never falls, at one place; by sampling.

    >>> convex_minorant(np.sqrt, 16.0, 4.0), round(convex_minorant(np.square, 16.0, 4.0), 1)
    (1.0, 16.0)
    """
    if most <= 0:
        return float(function(np.zeros(1))[0])
    x = np.unique(np.concatenate([[0.0], np.geomspace(most / 1e6, most, SAMPLED), [at]]))
    y = np.minimum.accumulate(function(x)[::-1])[::-1]
    hull: list[int] = []
    for place in range(len(x)):
        while len(hull) > 1 and _is_above(x, y, hull[-2], hull[-1], place):
            hull.pop()
        hull.append(place)
    return float(np.interp(at, x[hull], y[hull]))


def _is_above(x: np.ndarray, y: np.ndarray, one: int, middle: int, other: int) -> bool:
    """Whether the middle point is not below the line through the others."""
    return bool((y[middle] - y[one]) * (x[other] - x[one]) >= (y[other] - y[one]) * (x[middle] - x[one]))


def gap(assignment: Assignment, task: Task, cost: Cost) -> float:
    """How much slower the slowest rank is than the lower bound: 0.03 is 3 %."""
    return lower_bound(task, cost).gap(float(rank_ms(assignment, task, cost).max()))


def check_cost(task: Task, cost: Cost, *, seed: int = 0, sets: int = 1000) -> Check:
    """Draw sets of a task's pieces, and count where the cost is not what the bound takes it for.

    Args:
        cost: of computing; of a `WithExchange` only that is checked.
        sets: pairs of disjoint sets that are drawn: of few pieces up to all of them, so that the sums which the bound
            rates are among them.
    """
    cost = cost.compute if isinstance(cost, WithExchange) else cost
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
