"""TorchRec's DistributedModelParallel as a side: table-wise shards, fused row-wise AdaGrad, DDP for the dense part."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from recfold.batch import Batch
from recfold.bench.exchange.tap import Tap
from recfold.bench.training.peer_batches import (
    PeerBatch,
    dense_of,
    labels_of,
    plain_kjt,
    pooled_tables,
    variable_kjt,
)
from recfold.bench.training.peer_network import PeerDlrm
from recfold.bench.training.torchrec_modules import torchrec_modules
from recfold.embed import ShardedTables
from recfold.embed.quiet import quiet
from recfold.model import Dlrm
from recfold.plan.interop.modules import torchrec_distributed
from recfold.spec import InputError, Plan, Schema
from recfold.train import RunSettings
from recfold.train.dense import build_optimizer
from recfold.train.learner import Learner
from recfold.train.ranks import Ranks
from recfold.train.settings import TableDefaults


class TorchRecSide:
    """`torchrec-kjt`: expanded KJTs; `torchrec-vbe`: distinct lists with a batch size per key and inverse indices.

    The compute kernel `fused` is asked for: without it TorchRec takes `dense` on a CPU, which leaves the update to the
    user and has no batch sizes of their own for keys. TorchRec divides gradients of tables by the number of ranks and
    DDP averages: each rank's loss is the mean over its own samples, and all batches have as many of them.

    Args:
        plan: whole tables on ranks.
        ranks: more than one.
        variable: `torchrec-vbe`.
    Raises:
        InputError: TorchRec is not installed, or another model or update rule than the peers have.
    """

    def __init__(
        self, schema: Schema, settings: RunSettings, plan: Plan, ranks: Ranks, tap: Tap, *, variable: bool
    ) -> None:
        learner = Learner(schema, settings, plan=plan, ranks=ranks)
        if not isinstance(learner.model, Dlrm) or not isinstance(learner.assembled.tables, ShardedTables):
            raise InputError("this peer is a DLRM on several ranks", got=settings.model.name)
        self._variable, self._tap = variable, tap
        self._columns, self._wide = learner.model.columns.dense, learner.model.wide
        by_feature = pooled_tables(learner)
        # vectors leave in the order of ranks: asked for in that order, nobody has to put them into another one
        rank_of = {feature: plan.tables[table].shards[0].rank for feature, table in by_feature.items()}
        reads = {feature: by_feature[feature] for feature in sorted(by_feature, key=rank_of.__getitem__)}
        order = [list(by_feature).index(feature) for feature in reads]
        self._features = tuple(reads)
        if len(set(reads.values())) < len(reads):
            raise InputError("the peers have a table of its own for each feature", todo="report this")
        with quiet():
            self._model = _parallel(PeerModel(learner, reads, order), plan, reads, settings.tables)
        weights = {own.table: own.tensors["weight"] for own in learner.assembled.tables.shards()}
        for name, stored in self._model.module.tables.state_dict().items():
            for shard in stored.local_shards():
                shard.tensor.detach().copy_(weights[name.split(".")[-2]])
        dense = list(self._model.module.network.parameters())
        self._optimizer = build_optimizer(dense, settings.train.dense)
        self._dense_bytes = sum(own.numel() * own.element_size() for own in dense)
        self._steps = 0

    def prepare(self, batch: Batch) -> PeerBatch:
        plain, device = batch.expand(), torch.device("cpu")
        # lengths travel too: as int32, as ours do
        make, source = (variable_kjt, batch) if self._variable else (plain_kjt, plain)
        kjt = make(source, self._features, lengths_dtype=torch.int32)
        columns, wide = dense_of(plain, self._columns, device), dense_of(plain, self._wide, device)
        return PeerBatch(kjt, torch.cat(columns, dim=1), wide, labels_of(plain, device))

    def steps(self, prepared: Sequence[PeerBatch]) -> list[float]:
        return [self._step(batch) for batch in prepared]

    def sent(self) -> dict[str, int]:
        dense, self._steps = self._steps * self._dense_bytes, 0
        return self._tap.take() | {"dense": dense}

    def waited_ms(self) -> float | None:
        return None

    def _step(self, batch: PeerBatch) -> float:
        loss = functional.binary_cross_entropy_with_logits(self._model(batch), batch.labels_BL)
        value = float(loss.detach())
        with self._tap.during("gradients"):
            loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._steps += 1
        return value


class PeerModel(nn.Module):
    """TorchRec's embedding bags and DLRM.

    Args:
        learner: whose dense weights are copied.
        reads: feature -> its table.
        order: number of each of these features among the model's.
    """

    def __init__(self, learner: Learner, reads: dict[str, str], order: Sequence[int]) -> None:
        super().__init__()
        modules, sizes = torchrec_distributed(), learner.plan
        assert sizes is not None
        self.dim = next(iter(sizes.tables.values())).dim
        self.tables = modules.modules.EmbeddingBagCollection(
            tables=[
                modules.configs.EmbeddingBagConfig(
                    name=table,
                    num_embeddings=sizes.tables[table].rows,
                    embedding_dim=sizes.tables[table].dim,
                    feature_names=[feature],
                )
                for feature, table in reads.items()
            ],
            device=torch.device("meta"),
        )
        self.network = PeerDlrm(learner.model, order)  # type: ignore[arg-type]

    def forward(self, batch: PeerBatch) -> Tensor:
        """Logits [B, num_labels]."""
        vectors: Tensor = self.tables(batch.kjt).values()
        logits: Tensor = self.network(batch.dense_BW, batch.wide, vectors.view(len(vectors), -1, self.dim))
        return logits


def _parallel(model: PeerModel, plan: Plan, reads: dict[str, str], sparse: TableDefaults) -> Any:
    """The model over the ranks of the default group."""
    if sparse.optimizer != "rowwise_adagrad" or sparse.weight_decay:
        raise InputError("the peers train tables by row-wise AdaGrad without weight decay", got=sparse.optimizer)
    modules, fbgemm = torchrec_distributed(), torchrec_modules().fbgemm
    sharder = modules.sharders.EmbeddingBagCollectionSharder(
        fused_params={
            "optimizer": fbgemm.OptimType.EXACT_ROWWISE_ADAGRAD,
            "learning_rate": sparse.learning_rate,
            "eps": sparse.eps,
            "stochastic_rounding": False,
            "bounds_check_mode": fbgemm.BoundsCheckMode.NONE,
        }
    )
    ranks = dist.get_world_size()
    tables = modules.plans.construct_module_sharding_plan(
        model.tables,
        {
            table: modules.plans.table_wise(rank=plan.tables[table].shards[0].rank, compute_kernel="fused")
            for table in reads.values()
        },
        sharder=sharder,
        local_size=ranks,
        world_size=ranks,
        device_type="cpu",
    )
    return modules.parallel.DistributedModelParallel(
        model,
        env=modules.types.ShardingEnv.from_process_group(dist.group.WORLD),
        device=torch.device("cpu"),
        plan=modules.types.ShardingPlan({"tables": tables}),
        sharders=[sharder],
    )
