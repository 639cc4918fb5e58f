"""A step: what it updates, that every setting changes it, and what it refuses."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import torch

from recfold.batch import Batch
from recfold.spec import InputError, Schema
from recfold.table import FoldedTable
from recfold.train import RunSettings
from recfold.train.effective import run_schema
from recfold.train.learner import Learner, LossNotFinite, resolve_device
from recfold.train.scores import reader_of

Settings = Callable[..., RunSettings]


def schema_of(table: FoldedTable, settings: RunSettings) -> Schema:
    return run_schema(table.schema, None, settings.tables)


def batches(table: FoldedTable, settings: RunSettings, count: int) -> list[Batch]:
    with reader_of(table, "train", schema_of(table, settings), settings, order="time") as reader:
        return list(islice(reader, count))


def trained(table: FoldedTable, settings: RunSettings, count: int = 6) -> dict[str, Any]:
    torch.manual_seed(0)
    learner = Learner(schema_of(table, settings), settings, updates=count)
    for batch in batches(table, settings, count):
        learner.step(batch)
    return {"model": learner.state_dict()["model"], "tables": learner.assembled.tables.state()}


@pytest.mark.parametrize(
    "change",
    [
        "train.seed=1",
        "train.clip_norm=0.01",
        "train.accumulate=2",
        "train.dense.name=SGD",
        "train.dense.options.lr=0.01",
        "train.dense.options.weight_decay=0.5",
        'train.schedule={"name": "warmup_cosine", "options": {"warmup": 3}}',
        'train.schedule={"name": "StepLR", "options": {"step_size": 1}}',
        "tables.optimizer=sgd",
        "tables.optimizer=adagrad",
        "tables.optimizer=adam",
        "tables.learning_rate=0.5",
        "tables.eps=0.1",
        "tables.weight_decay=0.3",
        "tables.dim=12",
        "model.options.dropout=0.5",
        "model.options.top=[24]",
        "train.dtype=float64",
    ],
)
def test_every_setting_changes_what_is_trained(
    table: FoldedTable, settings: Settings, differences: Callable[[Any, Any], list[str]], change: str
) -> None:
    before, after = trained(table, settings()), trained(table, settings(change))
    assert [line for line in shapes_or_differences(before, after, differences) if line]
    assert differences(before, trained(table, settings())) == []


@pytest.mark.parametrize(
    "change", ["tables.beta1=0.5", "tables.beta2=0.5", "tables.eps=0.1", "tables.weight_decay=0.3"]
)
def test_every_option_of_adam_changes_what_is_trained(
    table: FoldedTable, settings: Settings, differences: Callable[[Any, Any], list[str]], change: str
) -> None:
    adam = "tables.optimizer=adam"
    assert differences(trained(table, settings(adam)), trained(table, settings(adam, change)))


def shapes_or_differences(a: Any, b: Any, differences: Callable[[Any, Any], list[str]]) -> list[str]:
    def shape(state: Any) -> list[tuple[Any, ...]]:
        return [(name, *tensor.shape, tensor.dtype) for part in state.values() for name, tensor in part.items()]

    return ["shapes"] if shape(a) != shape(b) else differences(a, b)


def test_the_history_model_has_its_own_options(
    table: FoldedTable, settings: Settings, differences: Callable[[Any, Any], list[str]]
) -> None:
    plain = trained(table, settings(model="sequence"))
    assert differences(plain, trained(table, settings("model.options.encoder_dropout=0.4", model="sequence")))


def test_table_dims_of_the_schema_stay_where_none_is_set(table: FoldedTable, settings: Settings) -> None:
    tables = trained(table, settings(), 1)["tables"]
    assert tables["place.weight"].shape == (8, 4)
    assert tables["item.weight"].shape == (16, 8)
    assert trained(table, settings("tables.dim=12"), 1)["tables"]["place.weight"].shape == (8, 12)


def test_accumulated_batches_are_one_batch_to_the_dense_part(table: FoldedTable, settings: Settings) -> None:
    """Tables hardly move here, so that both see the same embeddings."""
    small = ("tables.learning_rate=1e-12", "train.dtype=float64", "train.dense.name=SGD", "train.dense.options.lr=0.1")
    halves = settings(*small, "train.batch_size=20", "train.accumulate=3")
    parts = batches(table, halves, 3)
    assert len({float(batch.weight.sum()) for batch in parts if batch.weight is not None}) > 1
    learner = Learner(schema_of(table, halves), halves)
    norms = [learner.step(batch, measure=True).grad_norm for batch in parts]
    whole = Learner(schema_of(table, halves), settings(*small))
    step = whole.step(Batch.concat(parts), measure=True)
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(learner.model.state_dict()[name], weight, rtol=1e-9, atol=1e-12)
    assert norms[:2] == [None, None]
    assert norms[2] == pytest.approx(step.grad_norm, rel=1e-9)


def test_tables_are_updated_at_every_batch_while_the_dense_part_waits(table: FoldedTable, settings: Settings) -> None:
    own = settings("train.accumulate=2")
    learner = Learner(schema_of(table, own), own)
    dense = {name: weight.clone() for name, weight in learner.model.state_dict().items()}
    sparse = learner.assembled.tables.state()["item.weight"].clone()
    first, second = batches(table, own, 2)
    learner.step(first)
    assert all(torch.equal(dense[name], weight) for name, weight in learner.model.state_dict().items())
    assert not torch.equal(sparse, learner.assembled.tables.state()["item.weight"])
    learner.step(second)
    assert any(not torch.equal(dense[name], weight) for name, weight in learner.model.state_dict().items())


def test_a_schedule_steps_once_per_dense_update(table: FoldedTable, settings: Settings) -> None:
    own = settings("train.accumulate=2", 'train.schedule={"name": "StepLR", "options": {"step_size": 1, "gamma": 0.5}}')
    learner = Learner(schema_of(table, own), own)
    rates = [learner.step(batch).learning_rate for batch in batches(table, own, 5)]
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4])


def test_clipping_bounds_the_norm_and_reports_it_before(table: FoldedTable, settings: Settings) -> None:
    own = settings("train.clip_norm=0.001", "train.dense.name=SGD", "train.dense.options.lr=1.0")
    learner = Learner(schema_of(table, own), own)
    before = {name: weight.clone() for name, weight in learner.model.state_dict().items()}
    step = learner.step(batches(table, own, 1)[0])
    moved = sum(float((weight - before[name]).square().sum()) for name, weight in learner.model.state_dict().items())
    assert moved**0.5 == pytest.approx(0.001, rel=1e-3)
    assert step.grad_norm is not None
    assert step.grad_norm > 0.001


def test_weights_of_samples_and_labels_matter(table: FoldedTable, settings: Settings) -> None:
    own = settings("train.dtype=float64")
    batch = batches(table, own, 1)[0]
    schema = schema_of(table, own)
    losses = {}
    for name, changed in {"as it is": batch, "unweighted": replace(batch, weight=None)}.items():
        losses[name] = Learner(schema, own).step(changed).loss
    heavier = {name: label.model_copy(update={"weight": 2.0}) for name, label in schema.labels.items()}
    losses["label weights"] = Learner(schema.model_copy(update={"labels": heavier}), own).step(batch).loss
    assert len(set(losses.values())) == 3


def test_a_loss_that_is_not_finite_updates_nothing_and_names_the_feature(
    table: FoldedTable, settings: Settings, differences: Callable[[Any, Any], list[str]]
) -> None:
    own = settings()
    learner, batch = Learner(schema_of(table, own), own), batches(table, own, 1)[0]
    before = {name: tensor.clone() for name, tensor in learner.assembled.tables.state().items()}
    batch.groups["sample"].dense_of("price")[3] = float("nan")
    with pytest.raises(LossNotFinite, match="the loss is nan; got 1 values of feature 'price' in the batch"):
        learner.step(batch)
    assert differences(before, learner.assembled.tables.state()) == []
    assert learner.optimizer.state_dict()["state"] == {}


def test_weights_that_diverged_are_told_from_bad_inputs(table: FoldedTable, settings: Settings) -> None:
    own = settings()
    learner, batch = Learner(schema_of(table, own), own), batches(table, own, 1)[0]
    with torch.no_grad():
        next(iter(learner.model.parameters())).fill_(float("nan"))
    with pytest.raises(LossNotFinite, match="finite inputs, so the weights diverged"):
        learner.step(batch)


def test_a_checkpoint_of_another_model_is_one_clear_line(table: FoldedTable, settings: Settings) -> None:
    own, other = settings(), settings("model.options.top=[24]")
    state = Learner(schema_of(table, own), own).state_dict()
    with pytest.raises(InputError, match="the checkpoint belongs to another model; got size mismatch"):
        Learner(schema_of(table, other), other).load_state_dict(state)


def test_scoring_draws_and_changes_nothing(table: FoldedTable, settings: Settings) -> None:
    own = settings("model.options.dropout=0.5")
    learner, batch = Learner(schema_of(table, own), own), batches(table, own, 1)[0]
    before = learner.assembled.tables.state()["item.weight"].clone()
    first = learner.score(batch)
    assert torch.equal(first, learner.score(batch))
    assert not first.requires_grad
    assert torch.equal(before, learner.assembled.tables.state()["item.weight"])


def test_rows_touched_counts_each_row_of_a_table_once(table: FoldedTable, settings: Settings) -> None:
    own = settings(model="sequence")
    learner, batch = Learner(schema_of(table, own), own), batches(table, own, 1)[0]
    before = {name: tensor.clone() for name, tensor in learner.assembled.tables.state().items()}
    learner.step(batch)
    after = learner.assembled.tables.state()
    changed = sum(int((before[name] != after[name]).any(1).sum()) for name in before if name.endswith(".weight"))
    assert 0 < changed <= learner.assembled.rows_touched(batch)


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "cpux"])
def test_a_device_that_is_not_there_is_one_clear_line(name: str) -> None:
    with pytest.raises(InputError, match=f"cannot use device '{name}'.*train.device=cpu"):
        resolve_device(name)


def test_auto_is_a_gpu_where_there_is_one() -> None:
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
