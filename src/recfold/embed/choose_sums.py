"""Which features are worth adding up where their rows are, by counted bytes and multiplications.

Adding up takes as many additions on either side, so that bytes decide; only a matrix that several ranks multiply their
parts of the same rows with costs more on one side. Ids cross the wire in any case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from recfold.comm import codec_named
from recfold.spec import FieldSum, Placement, Plan, Read

LENGTH_BYTES = 4
FLOPS_PER_BYTE = 100.0
"""Floating-point operations that take about as long as a byte on the wire: 1e10 a second and core against 1 Gbit/s."""


@dataclass(frozen=True)
class WireRow:
    """How rows, sums and their gradients travel.

    Args:
        codec: a name in `recfold.comm.CODECS`.
        dtype: of looked-up rows.

    >>> WireRow().there_and_back(16), WireRow("fp16").there_and_back(16), WireRow("int8").there_and_back(16)
    (128, 64, 40)
    """

    codec: str = "fp32"
    dtype: torch.dtype = torch.float32

    def there_and_back(self, dim: int) -> int:
        """Bytes of a row of so many numbers and of its gradient."""
        own = codec_named(self.codec)
        return own.vectors.row_bytes(dim, self.dtype) + own.gradients.row_bytes(dim, self.dtype)


AS_FLOATS = WireRow()


def possible_sums(candidates: Sequence[FieldSum], reads: Sequence[Read], plan: Plan) -> tuple[FieldSum, ...]:
    """What of each candidate the plan allows: squares of pooled rows need tables that are not cut by rows."""
    table_of = {read.feature: read.table for read in reads}
    found = []
    for own in candidates:
        kept = tuple(
            feature
            for feature in own.features
            if own.squares != "fields" or not _is_cut_by_rows(plan.tables[table_of[feature]])
        )
        if kept:
            found.append(own.model_copy(update={"features": kept}))
    return tuple(found)


def saved_by_sum(
    field_sum: FieldSum,
    reads: Sequence[Read],
    plan: Plan,
    ids_per_list: Mapping[str, float],
    wire_row: WireRow = AS_FLOATS,
) -> float:
    """Expected bytes of a distinct list that do not cross the wire, less what a matrix costs, as bytes."""
    own = [read for read in reads if read.feature in field_sum.features]
    by_id = field_sum.squares == "ids"
    apart = sum(wire_bytes_of_feature(read, plan, ids_per_list[read.feature], wire_row, by_id=by_id) for read in own)
    summed = wire_bytes_of_sum(field_sum, own, plan, ids_per_list, wire_row)
    return apart - summed - more_flops_of_sum(field_sum, own, plan) / FLOPS_PER_BYTE


def wire_bytes_of_feature(
    read: Read, plan: Plan, ids: float, wire_row: WireRow = AS_FLOATS, *, by_id: bool = False
) -> float:
    """Expected bytes of one distinct list that cross the wire: lengths, rows there, gradients back.

    Args:
        ids: in a list, each in any row of the table.
        wire_row: how rows travel.
        by_id: the row of each id travels, because squares count them one by one.
    """
    placement, total = plan.tables[read.table], 0.0
    for shard in placement.shards:
        if by_id:
            total += ids * shard.num_rows / placement.rows * wire_row.there_and_back(shard.dim)
            continue
        is_part = shard.num_rows < placement.rows
        asked = 1 - (1 - shard.num_rows / placement.rows) ** ids if is_part else 1.0
        total += asked * (LENGTH_BYTES + wire_row.there_and_back(shard.dim))
    return total * _remote(plan)


def wire_bytes_of_sum(
    field_sum: FieldSum,
    reads: Sequence[Read],
    plan: Plan,
    ids_per_list: Mapping[str, float],
    wire_row: WireRow = AS_FLOATS,
) -> float:
    """The same of the lists of a sum's features: all their lengths, weights that make a mean a sum, one sum a rank."""
    total = 0.0
    sums: set[tuple[int, tuple[int, int] | None]] = set()
    for read in reads:
        shards = plan.tables[read.table].shards
        total += LENGTH_BYTES * len(shards)
        blocks = len({shard.columns for shard in shards})
        # no codec shortens weights
        total += wire_row.dtype.itemsize * ids_per_list[read.feature] * blocks if read.mode == "mean" else 0.0
        sums |= {(shard.rank, shard.columns if field_sum.adds_columns else None) for shard in shards}
    for _, columns in sums:
        dim = 0 if columns is None else columns[1] - columns[0]
        total += sum(wire_row.there_and_back(field_sum.width(output, dim)) for output in field_sum.outputs)
    return total * _remote(plan)


def more_flops_of_sum(field_sum: FieldSum, reads: Sequence[Read], plan: Plan) -> float:
    """Floating-point operations of a list, there and back, that all ranks do more than one that has all rows."""
    multiplied = 0
    for read in reads:
        placement = plan.tables[read.table]
        if not placement.replicated:
            multiplied += sum(shard.dim for shard in placement.shards) - placement.dim
    return 6.0 * field_sum.product * multiplied


def _remote(plan: Plan) -> float:
    """Share of lists that are on another rank than a shard."""
    return 1 - 1 / plan.ranks


def _is_cut_by_rows(placement: Placement) -> bool:
    return len({shard.rows for shard in placement.shards}) > 1
