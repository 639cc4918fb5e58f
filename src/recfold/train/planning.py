"""A plan for a folded table's model before anything is trained."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recfold.plan import SEARCHERS, TableSize, find
from recfold.plan.choose_cost import MEASURED, ChosenCost, choose_cost
from recfold.plan.cluster import Cluster
from recfold.plan.cost.as_trained import AsTrained, shipped_ratio
from recfold.plan.explained import Bounded, Explained
from recfold.plan.loads import Loads, load_loads
from recfold.plan.task import Split, Task
from recfold.plan.timed import TimedPlans
from recfold.spec import InputError, Plan, Schema
from recfold.table import FoldedTable
from recfold.train.assemble import tables_read
from recfold.train.effective import run_schema
from recfold.train.loads import loads_of
from recfold.train.run import table_of
from recfold.train.settings import RunSettings

BY_ROW = "rowwise_adagrad"


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is asked for.

    Args:
        ranks: devices, one rank each.
        memory_bytes: that tables may take on a rank; None for what the cluster's tiers hold, or for no bound.
        search: see `recfold.plan.SEARCHERS`.
        cost: `neural`, `analytic` or a file of `recfold cost fit`; `measured` searches by `neural` and times each
            rank of what was found on this machine.
        splits: that are allowed.
        seconds: of a search; None for a fixed number of steps.
        seed: of the search.
        cluster: links, hosts and memory tiers.
    """

    ranks: int
    memory_bytes: int | None = None
    search: str = "best"
    cost: str = "neural"
    splits: frozenset[Split] = frozenset({"rows", "columns", "replicate"})
    seconds: float | None = None
    seed: int = 0
    cluster: Cluster = field(default_factory=Cluster)


@dataclass(frozen=True)
class Planned:
    """A plan, what it costs, and the bytes of its tables' rows."""

    plan: Plan
    explained: Explained
    sizes: Mapping[str, TableSize]


def measured_loads(
    table: FoldedTable | Path | str,
    ranks: int,
    *,
    settings: RunSettings | None = None,
    schema: Schema | None = None,
) -> Loads:
    """Loads of the tables of a run on so many ranks, measured on its first batches.

    Args:
        table: the folded table that it will be trained on; or a file of loads, which are taken as they are.
        settings, schema: as for `train`; not with a file of loads, which has none.
    Raises:
        InputError: settings or a schema that would change nothing, wrong settings, no training samples, or a damaged
            file.
    """
    if not isinstance(table, FoldedTable) and Path(table).is_file():
        for name, given in (("settings", settings), ("a schema", schema)):
            if given is not None:
                raise InputError(f"{name} would change nothing of the loads in {table}", todo="give the folded table")
        return load_loads(Path(table))
    data, own = table_of(table), settings or RunSettings()
    chosen = run_schema(data.schema, schema, own.tables, own.model.without)
    specs = tables_read(chosen, own.model.name)[0]
    return Loads(
        ranks=ranks,
        batch_size=own.train.batch_size,
        tables=tuple(loads_of(data, chosen, own, ranks=ranks)),
        by_row=tuple(name for name, spec in specs.items() if (spec.optimizer or own.tables.optimizer) == BY_ROW),
    )


class Planner:
    """Searches plans of one task, and rates them by one cost.

    Args:
        loads: of the tables; scaled to the ranks of the request where they are of another number.
        request: what is asked for.
    Raises:
        InputError: ranks that do not fill the cluster's hosts, an unknown cost, or one that is measured here while the
            cluster's memory tiers are described.
    """

    def __init__(self, loads: Loads, request: PlanRequest) -> None:
        self.loads, self.request = loads, request
        cluster, memory_bytes = request.cluster, request.memory_bytes
        is_timed = request.cost == MEASURED
        if is_timed and cluster.tiers:
            raise InputError("--cost measured times this machine", got="a cluster with memory tiers of its own")
        self.chosen: ChosenCost = choose_cost(
            "neural" if is_timed else request.cost, request.ranks, cluster=cluster, by_row=frozenset(loads.by_row)
        )
        self.task = Task(
            loads.of_ranks(request.ranks),
            cluster.topology(request.ranks),
            cluster.memory_bytes if memory_bytes is None else memory_bytes,
            request.splits,
        )
        by_row = frozenset(loads.by_row)
        self._timed = (
            TimedPlans(self.task, AsTrained(self.chosen.compute, by_row, shipped_ratio())) if is_timed else None
        )
        self._bounded: Bounded | None = None
        self._found: dict[str, Planned] = {}

    def plan(self, search: str | None = None) -> Planned:
        """Search a plan, by another search than the request's where one is named.

        Raises:
            InputError: an unknown search, or tables that do not fit: which, and what would help.
        """
        name = search or self.request.search
        if name not in self._found:
            self._found[name] = self._search(name)
        return self._found[name]

    def _search(self, name: str) -> Planned:
        request = self.request
        start = time.monotonic()
        found = find(self.task, self.chosen.cost, search=name, seed=request.seed, seconds=request.seconds)
        took_s = time.monotonic() - start
        if self._bounded is None:
            self._bounded = Bounded(self.task, self.chosen.cost, request.seed)
        explained = Explained(
            search=name,
            seed=request.seed,
            seconds=request.seconds,
            splits=tuple(sorted(request.splits)),
            memory_bytes=self.task.memory_bytes,
            cost=self.chosen.about,
            took_s=took_s,
            rating=self._bounded.rate(found),
            loads=self.loads,
            measured_ms=None if self._timed is None else self._timed.ranks_ms(found),
        )
        sizes = {own.name: TableSize(own.rows, own.dim, own.row_bytes) for own in self.task.tables}
        return Planned(found.plan(self.task), explained, sizes)

    def compare(self, tell: Callable[[str, int, int], None] = lambda *_: None) -> dict[str, Explained]:
        """Every search: what its plan costs, and the seconds it took.

        Args:
            tell: is told the name of a search before it starts, its number, and how many there are.
        """
        found = {}
        for number, name in enumerate(SEARCHERS):
            tell(name, number, len(SEARCHERS))
            found[name] = self.plan(name).explained
        return found
