"""Folding never changes what is trained: on, lookups and off take the same steps, on generated and on real logs."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import recfold
from recfold.batch import Batch
from recfold.embed import Bags
from recfold.spec import Read
from recfold.table import FoldedTable
from recfold.train import RunSettings
from recfold.train.effective import run_schema
from recfold.train.learner import Learner
from recfold.train.loss import weighted_loss
from recfold.train.scores import reader_of

Settings = Callable[..., RunSettings]
WAYS = ("on", "lookups", "off")
KERNELS = ("torch", "fbgemm")
PLAIN = ("train.dtype=float64", "tables.kernel=torch")
SMALL = 'model.options={"bottom": [8], "top": [16]}'
LAYER_NORM_WITHIN = 1e-4
"""In float32 torch adds the gradients of LayerNorm row after row: on MovieLens those of the plain run are themselves
1.3e-5 of their largest entry away from float64, so that two orders of summation cannot agree to 1e-5."""
SGD = ("train.dense.name=SGD", 'train.dense.options={"lr": 0.1}')


def batches_of(table: FoldedTable, settings: RunSettings, count: int) -> list[Batch]:
    """So many batches, over as many epochs as it takes."""
    found: list[Batch] = []
    schema = run_schema(table.schema, None, settings.tables)
    with reader_of(table, "train", schema, settings, order=settings.train.order) as reader:
        while len(found) < count:
            found += reader
    return found[:count]


def learner_of(table: FoldedTable, settings: RunSettings, way: str) -> Learner:
    own = settings.model_copy(update={"train": settings.train.model_copy(update={"fold": way})})
    return Learner(run_schema(table.schema, None, own.tables), own)


def weights_of(learner: Learner) -> dict[str, Tensor]:
    """Everything that training changes but the dense optimizer's state."""
    return {**learner.model.state_dict(), **learner.assembled.tables.state()}


def farthest(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Largest difference of two states, relative to the largest entry of each tensor."""
    assert a.keys() == b.keys()
    away = [float((a[n] - b[n]).abs().max() / a[n].abs().max().clamp(min=1e-300)) for n in a if a[n].numel()]
    return max(away, default=0.0)


def check_steps_agree(table: FoldedTable, settings: RunSettings, steps: int, within: float) -> None:
    """Losses of every step, and weights and optimizer sums after the last, are those of the plain way."""
    batches = batches_of(table, settings, steps)
    learners = {way: learner_of(table, settings, way) for way in WAYS}
    first = {name: tensor.clone() for name, tensor in weights_of(learners["off"]).items()}
    for batch in batches:
        losses = {way: learner.step(batch).loss for way, learner in learners.items()}
        assert max(losses.values()) - min(losses.values()) <= within * losses["off"]
    last = weights_of(learners["off"])
    assert farthest(first, last) > 1e-3
    for way in ("on", "lookups"):
        assert farthest(last, weights_of(learners[way])) <= within


def check_first_step_agrees(table: FoldedTable, settings: RunSettings) -> None:
    """In float32: loss to 1e-6, the gradient of every tensor to 1e-5 of its largest entry (LayerNorm: 1e-4).

    Tables are read off their update by SGD, with a rate at which the gradient outweighs the rounding of the weight.
    """
    sgd = {"optimizer": "sgd", "learning_rate": 100.0}
    settings = settings.model_copy(update={"tables": settings.tables.model_copy(update=sgd)})
    batch = batches_of(table, settings, 1)[0]
    losses: dict[str, float] = {}
    changes: dict[str, dict[str, Tensor]] = {}
    for way in WAYS:
        learner = learner_of(table, settings, way)
        before = {name: tensor.clone() for name, tensor in learner.assembled.tables.state().items()}
        learner.model.train()
        prepared = learner.prepared(batch)
        loss = weighted_loss(learner.logits(prepared), prepared, learner.label_weights_L)
        loss.backward()
        losses[way] = float(loss.detach())
        after = learner.assembled.tables.state()
        changes[way] = {name: after[name].double() - before[name].double() for name in after}
        changes[way] |= {n: p.grad for n, p in learner.model.named_parameters() if p.grad is not None}
    assert max(losses.values()) - min(losses.values()) <= 1e-6 * losses["off"]
    norms = {name for name in changes["off"] if ".norm" in name}
    for way in ("on", "lookups"):
        for names, within in ((changes["off"].keys() - norms, 1e-5), (norms, LAYER_NORM_WITHIN)):
            plain, own = ({name: changes[w][name] for name in names} for w in ("off", way))
            assert farthest(plain, own) <= within


@pytest.mark.parametrize("workload, model", [("pooled", "dlrm"), ("sequence", "sequence")])
def test_steps_on_generated_logs(synthetic: Any, settings: Settings, workload: str, model: str) -> None:
    changes = (*PLAIN, *SGD, SMALL, f"model.name={model}")
    check_steps_agree(synthetic(workload, 1500), settings(*changes), steps=10, within=1e-12)


@pytest.mark.parametrize(
    "optimizer, model", [("sgd", "dlrm"), ("adagrad", "sequence"), ("rowwise_adagrad", "sequence")]
)
def test_hundred_steps_with_each_sparse_optimizer(
    own_table: FoldedTable, settings: Settings, optimizer: str, model: str
) -> None:
    changes = (*PLAIN, *SGD, SMALL, f"model.name={model}", f"tables.optimizer={optimizer}", "train.batch_size=32")
    check_steps_agree(own_table, settings(*changes), steps=100, within=1e-12)


@pytest.mark.parametrize("model", ["dlrm", "sequence"])
def test_steps_on_ebnerd(ebnerd_slice: FoldedTable, settings: Settings, model: str) -> None:
    changes = (*PLAIN, *SGD, SMALL, f"model.name={model}", "train.batch_size=256")
    check_steps_agree(ebnerd_slice, settings(*changes), steps=8, within=1e-12)


@pytest.mark.parametrize("model", ["dlrm", "sequence"])
def test_steps_on_movielens(movielens: FoldedTable, settings: Settings, model: str) -> None:
    changes = (*PLAIN, *SGD, SMALL, f"model.name={model}", "train.batch_size=256", "train.order=time")
    check_steps_agree(movielens, settings(*changes), steps=8, within=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("model", ["dlrm", "sequence"])
def test_first_step_in_float32(synthetic: Any, settings: Settings, kernel: str, model: str) -> None:
    _need(kernel)
    changes = (f"tables.kernel={kernel}", f"model.name={model}", "train.batch_size=96")
    check_first_step_agrees(synthetic("sequence", 1500), settings(*changes))


@pytest.mark.parametrize("kernel", KERNELS)
def test_first_step_in_float32_on_ebnerd(ebnerd_slice: FoldedTable, settings: Settings, kernel: str) -> None:
    _need(kernel)
    changes = (f"tables.kernel={kernel}", "model.name=sequence", "train.batch_size=256")
    check_first_step_agrees(ebnerd_slice, settings(*changes))


@pytest.mark.parametrize("kernel", KERNELS)
def test_first_step_in_float32_on_movielens(movielens: FoldedTable, settings: Settings, kernel: str) -> None:
    _need(kernel)
    changes = (f"tables.kernel={kernel}", "model.name=sequence", "train.batch_size=256")
    check_first_step_agrees(movielens, settings(*changes))


def test_auc_after_an_epoch_is_the_same(synthetic: Any, settings: Settings, tmp_path: Any) -> None:
    table = synthetic("pooled", 6_000)
    found = {}
    for way in ("on", "off"):
        own = settings("train.batch_size=128", f"train.fold={way}", 'model.options={"bottom": [32], "top": [64]}')
        result = recfold.train(table, tmp_path / way, settings=own)
        assert result.evaluation is not None
        found[way] = result.evaluation.labels["click"].model.auc
    assert found["on"] > 0.55
    assert abs(found["on"] - found["off"]) <= 1e-3


class PlainTables(nn.Module):
    """The tables as anyone would write them in PyTorch: dense weights, autograd, one of torch's own optimizers."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.reads: Sequence[Read] = learner.assembled.reads
        state = learner.assembled.tables.state()
        names = {read.table for read in self.reads}
        self.rows = nn.ParameterDict({name: nn.Parameter(state[f"{name}.weight"].clone()) for name in names})

    def forward(self, bags: Mapping[str, Bags]) -> dict[str, Tensor]:
        return {read.feature: self._read(read, bags[read.feature]) for read in self.reads}

    def _read(self, read: Read, bags: Bags) -> Tensor:
        weight_RD = self.rows[read.table]
        if read.mode == "rows":
            return weight_RD[bags.values]
        return functional.embedding_bag(bags.values, weight_RD, bags.offsets[:-1], mode=read.mode)


def plain_run(learner: Learner, batches: list[Batch], optimizer: Callable[..., torch.optim.Optimizer]) -> PlainTables:
    """Train the learner's model, which changes in place, on expanded batches with plain tables."""
    tables = PlainTables(learner)
    assembled = dataclasses.replace(learner.assembled, tables=tables)
    sparse = optimizer(tables.parameters())
    dense = torch.optim.SGD(learner.model.parameters(), lr=0.1)
    for batch in batches:
        plain = batch.expand()
        loss = weighted_loss(learner.model(assembled.inputs(plain)), plain, learner.label_weights_L)
        for each in (sparse, dense):
            each.zero_grad()
        loss.backward()
        for each in (sparse, dense):
            each.step()
    return tables


PLAIN_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.05, eps=1e-8),
}


@pytest.mark.parametrize("kernel, steps, within", [("torch", 50, 1e-12), ("fbgemm", 5, 1e-4)])
@pytest.mark.parametrize("optimizer, model", [("sgd", "dlrm"), ("adagrad", "sequence")])
def test_table_read_by_three_groups_trains_as_in_plain_pytorch(
    own_table: FoldedTable, settings: Settings, kernel: str, steps: int, within: float, optimizer: str, model: str
) -> None:
    """A growing history, an item dictionary and the candidate of each sample read one table."""
    _need(kernel)
    dtype = "float64" if kernel == "torch" else "float32"
    changes = (f"train.dtype={dtype}", f"tables.kernel={kernel}", f"tables.optimizer={optimizer}")
    own = settings(*changes, "tables.learning_rate=0.05", *SGD, SMALL, f"model.name={model}")
    folded, plain = learner_of(own_table, own, "on"), learner_of(own_table, own, "off")
    readers = {folded.assembled.groups[r.feature] for r in folded.assembled.reads if r.table == "item"}
    assert readers == {"history", "candidate", "sample"}
    assert folded.assembled.tables.kernels()["item"] == kernel
    batches = batches_of(own_table, own, steps)
    tables = plain_run(plain, batches, PLAIN_OPTIMIZERS[optimizer])
    for batch in batches:
        folded.step(batch)
    plain_rows = {f"{name}.weight": rows.detach() for name, rows in tables.rows.items()}
    state = folded.assembled.tables.state()
    assert farthest(plain_rows, {name: state[name] for name in plain_rows}) <= within
    assert farthest(plain.model.state_dict(), folded.model.state_dict()) <= within


@pytest.mark.parametrize("kernel", KERNELS)
def test_item_of_a_history_and_the_candidate_is_one_update(
    own_table: FoldedTable, settings: Settings, kernel: str
) -> None:
    """Its row moves by the rule applied once to the summed gradient: row-wise AdaGrad applied twice would differ."""
    _need(kernel)
    changes = (f"tables.kernel={kernel}", "tables.learning_rate=1.0", SMALL, "model.name=sequence")
    check_first_step_agrees(own_table, settings(*changes))
    own = settings(*changes)
    batch = batches_of(own_table, own, 1)[0]
    learner = learner_of(own_table, own, "on")
    before = learner.assembled.tables.state()["item.weight"].clone()
    learner.step(batch)
    state = learner.assembled.tables.state()
    move_R = (state["item.weight"] - before).square().mean(1).sqrt()
    touched = state["item.sum"] > 1e-12
    assert int(touched.sum()) > 10
    # the first step of row-wise AdaGrad has root mean square = learning rate, whatever the gradient
    torch.testing.assert_close(move_R[touched], torch.ones_like(move_R[touched]), rtol=1e-2, atol=0)


def _need(kernel: str) -> None:
    if kernel == "fbgemm":
        pytest.importorskip("fbgemm_gpu", reason="the fbgemm kernel is not installed")
