"""Step time over the number of ranks, planned again for each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recfold.plan.choose_cost import choose_cost
from recfold.plan.cluster import Cluster
from recfold.plan.fits import DoesNotFit
from recfold.plan.loads import Loads
from recfold.plan.search import find
from recfold.plan.simulate.machine import machine_of
from recfold.plan.simulate.step import Step, simulate
from recfold.plan.task import Split, Task


@dataclass(frozen=True)
class Point:
    """Args:
    ranks: of this point.
    step: None where the tables do not fit.
    samples_per_s: of all ranks.
    problem: why there is no step.
    """

    ranks: int
    step: Step | None
    samples_per_s: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class CurveRequest:
    """How each size is planned.

    Args:
        search, seconds, splits: of each plan.
        memory_bytes: of a rank; None for what the cluster's tiers hold, or no bound.
        cost: of lookups where the cluster has no tiers.
        overlap: of the steps.
    """

    search: str = "cost-greedy"
    seconds: float | None = None
    splits: frozenset[Split] = frozenset({"rows", "columns"})
    memory_bytes: int | None = None
    cost: str = "neural"
    overlap: bool = True


def curve(
    loads: Loads,
    cluster: Cluster,
    sizes: Sequence[int],
    request: CurveRequest = CurveRequest(),
    tell: Callable[[int, int], None] = lambda *_: None,
) -> list[Point]:
    """A step for each number of ranks; every rank has a batch of the same size, so that the loads grow with them.

    Args:
        tell: is told how many sizes are done, and how many there are.
    Raises:
        InputError: ranks that do not fill hosts, an unknown cost or search, or whatever else is not about memory.
    """
    found = []
    for number, ranks in enumerate(sizes):
        tell(number, len(sizes))
        machine = machine_of(cluster, ranks, loads.batch_size, cost=request.cost, by_row=frozenset(loads.by_row))
        chosen = choose_cost(request.cost, ranks, cluster=cluster, by_row=frozenset(loads.by_row))
        tables = loads.of_ranks(ranks)
        memory_bytes = cluster.memory_bytes if request.memory_bytes is None else request.memory_bytes
        task = Task(tables, machine.topology, memory_bytes, request.splits)
        try:
            plan = find(task, chosen.cost, search=request.search, seconds=request.seconds).plan(task)
        except DoesNotFit as error:
            found.append(Point(ranks, None, problem=str(error)))
            continue
        step = simulate(plan, tables, machine, overlap=request.overlap)
        found.append(Point(ranks, step, ranks * loads.batch_size / step.ms * 1e3))
    return found
