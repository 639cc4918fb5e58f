"""Which features are worth adding up where their rows are, by counted bytes.

Adding up takes as many additions on either side, so that bytes decide. Ids cross the wire in any case.
"""

from collections.abc import Mapping, Sequence

from recfold.spec import FieldSum, Placement, Plan, Read, Shard

FLOAT_BYTES, LENGTH_BYTES = 4, 4


def choose_field_sums(
    candidates: Sequence[FieldSum], reads: Sequence[Read], plan: Plan, ids_per_list: Mapping[str, float]
) -> tuple[FieldSum, ...]:
    """Those that the plan allows and that make fewer bytes cross the wire.

    Args:
        candidates: of features of one batch group and width each.
        ids_per_list: feature -> mean number of ids in a list.

    Example:
        >>> from recfold.spec import Topology, replicated, row_wise, table_wise
        >>> reads = [Read(feature=name, table=name, mode="sum") for name in "ab"]
        >>> both = FieldSum(name="ab", features=("a", "b"), squares=True)
        >>> def chosen(placed: Placement, ranks: int = 2) -> int:
        ...     plan = Plan(topology=Topology(ranks=ranks), tables={"a": placed, "b": placed})
        ...     return len(choose_field_sums([both], reads, plan, {"a": 1.0, "b": 1.0}))
        >>> chosen(replicated(8, 4)), chosen(row_wise(8, 4, ranks=(0, 1))), chosen(table_wise(8, 4, rank=1))
        (0, 0, 0)
        >>> both = both.model_copy(update={"squares": False})
        >>> chosen(table_wise(8, 4, rank=1))
        1
    """
    by_feature = {read.feature: read for read in reads}
    chosen = []
    for candidate in candidates:
        own = [by_feature[feature] for feature in candidate.features]
        placed = [plan.tables[read.table] for read in own]
        if candidate.squares and any(_is_cut_by_rows(placement) for placement in placed):
            continue
        summed = wire_bytes_of_sum(candidate, own, plan, ids_per_list)
        if summed < sum(wire_bytes_of_feature(read, plan, ids_per_list[read.feature]) for read in own):
            chosen.append(candidate)
    return tuple(chosen)


def wire_bytes_of_feature(read: Read, plan: Plan, ids: float) -> float:
    """Expected bytes of one distinct list that cross the wire: lengths, rows there, gradients back; float32.

    Args:
        ids: in a list, each in any row of the table.
    """
    placement, total = plan.tables[read.table], 0.0
    for shard in placement.shards:
        is_part = shard.num_rows < placement.rows
        asked = 1 - (1 - shard.num_rows / placement.rows) ** ids if is_part else 1.0
        total += asked * (LENGTH_BYTES + 2 * shard.dim * FLOAT_BYTES)
    return total * _remote(plan)


def wire_bytes_of_sum(
    field_sum: FieldSum, reads: Sequence[Read], plan: Plan, ids_per_list: Mapping[str, float]
) -> float:
    """The same of the lists of a sum's features: all their lengths, weights that make a mean a sum, one sum a rank."""
    total, sums = 0.0, set()
    for read in reads:
        shards: Sequence[Shard] = plan.tables[read.table].shards
        total += LENGTH_BYTES * len(shards)
        blocks = len({shard.columns for shard in shards})
        total += FLOAT_BYTES * ids_per_list[read.feature] * blocks if read.mode == "mean" else 0.0
        sums |= {(shard.rank, shard.columns) for shard in shards}
    for _, (first, stop) in sums:
        total += 2 * (stop - first) * FLOAT_BYTES * len(field_sum.outputs)
    return total * _remote(plan)


def _remote(plan: Plan) -> float:
    """Share of lists that are on another rank than a shard."""
    return 1 - 1 / plan.ranks


def _is_cut_by_rows(placement: Placement) -> bool:
    return len({shard.rows for shard in placement.shards}) > 1
