"""What happens at the end of an epoch, at the end of a schedule, and to a run that never began."""

from pathlib import Path
from typing import Any

import pytest
import torch

from recfold.checkpoint import latest, load
from recfold.spec import InputError, Schema
from recfold.table import FoldedTable
from recfold.train import RunSettings, open_run, train
from recfold.train.effective import schema_on

Settings = Any


def dense_weights(run: Path) -> list[torch.Tensor]:
    found = latest(run)
    assert found is not None
    return list(load(found.path)["model"].values())


def test_what_is_accumulated_at_the_end_of_an_epoch_is_used(
    table: FoldedTable, settings: Settings, tmp_path: Path
) -> None:
    trained = [
        train(table, tmp_path / str(number), settings=settings("train.accumulate=1000", f"train.epochs={number}"))
        for number in (1, 2)
    ]
    first, second = (dense_weights(result.run) for result in trained)
    assert any(not torch.equal(a, b) for a, b in zip(first, second, strict=True))
    state = load(trained[0].checkpoint)["accumulated"]
    assert not state["sums"]


def test_a_step_limit_at_the_end_of_an_epoch_still_evaluates_it(
    table: FoldedTable, settings: Settings, tmp_path: Path
) -> None:
    steps = train(table, tmp_path / "whole", settings=settings("train.epochs=2")).steps
    limited = settings("train.epochs=9", f"train.max_steps={steps}", "train.stop.metric=auc", "train.stop.patience=9")
    result = train(table, tmp_path / "limited", settings=limited)
    assert (result.steps, result.epochs) == (steps, 2)


def test_a_schedule_that_ends_before_the_run_is_one_clear_line(
    table: FoldedTable, settings: Settings, tmp_path: Path
) -> None:
    short = settings("train.schedule.name=OneCycleLR", 'train.schedule.options={"max_lr": 0.1, "total_steps": 1}')
    with pytest.raises(InputError, match="the learning-rate schedule ends before the run"):
        train(table, tmp_path / "run", settings=short)
    assert not (tmp_path / "run").exists()


def test_ids_of_another_type_are_refused(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    train(table, tmp_path / "run", settings=settings("train.max_steps=1"))
    run = open_run(tmp_path / "run")
    name = next(name for name, feature in run.schema.features.items() if feature.is_id)
    data = run.schema.model_dump()
    data["features"][name]["type"] = "string"
    with pytest.raises(InputError, match=f"the ids of feature '{name}' are of another type"):
        schema_on(table.schema, Schema.model_validate(data))
    assert isinstance(run.settings, RunSettings)
