"""A plan as TorchRec's `ShardingPlan`.

| here | there | what it can say |
|---|---|---|
| table_wise | table_wise | any rank |
| column_wise | column_wise | any widths on any ranks |
| row_wise over all ranks | row_wise | block r on rank r, ceil(rows / ranks) rows each, the last ones fewer |
| row_wise over the ranks of a host | table_row_wise | the same inside the host |
| replicated | data_parallel | |

Anything else it cannot say. Cuts of `spec.row_wise` lie up to a row a rank beside TorchRec's; they are moved there.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from recfold.plan.interop.modules import torchrec_distributed
from recfold.spec import InputError, Placement, Plan, Topology

Rectangle = tuple[int, tuple[int, int], tuple[int, int]]
"""Rank, (first row, first column), (rows, columns)."""


def to_torchrec_plan(
    plan: Plan,
    modules: Mapping[str, Collection[str]] | str = "",
    *,
    device: str = "cpu",
    compute_kernel: str = "fused",
) -> Any:
    """The plan as a `torchrec.distributed.types.ShardingPlan`, for `DistributedModelParallel(plan=...)`.

    Args:
        modules: path of an `EmbeddingBagCollection` in the model that is made parallel -> its tables; or the path of
            the only one, which has all tables of the plan. "" is the model itself.
        device: `cpu` or `cuda`.
        compute_kernel: for all but replicated tables, which TorchRec trains `dense`. It has to be named: TorchRec
            takes `dense` by itself on a CPU, and leaves the update of tables to the user.
    Raises:
        InputError: TorchRec is not installed, a table is in no module or in two, or lies as TorchRec cannot say.
    """
    own = torchrec_distributed()
    given = {modules: list(plan.tables)} if isinstance(modules, str) else dict(modules)
    _check_modules(plan, given)
    return own.types.ShardingPlan(
        {
            path: own.types.EmbeddingModuleShardingPlan(
                {name: parameter_sharding(name, plan, device, compute_kernel) for name in tables}
            )
            for path, tables in given.items()
        }
    )


def parameter_sharding(name: str, plan: Plan, device: str, compute_kernel: str) -> Any:
    """One table as a `ParameterSharding`.

    Raises:
        InputError: it lies as TorchRec cannot say.
    """
    own, placement = torchrec_distributed(), plan.tables[name]
    ranks = range(plan.ranks)
    if placement.replicated:
        return own.types.ParameterSharding("data_parallel", "dense", ranks=list(ranks))
    kind, rectangles = torchrec_rectangles(name, placement, plan.topology)
    local = plan.topology.ranks_per_host or plan.ranks
    shards = [
        own.types.ShardMetadata(
            shard_offsets=list(offsets),
            shard_sizes=list(sizes),
            placement=own.plans.placement(device, rank, local),
        )
        for rank, offsets, sizes in rectangles
    ]
    return own.types.ParameterSharding(
        kind,
        compute_kernel,
        ranks=[rank for rank, _, _ in rectangles],
        sharding_spec=own.types.EnumerableShardingSpec(shards),
    )


def torchrec_rectangles(name: str, placement: Placement, topology: Topology) -> tuple[str, list[Rectangle]]:
    """TorchRec's name of what a table that is not replicated is, and its shards in TorchRec's order.

    Raises:
        InputError: it has no name for it.

    >>> from recfold.spec.plan import row_wise
    >>> kind, shards = torchrec_rectangles("a", row_wise(10, 4, ranks=range(4)), Topology(ranks=4))
    >>> kind, [rows for _, _, (rows, _) in shards]
    ('row_wise', [3, 3, 3, 1])
    """
    blocks = placement.blocks()
    if placement.kind in ("table_wise", "column_wise"):
        return placement.kind, [
            (shard.rank, (0, shard.columns[0]), (placement.rows, shard.dim)) for block in blocks for shard in block
        ]
    if placement.kind == "grid":
        raise _unsaid(name, "cuts both rows and columns")
    ranks = tuple(shard.rank for shard in blocks[0])
    if ranks == tuple(range(topology.ranks)):
        kind = "row_wise"
    elif any(ranks == topology.ranks_of(host) for host in range(topology.hosts)):
        kind = "table_row_wise"
    else:
        raise _unsaid(name, f"cuts rows over ranks {', '.join(map(str, ranks))}")
    sizes = even_blocks(placement.rows, len(ranks))
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    for shard, start in zip(blocks[0], starts, strict=True):
        if abs(shard.rows[0] - start) > len(ranks):
            raise _unsaid(
                name, f"cuts rows at {shard.rows[0]:,}, where blocks of {sizes[0]:,} rows are cut at {start:,}"
            )
    return kind, [
        (rank, (start, 0), (size, placement.dim)) for rank, start, size in zip(ranks, starts, sizes, strict=True)
    ]


def even_blocks(rows: int, parts: int) -> list[int]:
    """Rows of each block as TorchRec cuts them; the last may have none.

    >>> even_blocks(10, 4), even_blocks(5, 4)
    ([3, 3, 3, 1], [2, 2, 1, 0])
    """
    size = -(-rows // parts)
    return [max(min(rows - part * size, size), 0) for part in range(parts)]


def _unsaid(name: str, what: str) -> InputError:
    return InputError(
        f"TorchRec cannot hold table {name!r} as the plan does",
        got=f"a plan that {what}",
        expected="a whole table, columns cut anywhere, rows cut evenly over all ranks or those of a host, or copies",
        todo="plan with splits by columns only (recfold.plan.interop.RecfoldPlanner does)",
    )


def _check_modules(plan: Plan, modules: Mapping[str, Sequence[str] | Collection[str]]) -> None:
    named = [name for tables in modules.values() for name in tables]
    twice = sorted({name for name in named if named.count(name) > 1})
    missing, extra = sorted(plan.tables.keys() - set(named)), sorted(set(named) - plan.tables.keys())
    if twice:
        raise InputError(f"table {twice[0]!r} is in two modules", todo="give tables of two modules two names")
    if missing or extra:
        raise InputError(
            f"the plan's table {missing[0]!r} is in no module" if missing else f"the plan has no table {extra[0]!r}",
            got=f"modules with tables {', '.join(sorted(set(named)))}",
            expected=f"tables {', '.join(sorted(plan.tables))}",
        )
