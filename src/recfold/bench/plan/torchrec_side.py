"""TorchRec's planner on a task.

What it gets is what the searches get, as far as it can be told:

* a topology of CPUs on one host with the task's memory; links so fast that communication, which is not measured here,
  costs nothing; the other constants of its performance model as they come (memory bandwidth only scales its times)
* lists and pooling factors of each table; `fused` as the kernel
* table-wise placement; with splits, row-wise and column-wise too, columns in halves (of its own accord it cuts no
  table of less than 256 columns)
* bytes of weights and optimizer state as we count them: its own estimate adds buffers of the exchange, and calls tasks
  impossible for these
"""

import functools
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import torch

from recfold.bench.training.torchrec_modules import torchrec_modules
from recfold.embed.quiet import quiet
from recfold.plan.piece import Piece
from recfold.plan.task import Assignment, Task
from recfold.spec import InputError

FREE_BYTES_PER_MS = 1e18
"""Of links that cost nothing."""


@functools.cache
def torchrec_planning() -> dict[str, Any]:
    """TorchRec's modules by short names, imported once a process."""
    torchrec_modules()
    names = ("enumerators", "planners", "shard_estimators", "storage_reservations", "types")
    with quiet():
        found = {name: import_module(f"torchrec.distributed.planner.{name}") for name in names}
        found["configs"] = import_module("torchrec.modules.embedding_configs")
        found["modules"] = import_module("torchrec.modules.embedding_modules")
        found["sharders"] = import_module("torchrec.distributed.embeddingbag")
    return found


class TaskBytes:
    """A storage estimator that counts what a task counts.

    Args:
        task: whose tables have bytes a row.
        storage: TorchRec's type of sizes.
    """

    def __init__(self, task: Task, storage: Any) -> None:
        self._tables, self._storage = {table.name: table for table in task.tables}, storage

    def estimate(self, sharding_options: Sequence[Any], **about: Any) -> None:
        """Write the bytes of each shard of each option."""
        for option in sharding_options:
            table = self._tables[option.name]
            for shard in option.shards:
                rows, dim = shard.size
                shard.storage = self._storage(hbm=0, ddr=-(-rows * dim * table.row_bytes // table.dim))


def torchrec_assignment(task: Task) -> Assignment:
    """The plan of TorchRec's `EmbeddingShardingPlanner`.

    Raises:
        InputError: TorchRec is not installed, or finds no plan.
    """
    own = torchrec_planning()
    types = own["types"]
    with quiet():
        topology = types.Topology(
            world_size=task.ranks,
            compute_device="cpu",
            ddr_cap=task.memory_bytes if task.memory_bytes is not None else sum(t.num_bytes for t in task.tables),
            local_world_size=task.ranks,
            intra_host_bw=FREE_BYTES_PER_MS,
            inter_host_bw=FREE_BYTES_PER_MS,
        )
        constraints = _constraints(task, types)
        batch_size = max(round(max(table.lists for table in task.tables) / task.ranks), 1)
        perf = own["shard_estimators"].EmbeddingPerfEstimator(topology=topology, constraints=constraints)
        planner = own["planners"].EmbeddingShardingPlanner(
            topology=topology,
            batch_size=batch_size,
            enumerator=own["enumerators"].EmbeddingEnumerator(
                topology=topology,
                batch_size=batch_size,
                constraints=constraints,
                estimator=[perf, TaskBytes(task, types.Storage)],
            ),
            storage_reservation=own["storage_reservations"].FixedPercentageStorageReservation(percentage=0.0),
            constraints=constraints,
            debug=False,
            stats=[],
        )
        try:
            plan = planner.plan(_module(task, own), [own["sharders"].EmbeddingBagCollectionSharder()])
        except types.PlannerError as error:
            raise InputError("TorchRec finds no plan", got=str(error).strip().splitlines()[0]) from None
    return _assignment(task, plan.plan[""])


def _constraints(task: Task, types: Any) -> dict[str, Any]:
    kinds = [
        "table_wise",
        *(kind for way, kind in (("rows", "row_wise"), ("columns", "column_wise")) if way in task.splits),
    ]
    return {
        table.name: types.ParameterConstraints(
            sharding_types=kinds,
            compute_kernels=["fused"],
            min_partition=max(table.dim // 2, 4),
            pooling_factors=[table.lookups / table.lists],
            batch_sizes=[max(round(table.lists / task.ranks), 1)],
        )
        for table in task.tables
    }


def _module(task: Task, own: dict[str, Any]) -> Any:
    return own["modules"].EmbeddingBagCollection(
        tables=[
            own["configs"].EmbeddingBagConfig(
                name=table.name,
                num_embeddings=table.rows,
                embedding_dim=table.dim,
                feature_names=[f"{table.name}_ids"],
            )
            for table in task.tables
        ],
        device=torch.device("meta"),
    )


def _assignment(task: Task, placed: Any) -> Assignment:
    pieces, ranks = [], []
    for table in task.tables:
        for shard in placed[table.name].sharding_spec.shards:
            (row, column), (rows, dim) = shard.shard_offsets, shard.shard_sizes
            if rows and dim:
                pieces.append(Piece(table, (row, row + rows), (column, column + dim)))
                ranks.append(shard.placement.rank())
    return Assignment(tuple(pieces), np.array(ranks, np.int64))
