"""The TorchRec peers as sides: one whole training step each, written as an engineer would who wants it fast.

Legend: F features, B samples, D dim.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from recfold.batch import Batch
from recfold.bench.training.peer_batches import (
    PeerBatch,
    dense_of,
    labels_of,
    lists_of,
    plain_kjt,
    pooled_tables,
    torchrec_kjt,
    variable_kjt,
)
from recfold.bench.training.peer_network import PeerDlrm, PeerEncoder
from recfold.bench.training.peer_tables import PeerTables
from recfold.model import Dlrm
from recfold.model import Sequence as HistoryModel
from recfold.spec import InputError, Schema
from recfold.train import RunSettings
from recfold.train.dense import build_optimizer
from recfold.train.learner import Learner


class PooledSide:
    """`torchrec-kjt`: a KJT that was expanded beforehand, TorchRec's DLRM, fused row-wise AdaGrad, Adam.

    Args:
        variable: `torchrec-vbe` instead: a hand-built KJT of distinct lists with a batch size per key and inverse
            indices. Lookups run on distinct lists and are copied out right after by `index_select` (TorchRec's own
            `group_index_select_dim0` takes twice as long on a CPU, most of that in its backward).
    """

    def __init__(self, schema: Schema, settings: RunSettings, *, variable: bool = False) -> None:
        learner = Learner(schema, settings)
        if not isinstance(learner.model, Dlrm):
            raise InputError("this peer is a DLRM", got=settings.model.name)
        self.device = learner.device
        self.variable = variable
        self._columns, self._wide = learner.model.columns.dense, learner.model.wide
        reads = pooled_tables(learner)
        self._features = tuple(reads)
        self._tables = PeerTables(learner, settings.tables, tuple(reads.values()))
        self.network = PeerDlrm(learner.model).to(self.device)
        self._optimizer = build_optimizer(self.network.parameters(), settings.train.dense)

    def prepare(self, batch: Batch) -> PeerBatch:
        plain = batch.expand()
        kjt = variable_kjt(batch, self._features) if self.variable else plain_kjt(plain, self._features)
        columns, wide = dense_of(plain, self._columns, self.device), dense_of(plain, self._wide, self.device)
        return PeerBatch(kjt.to(self.device), torch.cat(columns, dim=1), wide, labels_of(plain, self.device))

    def step(self, prepared: PeerBatch) -> float:
        vectors_BFD = self._distinct(prepared.kjt) if self.variable else self._tables(prepared.kjt)
        logits_BL = self.network(prepared.dense_BW, prepared.wide, vectors_BFD)
        return train_on(functional.binary_cross_entropy_with_logits(logits_BL, prepared.labels_BL), self._optimizer)

    def state(self) -> dict[str, Tensor]:
        return self._tables.state()

    def _distinct(self, kjt: Any) -> Tensor:
        _, inverse_FB = kjt.inverse_indices()
        parts = zip(self._tables.variable(kjt), inverse_FB.unbind(), strict=True)
        return torch.stack([part.index_select(0, inverse) for part, inverse in parts], dim=1)


class PaddedSide:
    """`torchrec-padded`: every sample's history looked up, padded to [B, L, D], through the transformer on all samples.

    The item and action rows of a history are added before they are padded, which is less work than after.
    """

    def __init__(self, schema: Schema, settings: RunSettings) -> None:
        learner = Learner(schema, settings)
        model = learner.model
        if not isinstance(model, HistoryModel):
            raise InputError("this peer is a history model", got=settings.model.name)
        self.device = learner.device
        self._columns, self._wide = model.dlrm.columns.dense, model.dlrm.wide
        encoders = [PeerEncoder(encoder) for encoder in model.encoders.values()]  # type: ignore[arg-type]
        tables = {read.feature: read.table for read in learner.assembled.reads}
        self._histories = [encoder.features for encoder in encoders]
        self._of_histories = [tables[name] for name in self._histories[0]]
        if any([tables[name] for name in names] != self._of_histories for names in self._histories):
            raise InputError("the peer's histories read the same tables in the same order", todo="report this")
        pooled = pooled_tables(learner)
        self._features = tuple(pooled)
        self._tables = PeerTables(learner, settings.tables, tuple(pooled.values()))
        self._rows = PeerTables(learner, settings.tables, self._of_histories)
        self.network = nn.ModuleDict({"dlrm": PeerDlrm(model.dlrm), "encoders": nn.ModuleList(encoders)})
        self.network.to(self.device)
        self._optimizer = build_optimizer(self.network.parameters(), settings.train.dense)

    def prepare(self, batch: Batch) -> PeerBatch:
        plain = batch.expand()
        lists = lists_of(plain)
        bags = [[lists[name].bags(name) for name in names] for names in self._histories]
        values = [torch.cat([values for values, *_ in own]) for own in zip(*bags, strict=True)]
        rows = torchrec_kjt(
            self._of_histories,
            torch.cat(values),
            torch.ones(sum(len(part) for part in values), dtype=torch.int64),
            stride=len(values[0]),
        )
        return PeerBatch(
            plain_kjt(plain, self._features).to(self.device),
            torch.cat(dense_of(plain, self._columns, self.device), dim=1),
            dense_of(plain, self._wide, self.device),
            labels_of(plain, self.device),
            rows.to(self.device),
            [own[0][1].to(self.device) for own in bags],
        )

    def step(self, prepared: PeerBatch) -> float:
        vectors_BFD = self._tables(prepared.kjt)
        added_ND = self._rows(prepared.rows).sum(1)
        parts = added_ND.split([int(offsets[-1]) for offsets in prepared.offsets])
        encoders: Any = self.network["encoders"]
        encoded = [
            encoder(rows_VD, offsets)
            for encoder, rows_VD, offsets in zip(encoders, parts, prepared.offsets, strict=True)
        ]
        all_BFD = torch.cat([vectors_BFD, torch.stack(encoded, dim=1)], dim=1)
        logits_BL = self.network["dlrm"](prepared.dense_BW, prepared.wide, all_BFD)
        return train_on(functional.binary_cross_entropy_with_logits(logits_BL, prepared.labels_BL), self._optimizer)

    def state(self) -> dict[str, Tensor]:
        return self._tables.state() | self._rows.state()


def train_on(loss: Tensor, optimizer: torch.optim.Optimizer) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise InputError(f"the loss of a peer is {value}", todo="report this")
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return value
