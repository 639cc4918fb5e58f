"""A whole table on one rank: for an export, not for training."""

import torch
import torch.distributed as dist
from torch import Tensor

from recfold.embed.resolved_table import ResolvedTable
from recfold.embed.shard_state import ShardState
from recfold.embed.sharded import ShardedTables
from recfold.optim import LOW_PRECISION


def gather_table(tables: ShardedTables, name: str, *, root: int = 0) -> ShardState | None:
    """Weights and optimizer state of a whole table on one rank, one shard at a time; every rank of the group calls.

    Args:
        name: of the table.
        root: rank that gets it.
    Returns:
        The table on the CPU; None on other ranks.
    """
    peers, table = tables.peers, tables.layout.tables[name]
    own = {(shard.rows, shard.columns): shard for shard in tables.shards() if shard.table == name}
    placement = tables.plan.tables[name]
    whole = _empty(table, (0, table.rows), (0, table.dim), torch.device("cpu")) if peers.rank == root else None
    for shard in placement.shards or placement.shards_of(root):
        part = own.get((shard.rows, shard.columns))
        if shard.rank == peers.rank != root:
            assert part is not None
            for tensor in part.tensors.values():
                dist.send(_sendable(tensor, peers.device), group=peers.group, group_dst=root)
        elif peers.rank == root:
            assert whole is not None
            if shard.rank != root:
                part = _empty(table, shard.rows, shard.columns, peers.device)
                for tensor in part.tensors.values():
                    dist.recv(_sendable(tensor, peers.device), group=peers.group, group_src=shard.rank)
            assert part is not None
            _fill_(whole, part)
    return whole


def _fill_(whole: ShardState, part: ShardState) -> None:
    """Copy a part into its place."""
    rows, columns = slice(*part.rows), slice(*part.columns)
    for name, tensor in whole.tensors.items():
        tensor[(rows, columns)[: tensor.dim()]].copy_(part.tensors[name])


def _empty(table: ResolvedTable, rows: tuple[int, int], columns: tuple[int, int], device: torch.device) -> ShardState:
    num_rows, dim = rows[1] - rows[0], columns[1] - columns[0]
    state_dtype = torch.float32 if table.dtype in LOW_PRECISION else table.dtype
    shapes: dict[str, tuple[int, ...]] = {"rows": (num_rows,), "entries": (num_rows, dim), "table": ()}
    tensors = {"weight": torch.empty(num_rows, dim, dtype=table.dtype, device=device)}
    for name, of in table.optimizer.state.items():
        dtype = torch.int64 if of == "table" else state_dtype
        tensors[name] = torch.empty(shapes[of], dtype=dtype, device=device)
    return ShardState(table.name, rows, columns, tensors)


def _sendable(tensor: Tensor, device: torch.device) -> Tensor:
    """Bytes of a tensor: not every backend sends every type."""
    return tensor.to(device).reshape(-1).view(torch.uint8)
