"""Tables that every rank holds: looked up at home; only the touched rows' gradients travel, to all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recfold.embed.bags import Bags, join
from recfold.embed.ops import lengths_U1, split_reads
from recfold.embed.resolved_table import ResolvedTable, initialise_
from recfold.embed.shard_state import ShardState
from recfold.embed.torch_kernel import TorchKernel
from recfold.optim import Joined, Touched, find_touched, sum_touched
from recfold.spec import Read


@dataclass(frozen=True, eq=False)
class ReplicasStep:
    """This rank's lookup of every replicated table.

    Args:
        joined: the bags of all reads of each.
        touched: rows of each that its backward changes; none where no backward follows.
    """

    joined: Sequence[Joined]
    touched: Sequence[Touched]

    def rows(self) -> list[Tensor]:
        """int64 rows that this rank will update, of each table."""
        if not self.touched:
            return [own.values[:0] for own in self.joined]
        return [own.rows_T for own in self.touched]


class Replicas:
    """Replicated tables of one rank; every rank makes the same update, so that they stay equal bit for bit.

    Args:
        tables: whole ones.
        reads: table -> its reads.
        device: of weights and bags.
        seed: of first weights.
    """

    def __init__(
        self, tables: Sequence[ResolvedTable], reads: Mapping[str, tuple[Read, ...]], device: torch.device, seed: int
    ) -> None:
        self.tables = tuple(tables)
        self._reads = [reads[table.name] for table in tables]
        self._kernel = TorchKernel(self.tables, device)
        for weight_RD, table in zip(self._kernel.weights(), self.tables, strict=True):
            initialise_(weight_RD, table, seed)

    def begin(self, bags: Mapping[str, Bags], trains: bool) -> ReplicasStep:
        """Which rows are read."""
        joined = [join(reads, bags, own.out_dtype) for own, reads in zip(self.tables, self._reads, strict=True)]
        if not trains or not joined:
            return ReplicasStep(joined, ())
        return ReplicasStep(joined, find_touched(joined, [own.rows for own in self.tables]))

    def look_up(self, step: ReplicasStep, bags: Mapping[str, Bags]) -> dict[str, Tensor]:
        """Feature -> rows."""
        found: dict[str, Tensor] = {}
        for place, (reads, joined) in enumerate(zip(self._reads, step.joined, strict=True)):
            found |= split_reads(reads, bags, self._kernel.look_up(place, joined))
        return found

    def sum_grads(self, step: ReplicasStep, grads: Mapping[str, Tensor]) -> list[Tensor]:
        """Gradients [T, D] of this rank's touched rows.

        Args:
            grads: feature -> gradient of its sums (a mean's is divided already).
        """
        summed = []
        for reads, touched in zip(self._reads, step.touched, strict=True):
            grad_ND = torch.cat([grads[read.feature] for read in reads]).contiguous()
            summed.append(sum_touched(grad_ND, touched, 0, len(touched.rows_T)))
        return summed

    def update_(self, rows: Sequence[Sequence[Tensor]], grads: Sequence[Sequence[Tensor]]) -> None:
        """Update each row that a rank has touched once, with the sum over the ranks in their order.

        Args:
            rows: [rank][table] touched rows.
            grads: [rank][table] their gradients.
        """
        joined = [Joined(torch.cat(own), None, None) for own in zip(*rows, strict=True)]
        self._kernel.update_([torch.cat(own) for own in zip(*grads, strict=True)], joined)

    def shards(self) -> list[ShardState]:
        """Live weights and optimizer state, whole."""
        held = zip(self.tables, self._kernel.weights(), self._kernel.states(), strict=True)
        return [
            ShardState(own.name, (0, own.rows), (0, own.dim), {"weight": weight_RD, **state})
            for own, weight_RD, state in held
        ]


def of_sums(read: Read, bags: Bags, grad: Tensor) -> Tensor:
    """Gradient of a read's sums from that of its output."""
    return grad / lengths_U1(bags, grad.dtype) if read.mode == "mean" else grad
