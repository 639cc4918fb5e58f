"""A TorchRec peer's embedding tables: FBGEMM's table-batched op with the fused exact optimizer, on whole KJTs.

TorchRec's sharded `EmbeddingBagCollection` hands `kjt.values()` and `kjt.offsets()` to this op as they are
(`BatchedFusedEmbeddingBag`); its single-process `FusedEmbeddingBagCollection` first splits the KJT into features, joins
them again and adds up their lengths, which only costs time. So the peers call the op directly, with int64 ids (int32 is
no faster forward and backward together) and without its check of bounds. Its mode without pooling does not exist on a
CPU, so that a row of a sequence is a bag of one id.

Legend: F features, B samples, U distinct lists, D dim.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from recfold.bench.training.torchrec_modules import torchrec_modules
from recfold.spec import InputError
from recfold.train.learner import Learner
from recfold.train.settings import TableDefaults


class PeerTables:
    """Tables of a learner with its weights; each list's rows are summed.

    Args:
        learner: at its first step; its tables are copied.
        sparse: update rule of all of them.
        tables: the table of each key of the KJT.
    Raises:
        InputError: TorchRec is not installed, or an update rule that the peers do not have.
    """

    def __init__(self, learner: Learner, sparse: TableDefaults, tables: Sequence[str]) -> None:
        fbgemm = torchrec_modules().fbgemm
        own, device = learner.assembled.tables.state(), learner.device
        self.names = tuple(dict.fromkeys(tables))
        shapes = [own[f"{name}.weight"].shape for name in self.names]
        self.dim = shapes[0][1]
        cuda = device.type == "cuda"
        place = (
            fbgemm.EmbeddingLocation.DEVICE if cuda else fbgemm.EmbeddingLocation.HOST,
            fbgemm.ComputeDevice.CUDA if cuda else fbgemm.ComputeDevice.CPU,
        )
        self._op: Any = fbgemm.SplitTableBatchedEmbeddingBagsCodegen(
            [(rows, dim, *place) for rows, dim in shapes],
            feature_table_map=[self.names.index(table) for table in tables],
            pooling_mode=fbgemm.PoolingMode.SUM,
            bounds_check_mode=fbgemm.BoundsCheckMode.NONE,
            device=device,
            **_update_rule(sparse),
        )
        for name, weight in zip(self.names, self._op.split_embedding_weights(), strict=True):
            weight.detach().copy_(own[f"{name}.weight"])

    def __call__(self, kjt: Any) -> Tensor:
        """Pooled rows [B, F, D]."""
        out: Tensor = self._op(kjt.values(), kjt.offsets())
        return out.view(kjt.stride(), -1, self.dim)

    def variable(self, kjt: Any) -> list[Tensor]:
        """Pooled distinct lists of each feature of a KJT with a batch size per key: F tensors [U, D]."""
        strides = kjt.stride_per_key_per_rank()
        out: Tensor = self._op(kjt.values(), kjt.offsets(), batch_size_per_feature_per_rank=strides)
        return [part.view(-1, self.dim) for part in out.split([stride * self.dim for (stride,) in strides])]

    def state(self) -> dict[str, Tensor]:
        """`<table>.weight` and `<table>.sum`, live."""
        weights, states = self._op.split_embedding_weights(), self._op.split_optimizer_states()
        found = {f"{name}.weight": weight.detach() for name, weight in zip(self.names, weights, strict=True)}
        return found | {f"{name}.sum": state[0].detach() for name, state in zip(self.names, states, strict=True)}


def _update_rule(sparse: TableDefaults) -> dict[str, Any]:
    """The op's optimizer, as the workloads say it: row-wise AdaGrad."""
    fbgemm = torchrec_modules().fbgemm
    if sparse.optimizer != "rowwise_adagrad" or sparse.weight_decay:
        raise InputError("the peers train tables by row-wise AdaGrad without weight decay", got=sparse.optimizer)
    return {
        "optimizer": fbgemm.OptimType.EXACT_ROWWISE_ADAGRAD,
        "learning_rate": sparse.learning_rate,
        "eps": sparse.eps,
        "weights_precision": fbgemm.SparseType.FP32,
        "output_dtype": fbgemm.SparseType.FP32,
        "stochastic_rounding": False,
    }
