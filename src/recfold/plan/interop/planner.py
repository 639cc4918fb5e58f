"""A planner that stands where TorchRec's `EmbeddingShardingPlanner` does, and searches with ours."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch.distributed as dist
from torch import nn

from recfold.plan.cost import Cost, shipped_cost
from recfold.plan.cost.draw import mean_counts
from recfold.plan.fits import check_fits
from recfold.plan.interop.modules import torchrec_distributed
from recfold.plan.interop.torchrec_plan import even_blocks, to_torchrec_plan
from recfold.plan.piece import NUM_BINS, TableLoad
from recfold.plan.pool import ACCESS_SHARES
from recfold.plan.search import find
from recfold.plan.search.cut import smallest
from recfold.plan.sizes import TableSize
from recfold.plan.task import Split, Task
from recfold.spec import InputError, Placement, Plan, Shard, Topology, replicated

POOLING = 1.0
"""Ids a list where no constraint says: as TorchRec takes it."""

RESERVED = 0.15
"""Of a device's memory, for all but tables: as TorchRec reserves it."""

CUT_BY_ROWS, COPIED = "row_wise", "data_parallel"
KNOWN_TYPES = ("table_wise", "column_wise", CUT_BY_ROWS, COPIED)


class RecfoldPlanner:
    """`plan` and `collective_plan` as TorchRec's planners have them; each gives a `ShardingPlan`.

    Tables lie whole or cut at columns, as the search finds best; one that is too large for a device even so is cut at
    rows over all ranks. Loads are what is known before data is seen: lists of all ranks, pooling factors of the
    constraints, and accesses to rows as in the public pool of tables.

    Args:
        topology: TorchRec's `Topology`: ranks, ranks of a host, kind of device, memory of one.
        batch_size: samples of a rank.
        constraints: table -> TorchRec's `ParameterConstraints`. Read are `pooling_factors`, `num_poolings`,
            `batch_sizes` (of each feature, or one for all) and `sharding_types`: a table that may only be `row_wise` or
            `data_parallel` is; where `column_wise` is not among the types of some table, no table is cut at columns.
        memory_bytes: for tables on a device; what the topology says less `RESERVED` where not given.
        state_bytes_per_row: that the optimizer keeps; one float of row-wise AdaGrad.
        cost, search, seconds: see `recfold.plan.find`; the cost that ships where none is given.
    """

    def __init__(
        self,
        topology: Any,
        *,
        batch_size: int = 512,
        constraints: Mapping[str, Any] | None = None,
        memory_bytes: int | None = None,
        state_bytes_per_row: int = 4,
        cost: Cost | None = None,
        search: str = "best",
        seconds: float | None = None,
    ) -> None:
        self._topology, self._batch_size, self._constraints = topology, batch_size, dict(constraints or {})
        storage = topology.devices[0].storage
        held = storage.ddr if topology.compute_device == "cpu" else storage.hbm
        self._memory_bytes = int(held * (1 - RESERVED)) if memory_bytes is None else memory_bytes
        self._state_bytes, self._cost = state_bytes_per_row, cost
        self._search, self._seconds = search, seconds

    def collective_plan(self, module: nn.Module, sharders: Sequence[Any] | None = None, pg: Any = None) -> Any:
        """`plan` on the first rank of a process group (the default one where not given), sent to the others.

        Raises:
            InputError: on every rank, what `plan` raises on the first.
        """
        group = pg if pg is not None else dist.GroupMember.WORLD
        if group is None:
            raise InputError("there is no process group", todo="call torch.distributed.init_process_group, or plan()")
        found, problem = torchrec_distributed().collective.invoke_on_rank_and_broadcast_result(
            group, 0, self._attempt, module, sharders
        )
        if problem is not None:
            raise InputError(problem)
        return found

    def _attempt(self, module: nn.Module, sharders: Sequence[Any] | None) -> tuple[Any, str | None]:
        """A plan, or why there is none: the other ranks wait for one of them."""
        try:
            return self.plan(module, sharders), None
        except InputError as error:
            return None, str(error)

    def plan(self, module: nn.Module, sharders: Sequence[Any] | None = None) -> Any:
        """A `ShardingPlan` of all tables of the module that a sharder takes.

        Raises:
            InputError: TorchRec is not installed, tables that fit on no device, two tables of one name, or
                constraints that are not of a table or name types of sharding that are not known here.
        """
        own = torchrec_distributed()
        modules = {
            path: tables
            for path, tables in self._tables(module, sharders or own.plans.get_default_sharders())
            if tables
        }
        loads = {load.name: load for tables in modules.values() for load in tables}
        if len(loads) < sum(map(len, modules.values())):
            raise InputError("two tables have one name", got=", ".join(sorted(loads)), todo="rename one of them")
        for name in self._constraints.keys() - loads.keys():
            raise InputError(f"there are constraints for table {name!r}, which is not there", got=", ".join(loads))
        return to_torchrec_plan(
            self.placements(loads),
            {path: [load.name for load in tables] for path, tables in modules.items()},
            device=self._topology.compute_device,
        )

    def placements(self, loads: Mapping[str, TableLoad]) -> Plan:
        """The plan of tables with these loads, in our words."""
        ranks = int(self._topology.world_size)
        topology = Topology(ranks=ranks, ranks_per_host=int(self._topology.local_world_size))
        types = {name: self._types(name) for name in loads}
        splits: frozenset[Split] = frozenset({"columns"})
        if any("column_wise" not in own for own in types.values() if not {CUT_BY_ROWS, COPIED} >= own):
            splits = frozenset()
        fixed: dict[str, Placement] = {}
        for name, load in loads.items():
            large = smallest(load, splits).num_bytes > self._memory_bytes and CUT_BY_ROWS in types[name]
            if types[name] == {COPIED}:
                fixed[name] = replicated(load.rows, load.dim)
            elif large or types[name] <= {CUT_BY_ROWS, COPIED}:
                fixed[name] = _by_rows(load, ranks)
        taken = Plan(topology=topology, tables=fixed).rank_bytes({name: loads[name].row_bytes for name in fixed})
        task = Task(
            tuple(load for name, load in loads.items() if name not in fixed),
            topology,
            max(self._memory_bytes - max(taken), 0),
            splits,
        )
        found = find(task, self._cost or shipped_cost(), search=self._search, seconds=self._seconds).plan(task)
        whole = Plan(topology=topology, tables={name: fixed.get(name) or found.tables[name] for name in loads})
        sizes = {name: TableSize(load.rows, load.dim, load.row_bytes) for name, load in loads.items()}
        check_fits(whole, sizes, self._memory_bytes)
        return whole

    def _types(self, name: str) -> set[str]:
        given = getattr(self._constraints.get(name), "sharding_types", None)
        if given is None:
            return set(KNOWN_TYPES) - {COPIED}
        types = {str(getattr(own, "value", own)) for own in given} & set(KNOWN_TYPES)
        if not types:
            raise InputError(
                f"table {name!r} may only be sharded in ways that are not known here",
                got=", ".join(map(str, given)),
                expected=", ".join(KNOWN_TYPES),
            )
        return types

    def _tables(self, module: nn.Module, sharders: Sequence[Any]) -> Iterable[tuple[str, list[TableLoad]]]:
        """Each module that a sharder takes, by its path, with the loads of its tables."""
        by_type = {sharder.module_type: sharder for sharder in sharders}
        left = [("", module)]
        while left:
            path, one = left.pop(0)
            if type(one) not in by_type:
                left += [(f"{path}.{name}" if path else name, child) for name, child in one.named_children()]
                continue
            configs = getattr(one, "embedding_bag_configs", None) or getattr(one, "embedding_configs", None)
            held = by_type[type(one)].shardable_parameters(one)
            if configs is None and held:
                raise InputError(
                    f"module {path!r} is not known here",
                    got=type(one).__name__,
                    expected="EmbeddingBagCollection or EmbeddingCollection",
                )
            yield path, [self._load(config) for config in (configs() if configs else ()) if config.name in held]

    def _load(self, config: Any) -> TableLoad:
        own, num = self._constraints.get(config.name), len(config.feature_names)
        pooling = _each(getattr(own, "pooling_factors", None), num, POOLING, f"pooling_factors of {config.name!r}")
        times = _each(getattr(own, "num_poolings", None), num, 1.0, f"num_poolings of {config.name!r}")
        sizes = _each(getattr(own, "batch_sizes", None), num, self._batch_size, f"batch_sizes of {config.name!r}")
        lists = sizes * times * self._topology.world_size
        lookups = float((lists * pooling).sum())
        bits = 32 if config.data_type is None else torchrec_bits(config.data_type)
        return TableLoad(
            name=config.name,
            rows=config.num_embeddings,
            dim=config.embedding_dim,
            row_bytes=-(-config.embedding_dim * bits // 8) + self._state_bytes,
            lists=float(lists.sum()),
            lookups=lookups,
            accesses=guessed_accesses(lookups, config.num_embeddings),
        )


def torchrec_bits(data_type: Any) -> int:
    """Of one number of a TorchRec `DataType`."""
    name = str(getattr(data_type, "value", data_type))
    digits = "".join(letter for letter in name if letter.isdigit())
    return int(digits) if digits else 32


def guessed_accesses(lookups: float, rows: int) -> tuple[float, ...]:
    """The published shares of accesses; of a table with fewer rows than they would read, rows are read more often.

    >>> sum(guessed_accesses(1000, 10)[:5]), round(sum(guessed_accesses(1000, 10)), 6)
    (0.0, 1.0)
    """
    shares = np.array(ACCESS_SHARES) / sum(ACCESS_SHARES)
    for _ in range(NUM_BINS):
        if float((shares * lookups / mean_counts()).sum()) <= rows:
            break
        shares = np.concatenate([[0.0], shares[:-2], [shares[-2:].sum()]])
    return tuple(shares.tolist())


def _by_rows(load: TableLoad, ranks: int) -> Placement:
    sizes = even_blocks(load.rows, ranks)
    starts = np.cumsum([0, *sizes]).tolist()
    if min(sizes) == 0:
        raise InputError(f"table {load.name!r} has too few rows to be cut over {ranks} ranks", got=f"{load.rows} rows")
    shards = (
        Shard(rank=rank, rows=(start, start + size), columns=(0, load.dim))
        for rank, (start, size) in enumerate(zip(starts, sizes, strict=False))
    )
    return Placement(rows=load.rows, dim=load.dim, shards=tuple(shards))


def _each(given: Sequence[float] | None, num: int, otherwise: float, what: str) -> np.ndarray:
    """One number for each of `num` features."""
    own = list(given) if given else [otherwise]
    if len(own) not in (1, num):
        raise InputError(f"{what} are not one for each feature", got=len(own), expected=f"1 or {num}")
    return np.array(own * num if len(own) == 1 else own, np.float64)
