"""TorchRec and FBGEMM, imported when a peer is built: neither is needed for anything else."""

import functools
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from recfold.plan.interop.modules import importing_torchrec


@dataclass(frozen=True)
class TorchRec:
    """The modules that the peers are made of.

    Args:
        jagged: torchrec.sparse.jagged_tensor.
        dlrm: torchrec.models.dlrm.
        fbgemm: FBGEMM's table-batched op, which TorchRec's own fused embedding modules wrap.
    """

    jagged: Any
    dlrm: Any
    fbgemm: Any


@functools.cache
def torchrec_modules() -> TorchRec:
    """Import them, once a process.

    Raises:
        InputError: TorchRec or FBGEMM is not installed, or does not load.
    """
    with importing_torchrec():
        jagged = import_module("torchrec.sparse.jagged_tensor")
        # the first KJT of a process logs a warning that is about another use
        jagged.KeyedJaggedTensor(["a"], torch.arange(1), lengths=torch.ones(1, dtype=torch.int64))
        return TorchRec(
            jagged,
            import_module("torchrec.models.dlrm"),
            import_module("fbgemm_gpu.split_table_batched_embeddings_ops_training"),
        )
