"""One of two ranks that hold TorchRec's embedding bags by a plan of ours: python torchrec_rank.py FOLDER RANK."""

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from recfold.embed.quiet import quiet
from recfold.plan import load_plan
from recfold.plan.interop import RecfoldPlanner, to_torchrec_plan
from recfold.spec import InputError

with quiet():
    from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
    from torchrec.distributed.model_parallel import DistributedModelParallel
    from torchrec.distributed.planner import ParameterConstraints, Topology
    from torchrec.distributed.types import ShardingEnv
    from torchrec.modules.embedding_configs import EmbeddingBagConfig
    from torchrec.modules.embedding_modules import EmbeddingBagCollection
    from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

BATCH = 6


class Model(torch.nn.Module):
    """Embedding bags below a path, as in a model."""

    def __init__(self, sizes: dict[str, tuple[int, int]]) -> None:
        super().__init__()
        self.tables = EmbeddingBagCollection(
            tables=[
                EmbeddingBagConfig(name=name, num_embeddings=rows, embedding_dim=dim, feature_names=[f"{name}_ids"])
                for name, (rows, dim) in sizes.items()
            ]
        )

    def forward(self, ids: Any) -> torch.Tensor:
        return self.tables(ids).to_dict()


def batch(sizes: dict[str, tuple[int, int]], rank: int) -> Any:
    draw = torch.Generator().manual_seed(rank)
    lengths = torch.randint(0, 4, (len(sizes) * BATCH,), generator=draw)
    values = [
        torch.randint(0, rows, (int(own.sum()),), generator=draw)
        for (rows, _), own in zip(sizes.values(), lengths.split(BATCH), strict=True)
    ]
    return KeyedJaggedTensor([f"{name}_ids" for name in sizes], torch.cat(values), lengths=lengths)


def furthest(plan: Any, sizes: dict[str, tuple[int, int]], rank: int) -> float:
    """Largest difference of what the sharded model gives from what the whole one gives."""
    torch.manual_seed(0)
    whole = Model(sizes)
    weights = {name: own.weight.detach().clone() for name, own in whole.tables.embedding_bags.items()}
    env = ShardingEnv.from_process_group(dist.group.WORLD)
    sharder = EmbeddingBagCollectionSharder()
    parallel = DistributedModelParallel(
        Model(sizes), env=env, device=torch.device("cpu"), plan=plan, sharders=[sharder], init_data_parallel=True
    )
    for name, stored in parallel.module.tables.state_dict().items():
        weight = weights[name.split(".")[-2]]
        if isinstance(stored, torch.Tensor) and not hasattr(stored, "local_shards"):
            stored.copy_(weight)
            continue
        for shard in stored.local_shards():
            (row, column), (rows, dim) = shard.metadata.shard_offsets, shard.metadata.shard_sizes
            shard.tensor.detach().copy_(weight[row : row + rows, column : column + dim])
    ids = batch(sizes, rank)
    with torch.no_grad():
        expected, found = whole(ids), parallel(ids)
    return max(float((found[name] - expected[name]).abs().max()) for name in expected)


def planned(sizes: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Our planner where TorchRec takes one, and what it raises on every rank."""
    constraints = {name: ParameterConstraints(pooling_factors=[2.0]) for name in sizes}
    topology = Topology(world_size=2, compute_device="cpu", local_world_size=2)
    sharders = [EmbeddingBagCollectionSharder()]
    planner = RecfoldPlanner(topology, batch_size=BATCH, constraints=constraints, memory_bytes=3000)
    plan = planner.collective_plan(Model(sizes), sharders, dist.group.WORLD)
    try:
        RecfoldPlanner(topology, memory_bytes=10).collective_plan(Model(sizes), sharders)
        problem = ""
    except InputError as error:
        problem = str(error)
    kinds = {name: own.sharding_type for name, own in plan.plan["tables"].items()}
    return {"plan": plan, "kinds": kinds, "problem": problem}


def main(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    plan = load_plan(folder / "plan.json")
    sizes = {name: (own.rows, own.dim) for name, own in plan.tables.items()}
    with quiet():
        own = planned(sizes)
        found = {
            "exported": furthest(to_torchrec_plan(plan, "tables"), sizes, rank),
            "planned": furthest(own["plan"], sizes, rank),
            "kinds": own["kinds"],
            "problem": own["problem"],
        }
    (folder / f"{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
