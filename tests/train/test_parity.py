"""Fold on, lookups and off train the same model: one item table is read by a history, a bag and the candidate."""

from collections.abc import Callable
from itertools import islice, pairwise
from typing import Any

import pytest
import torch

from recfold.batch import Batch, Folded
from recfold.model import MODELS
from recfold.table import FoldedTable
from recfold.train import RunSettings
from recfold.train.effective import run_schema
from recfold.train.learner import Learner
from recfold.train.loss import weighted_loss
from recfold.train.scores import reader_of

WAYS = ("on", "lookups", "off")


def learners(table: FoldedTable, settings: Callable[..., RunSettings], model: str, *changes: str) -> dict[str, Learner]:
    made = {}
    for way in WAYS:
        own = settings(*changes, f"train.fold={way}", model=model)
        made[way] = Learner(run_schema(table.schema, None, own.tables), own)
    return made


def batches(table: FoldedTable, settings: RunSettings, count: int) -> list[Batch]:
    schema = run_schema(table.schema, None, settings.tables)
    found: list[Batch] = []
    with reader_of(table, "train", schema, settings, order="shuffle") as reader:
        while len(found) < count:
            found += islice(reader, count - len(found))
    return found


def worst(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Largest difference of two states, relative to the largest entry of each tensor."""
    assert a.keys() == b.keys()
    return max(
        float((a[name] - b[name]).abs().max() / a[name].abs().max().clamp(min=1e-300)) for name in a if a[name].numel()
    )


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        *((model, "rowwise_adagrad") for model in MODELS),
        ("dlrm", "sgd"),
        ("sequence", "sgd"),
        ("deepfm", "sgd"),
        ("dlrm", "adam"),
        ("sequence", "adam"),
    ],
)
def test_hundred_steps_agree_in_float64(
    table: FoldedTable, settings: Callable[..., RunSettings], model: str, optimizer: str
) -> None:
    changes = ("train.dtype=float64", f"tables.optimizer={optimizer}", "train.dense.name=SGD", "train.clip_norm=0.3")
    made = learners(table, settings, model, *changes)
    before = {name: tensor.clone() for name, tensor in made["on"].assembled.tables.state().items()}
    for batch in batches(table, settings(), 100):
        losses = [learner.step(batch).loss for learner in made.values()]
        assert max(losses) - min(losses) < 1e-12 * max(losses)
    for way in ("lookups", "off"):
        assert worst(made["on"].assembled.tables.state(), made[way].assembled.tables.state()) < 1e-12
        assert worst(dict(made["on"].model.state_dict()), dict(made[way].model.state_dict())) < 1e-12
    after = made["on"].assembled.tables.state()
    assert all(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("model", MODELS)
def test_first_step_agrees_in_float32(table: FoldedTable, settings: Callable[..., RunSettings], model: str) -> None:
    made = learners(table, settings, model, "train.batch_size=128")
    batch = batches(table, settings("train.batch_size=128"), 1)[0]
    gradients: dict[str, dict[str, torch.Tensor]] = {}
    losses = []
    for way, learner in made.items():
        learner.model.train()
        prepared = learner.prepared(batch)
        loss = weighted_loss(learner.logits(prepared), prepared, learner.label_weights_L)
        loss.backward()
        losses.append(float(loss.detach()))
        gradients[way] = {
            name: parameter.grad for name, parameter in learner.model.named_parameters() if parameter.grad is not None
        }
    assert max(losses) - min(losses) < 1e-6 * max(losses)
    for way in ("lookups", "off"):
        assert worst(gradients["on"], gradients[way]) < 1e-5
        assert worst(made["on"].assembled.tables.state(), made[way].assembled.tables.state()) < 1e-5


def test_off_expands_before_the_lookup_and_lookups_after_it(
    table: FoldedTable, settings: Callable[..., RunSettings]
) -> None:
    made = learners(table, settings, "dlrm")
    batch = batches(table, settings(), 1)[0]
    rows: dict[str, int] = {}
    for way, learner in made.items():
        prepared = learner.prepared(batch)
        inputs = learner.assembled.inputs(prepared)
        tags = inputs.pooled["tags"]
        assert isinstance(tags, Folded) == (way != "off")
        rows[way] = tags.num_distinct if isinstance(tags, Folded) else len(tags)
    assert rows["on"] == rows["lookups"] < rows["off"] == batch.num_samples


def test_windows_are_looked_up_once_per_merged_position(
    table: FoldedTable, settings: Callable[..., RunSettings]
) -> None:
    learner = learners(table, settings, "sequence")["on"]
    batch = batches(table, settings(), 1)[0]
    lists = batch.groups["history"].lists
    assert lists is not None
    inputs = learner.assembled.inputs(batch)
    seen, action = inputs.sequences["history"]["seen"], inputs.sequences["history"]["action"]
    assert len(seen.rows) == lists.bounds()[1] < int(lists.to_kjt().offsets[batch.num_samples])
    assert seen.start is action.start
    dwell = inputs.dense_sequences["history"]["dwell"]
    assert dwell.rows.shape == (len(seen.rows), 1)


def test_the_item_table_gets_one_update_from_all_its_reads(
    table: FoldedTable, settings: Callable[..., RunSettings]
) -> None:
    """The twin: gradients of every read by autograd through plain indexing, summed into one dense gradient."""
    own = settings("train.dtype=float64", "tables.optimizer=sgd", "tables.learning_rate=0.1", model="sequence")
    learner = Learner(run_schema(table.schema, None, own.tables), own)
    batch = batches(table, settings(), 1)[0]
    plain = batch.expand()
    weight_RD = learner.assembled.tables.state()["item.weight"].clone().requires_grad_()
    inputs = learner.assembled.inputs(plain)
    pooled, sequences = dict(inputs.pooled), {g: dict(features) for g, features in inputs.sequences.items()}

    def lists(group: str, feature: str) -> tuple[Any, Any]:
        part = plain.groups[group].lists
        assert part is not None
        values, offsets, _ = part.bags(feature)
        return values, offsets

    for group, feature in (("profile", "liked"), ("candidate", "item")):
        values, offsets = lists(group, feature)
        rows = [weight_RD[values[a:b]].sum(0) for a, b in pairwise(offsets)]
        pooled[feature] = torch.stack(rows)
    values, _ = lists("history", "seen")
    sequences["history"]["seen"] = sequences["history"]["seen"].with_rows(weight_RD[values])
    twin = type(inputs)(pooled, sequences, inputs.dense, inputs.dense_sequences, inputs.num_samples)
    weighted_loss(learner.model(twin), plain, learner.label_weights_L).backward()
    assert weight_RD.grad is not None
    expected = weight_RD.detach() - 0.1 * weight_RD.grad
    fresh = Learner(run_schema(table.schema, None, own.tables), own)
    fresh.step(batch)
    found = fresh.assembled.tables.state()["item.weight"]
    assert not torch.equal(found, weight_RD)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_evaluation_scores_agree(table: FoldedTable, settings: Callable[..., RunSettings]) -> None:
    made = learners(table, settings, "sequence", "train.dtype=float64")
    for batch in batches(table, settings(), 3):
        scores = [learner.score(batch) for learner in made.values()]
        for other in scores[1:]:
            torch.testing.assert_close(scores[0], other, rtol=1e-12, atol=1e-13)


def test_batches_of_two_epochs_differ_in_order(table: FoldedTable, settings: Callable[..., RunSettings]) -> None:
    found = batches(table, settings(), 30)
    first = found[0].keys["time"]
    repeats = [batch for batch in found[1:] if torch.equal(batch.keys["time"], first)]
    assert not repeats
