"""A run's model explained on a batch of its table: lookups counted from the batch, rows from the model."""

from collections.abc import Callable
from pathlib import Path

import pytest

from recfold.batch import explain
from recfold.model import MODELS
from recfold.spec import InputError
from recfold.table import FoldedTable
from recfold.train import RunSettings, explain_run, train
from recfold.train.effective import run_schema
from recfold.train.learner import Learner
from recfold.train.scores import reader_of


@pytest.fixture(scope="module")
def run(table: FoldedTable, settings: Callable[..., RunSettings], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explained") / "run"
    train(table, out, settings=settings("train.max_steps=2", "train.fold=off", model="din"))
    return out


def test_a_run_is_explained_folded_whatever_it_was_trained_with(run: Path, table: FoldedTable) -> None:
    found = explain_run(run)
    assert found.num_samples == 32
    assert found == explain_run(run, table, checkpoint="last")
    assert found.rows_used < found.rows_needed
    assert found.flops_used < found.flops_needed


def test_lookups_are_counted_in_lists_and_ids(
    run: Path, table: FoldedTable, settings: Callable[..., RunSettings]
) -> None:
    found = {lookup.feature: lookup for lookup in explain_run(run).lookups}
    own = settings(model="din")
    with reader_of(table, "train", run_schema(table.schema, None, own.tables), own, order="shuffle") as reader:
        batch = next(iter(reader))
    lists, plain = batch.groups["history"].lists, batch.expand().groups["history"].lists
    assert lists is not None
    assert plain is not None
    seen = found["seen"]
    assert (seen.lists_used, seen.lists_needed) == (lists.index.num_distinct, 32)
    assert (seen.ids_used, seen.ids_needed) == (len(lists.lists("seen")[0]), len(plain.bags("seen")[0]))
    assert seen.ids_used is not None
    assert seen.ids_needed is not None
    assert seen.ids_used < seen.ids_needed
    assert set(found) == {"tags", "seen", "action", "liked", "item", "place"}


def test_keys_of_target_attention_run_once_per_merged_position(run: Path) -> None:
    found = explain_run(run)
    seen = next(lookup for lookup in found.lookups if lookup.feature == "seen")
    keys = next(own for own in found.operations if own.module == "attention.of_history.key")
    assert (keys.rows_used, keys.rows_needed) == (seen.ids_used, seen.ids_needed)


@pytest.mark.parametrize("model", MODELS)
def test_no_model_needs_more_folded_than_unfolded(
    model: str, table: FoldedTable, settings: Callable[..., RunSettings]
) -> None:
    own = settings("train.batch_size=128", model=model)
    learner = Learner(run_schema(table.schema, None, own.tables), own)
    with reader_of(table, "train", run_schema(table.schema, None, own.tables), own, order="time") as reader:
        inputs = learner.assembled.inputs(next(iter(reader)))
    found, plain = explain(learner.model, inputs), explain(learner.model, inputs.unfold())
    assert plain.flops_used == plain.flops_needed
    assert found.flops_used < found.flops_needed or model == "dcn"  # whose parts are too narrow here to be split
    # what folded operations would have cost is what ordinary ones cost, but for what kernels and pooling do otherwise
    assert found.flops_needed == pytest.approx(plain.flops_needed, rel=0.02, abs=512)
    assert found.rows_needed >= found.rows_used


def test_wrong_runs_and_tables_are_said(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run"):
        explain_run(tmp_path)
    with pytest.raises(InputError, match="unknown checkpoint"):
        explain_run(run, checkpoint="first")
