"""What a plan puts on each rank."""

from collections.abc import Mapping
from dataclasses import dataclass

from recfold.plan.sizes import TableSize
from recfold.spec import Plan


@dataclass(frozen=True)
class RankShare:
    """What one rank holds.

    Args:
        tables: table -> bytes of it on this rank, weights and optimizer state; largest first.
        kinds: table -> how it is cut.
    """

    rank: int
    tables: Mapping[str, int]
    kinds: Mapping[str, str]

    @property
    def num_bytes(self) -> int:
        return sum(self.tables.values())


def shares(plan: Plan, tables: Mapping[str, TableSize]) -> tuple[RankShare, ...]:
    """What every rank holds.

    Example:
        >>> from recfold.spec import Topology
        >>> from recfold.spec.plan import table_wise
        >>> sizes = {"a": TableSize(10, 4, 20), "b": TableSize(6, 4, 20)}
        >>> placed = {"a": table_wise(10, 4, rank=0), "b": table_wise(6, 4, rank=0)}
        >>> plan = Plan(topology=Topology(ranks=1), tables=placed)
        >>> [(share.rank, dict(share.tables)) for share in shares(plan, sizes)]
        [(0, {'a': 200, 'b': 120})]
    """
    found = []
    for rank in range(plan.ranks):
        held: dict[str, int] = {}
        for name, placed in plan.tables.items():
            cells = sum(shard.num_rows * shard.dim for shard in placed.shards_of(rank))
            if cells:
                held[name] = -(-cells * tables[name].row_bytes // placed.dim)
        ordered = dict(sorted(held.items(), key=lambda item: -item[1]))
        found.append(RankShare(rank, ordered, {name: plan.tables[name].kind for name in ordered}))
    return tuple(found)
