"""Embedding tables, whole or sharded over ranks: pooled rows or sequences of rows out, one exact update a step back.

Legend: R rows of a table, D embedding dim, U bags of a feature, V ids in all bags, N bags of a table's joined reads.

    reads of one table            joined               out                     backward
    'likes'  sum   [7,9] [4]      [7,9] [4] | [9]      sums_ND -> 'likes' [2, D]   each distinct row (4, 7, 9) once
    'last'   rows  9                                          -> 'last'  [1, D]

Kernels: `fbgemm` (FBGEMM's table-batched op, on a CPU) and `torch` (everything, everywhere) train the same tables.
`ShardedTables` (sharded.py: one forward, top to bottom) has the outputs and the updates of `EmbeddingTables`.
"""

from recfold.embed.bags import Bags
from recfold.embed.choose_sums import (
    WireRow,
    more_flops_of_sum,
    possible_sums,
    saved_by_sum,
    wire_bytes_of_feature,
    wire_bytes_of_sum,
)
from recfold.embed.field_sums import as_weighted, field_sums_reference
from recfold.embed.kept_memory import keep_freed_memory
from recfold.embed.kernel_choice import KernelName
from recfold.embed.lone_shards import LoneShards
from recfold.embed.lookup import Lookup
from recfold.embed.reference import lookup_reference
from recfold.embed.shard_state import ShardState, whole_state
from recfold.embed.sharded import ShardedTables
from recfold.embed.shared_storage import SharedStorage
from recfold.embed.table_sizes import table_sizes
from recfold.embed.tables import EmbeddingTables

__all__ = [
    "Bags",
    "EmbeddingTables",
    "KernelName",
    "LoneShards",
    "Lookup",
    "ShardState",
    "ShardedTables",
    "SharedStorage",
    "WireRow",
    "as_weighted",
    "field_sums_reference",
    "keep_freed_memory",
    "lookup_reference",
    "more_flops_of_sum",
    "possible_sums",
    "saved_by_sum",
    "table_sizes",
    "whole_state",
    "wire_bytes_of_feature",
    "wire_bytes_of_sum",
]
