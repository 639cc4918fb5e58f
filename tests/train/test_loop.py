"""The loop: going on bit for bit, stopping, saving, and what is refused."""

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recfold.checkpoint import load, random_state, saved_steps, set_random_state, step_path
from recfold.spec import InputError
from recfold.table import FoldedTable
from recfold.train import RunSettings, evaluate, open_run, read_journal, train

TIMES = ("samples_per_s", "seconds", "settings", "total_steps")
HARD = (
    "train.epochs=3",
    "train.accumulate=3",
    "train.schedule.name=warmup_cosine",
    "train.schedule.options.warmup=3",
    'model.options={"bottom": [8], "top": [16], "dropout": 0.3, "encoder_dropout": 0.2}',
    "train.dense.name=AdamW",
    "train.clip_norm=0.5",
    "train.log_every=4",
    "train.stop.metric=auc",
    "train.stop.patience=9",
)
Settings = Callable[..., RunSettings]


class Killed(Exception):
    """Stands for a process that is killed."""


def at_step(step: int, act: Callable[[], None]) -> Any:
    """A progress callback that acts once, after a step of training."""

    def progress(what: str, done: int, total: int | None, **details: float) -> None:
        if what == "train" and done == step:
            act()

    return progress


def kill() -> None:
    raise Killed


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def without_times(run: Path, *kinds: str) -> list[dict[str, Any]]:
    records = [record for record in read_journal(run) if record["kind"] in kinds]
    return [{name: value for name, value in record.items() if name not in TIMES} for record in records]


def last_state(run: Path) -> dict[str, Any]:
    state = load(step_path(run, saved_steps(run)[-1]))
    del state["loop"]["journal_records"]  # a resumed journal also says that it was resumed
    return state


@pytest.mark.parametrize("stop_after", [1, 7, 13, 14, 20], ids=lambda step: f"step{step}")
def test_a_run_interrupted_anywhere_goes_on_bit_for_bit(
    table: FoldedTable,
    settings: Settings,
    differences: Callable[[Any, Any], list[str]],
    tmp_path: Path,
    stop_after: int,
    straight: Path,
) -> None:
    own = settings(*HARD, model="sequence")
    run = tmp_path / "run"
    result = train(table, run, settings=own, progress=at_step(stop_after, interrupt))
    assert result.ended == "interrupted"
    assert result.steps == stop_after
    assert f"recfold train {table.path} --out {run} --resume" in result.message
    assert result.evaluation is None
    torch.manual_seed(99)  # what the process drew meanwhile does not matter
    resumed = train(table, run, resume=True)
    assert resumed.ended == "finished"
    assert differences(last_state(run), last_state(straight)) == []
    for kinds in ("step", "evaluation"):
        assert without_times(run, kinds) == without_times(straight, kinds)
    assert resumed.evaluation == evaluate(straight, table)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "rowwise_adagrad", "adam"])
def test_every_sparse_optimizer_goes_on_bit_for_bit(
    table: FoldedTable,
    settings: Settings,
    differences: Callable[[Any, Any], list[str]],
    tmp_path: Path,
    optimizer: str,
) -> None:
    own = settings("train.max_steps=9", f"tables.optimizer={optimizer}", "tables.weight_decay=0.01")
    train(table, tmp_path / "straight", settings=own)
    assert train(table, tmp_path / "cut", settings=own, progress=at_step(5, interrupt)).steps == 5
    kept = load(step_path(tmp_path / "cut", 5))["tables"]
    if optimizer == "adam":
        assert int(kept["item.step"]) == 5
    train(table, tmp_path / "cut", resume=True)
    assert differences(last_state(tmp_path / "cut"), last_state(tmp_path / "straight")) == []


@pytest.fixture(scope="module")
def straight(table: FoldedTable, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hard run without interruption: 13 batches an epoch."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("straight") / "run"
    assert train(table, run, settings=settings(*HARD, model="sequence")).steps == 39
    return run


def test_a_killed_run_goes_on_from_its_last_checkpoint_and_repeats_no_record(
    table: FoldedTable, settings: Settings, differences: Callable[[Any, Any], list[str]], tmp_path: Path
) -> None:
    changes = ("train.epochs=2", "train.checkpoint_every=5", "train.accumulate=2", "train.keep=3", "tables.kernel=auto")
    train(table, tmp_path / "straight", settings=settings(*changes))
    run = tmp_path / "run"
    with pytest.raises(Killed):
        train(table, run, settings=settings(*changes), progress=at_step(18, kill))
    assert saved_steps(run) == [5, 10, 15]
    assert [r["step"] for r in read_journal(run) if r["kind"] == "step"][-1] == 17
    train(table, run, resume=True)
    assert [r["step"] for r in read_journal(run) if r["kind"] == "step"] == list(range(1, 27))
    assert without_times(run, "step", "evaluation") == without_times(tmp_path / "straight", "step", "evaluation")
    assert differences(last_state(run), last_state(tmp_path / "straight")) == []


def test_a_damaged_checkpoint_is_passed_over_and_the_journal_says_so(
    table: FoldedTable, settings: Settings, differences: Callable[[Any, Any], list[str]], tmp_path: Path
) -> None:
    train(table, tmp_path / "straight", settings=settings("train.epochs=2"))
    run = tmp_path / "run"
    train(table, run, settings=settings("train.epochs=2", "train.checkpoint_every=10"), progress=at_step(22, terminate))
    assert saved_steps(run) == [20, 22]
    damaged = step_path(run, 22) / "tables.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    train(table, run, resume=True)
    events = [record["message"] for record in read_journal(run) if record["kind"] == "event"]
    assert any("passed over" in message and "step-00000022/tables.safetensors" in message for message in events)
    assert differences(last_state(run), last_state(tmp_path / "straight")) == []


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    table: FoldedTable, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        train(table, tmp_path / "run", settings=settings(), progress=at_step(3, kill))
    train(table, tmp_path / "run", resume=True)
    train(table, tmp_path / "straight", settings=settings())
    assert without_times(tmp_path / "run", "step") == without_times(tmp_path / "straight", "step")


def test_more_epochs_than_before_go_on_as_if_asked_for_at_once(
    table: FoldedTable, settings: Settings, differences: Callable[[Any, Any], list[str]], tmp_path: Path
) -> None:
    train(table, tmp_path / "at once", settings=settings("train.epochs=2"))
    train(table, tmp_path / "later", settings=settings("train.epochs=1"))
    result = train(table, tmp_path / "later", settings=settings("train.epochs=2"), resume=True)
    assert result.steps == 26
    assert differences(last_state(tmp_path / "later"), last_state(tmp_path / "at once")) == []
    assert without_times(tmp_path / "later", "evaluation") == without_times(tmp_path / "at once", "evaluation")
    assert open_run(tmp_path / "later").settings.train.epochs == 2


def test_max_steps_stops_and_can_be_raised(
    table: FoldedTable, settings: Settings, differences: Callable[[Any, Any], list[str]], tmp_path: Path
) -> None:
    assert train(table, tmp_path / "a", settings=settings("train.max_steps=4")).steps == 4
    assert train(table, tmp_path / "a", settings=settings("train.max_steps=9"), resume=True).steps == 9
    train(table, tmp_path / "b", settings=settings("train.max_steps=9"))
    assert differences(last_state(tmp_path / "a"), last_state(tmp_path / "b")) == []


def test_resuming_a_finished_run_changes_nothing(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    first = train(table, tmp_path, settings=settings())
    again = train(table, tmp_path, resume=True)
    assert (again.steps, again.loss, again.evaluation) == (first.steps, first.loss, first.evaluation)


def test_a_directory_that_exists_is_refused(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    train(table, tmp_path / "run", settings=settings("train.max_steps=1"))
    with pytest.raises(InputError, match=r"run exists already; give --resume to go on with it, or another directory"):
        train(table, tmp_path / "run", settings=settings())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("precious")
    with pytest.raises(InputError, match=r"other exists already; give another directory"):
        train(table, tmp_path / "other", settings=settings())


def test_resuming_with_other_settings_lists_them(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    train(table, tmp_path, settings=settings("train.max_steps=2"))
    changed = settings("train.max_steps=1", "train.batch_size=64", "train.dense.options.lr=0.5")
    with pytest.raises(InputError) as caught:
        train(table, tmp_path, settings=changed, resume=True)
    message = str(caught.value)
    assert "train.batch_size was 32 and is 64" in message
    assert "train.dense.options.lr was 0.001 and is 0.5" in message
    assert "train.max_steps was 2 and is 1" in message


def test_resuming_on_another_table_is_refused(
    table: FoldedTable, tables: Callable[..., FoldedTable], settings: Settings, tmp_path: Path
) -> None:
    train(table, tmp_path / "run", settings=settings("train.max_steps=1"))
    other = tables(tmp_path / "other", seed=5)
    with pytest.raises(InputError, match="was trained on another table"):
        train(other, tmp_path / "run", resume=True)


def test_resuming_what_is_no_run_is_refused(table: FoldedTable, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run"):
        train(table, tmp_path / "nothing", resume=True)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    "change",
    [
        "model.name=dlmr",
        "train.dense.name=Adm",
        "train.dense.options.learning=1",
        "train.schedule.name=cosin",
        "train.device=cuda:99",
        "train.stop.label=clik",
        "tables.kernel=fbgemm",
    ],
)
def test_wrong_settings_leave_nothing_behind(
    table: FoldedTable, settings: Settings, tmp_path: Path, change: str
) -> None:
    with pytest.raises(InputError):
        train(table, tmp_path / "run", settings=settings("train.dtype=float64", change))
    assert not (tmp_path / "run").exists()


def test_early_stopping_stops_and_the_best_is_evaluated(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    changes = ("train.epochs=9", "train.eval_every=4", "train.stop.metric=logloss", "train.stop.patience=2")
    # a rate that grows the loss: the first evaluation stays the best
    result = train(table, tmp_path, settings=settings(*changes, "train.dense.options.lr=0.3", "tables.learning_rate=2"))
    assert result.ended == "early stopping"
    assert result.checkpoint == step_path(tmp_path, result.steps)
    assert result.steps < 9 * 13
    losses = [
        (record["labels"]["click"]["logloss"], record["step"])
        for record in read_journal(tmp_path)
        if record["kind"] == "evaluation"
    ]
    best = min(losses)[1]
    assert result.steps == best + 2 * 4
    assert best in saved_steps(tmp_path)
    assert result.evaluation is not None
    assert result.evaluation.step == best
    assert result.evaluation.labels["click"].model.logloss == min(losses)[0]
    assert evaluate(tmp_path, table, checkpoint="last").step == result.steps
    assert evaluate(tmp_path, table).step == best
    assert f"the best was step {best}" in result.message


def test_early_stopping_goes_on_counting_after_an_interruption(
    table: FoldedTable, settings: Settings, tmp_path: Path
) -> None:
    worse = ("train.stop.metric=logloss", "train.dense.options.lr=0.3", "tables.learning_rate=2")
    own = settings("train.epochs=9", "train.eval_every=4", "train.stop.patience=3", *worse)
    whole = train(table, tmp_path / "whole", settings=own)
    assert whole.ended == "early stopping"
    assert train(table, tmp_path / "run", settings=own, progress=at_step(whole.steps - 5, interrupt)).evaluation is None
    resumed = train(table, tmp_path / "run", resume=True)
    assert (resumed.ended, resumed.steps, resumed.evaluation) == ("early stopping", whole.steps, whole.evaluation)
    assert train(table, tmp_path / "run", resume=True).steps == whole.steps


def test_a_loss_that_is_not_finite_stops_before_any_update(
    tables: Callable[..., FoldedTable], settings: Settings, tmp_path: Path
) -> None:
    def spoil(row: dict[str, Any]) -> None:
        if row["first_time"] == spoiled["time"]:
            row["feature.price"] = [float("inf")] * row["n"]

    times: list[int] = []
    tables(tmp_path / "clean", edit=lambda row: times.append(row["first_time"]))
    spoiled = {"time": sorted(time for time in times if time < 1_000_000)[45]}
    table = tables(tmp_path / "table", edit=spoil)
    run = tmp_path / "run"
    with pytest.raises(InputError) as caught:
        train(table, run, settings=settings("train.checkpoint_every=1", "train.order=time", "train.keep=99"))
    message = str(caught.value)
    step = saved_steps(run)[-1] + 1
    assert step > 1
    assert f"the loss of step {step} (epoch 0) is" in message
    assert "values of feature 'price' in the batch that are not finite" in message
    assert str(run / "offending-batch") in message
    load(step_path(run, step - 1))
    kept = json.loads((run / "offending-batch" / "batch.json").read_text())
    assert kept["step"] == step
    assert (run / "offending-batch" / "batch.safetensors").exists()
    assert any(record["kind"] == "event" for record in read_journal(run))


def test_the_callers_generators_and_threads_are_left_as_they_were(
    table: FoldedTable, settings: Settings, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    train(table, tmp_path, settings=settings("train.threads=2", "train.max_steps=2"))
    assert torch.equal(torch.rand(4), expected)
    assert torch.get_num_threads() == 1


def test_signals_are_handled_as_before_afterwards(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train(table, tmp_path, settings=settings("train.max_steps=1"))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_second_ctrl_c_ends_at_once(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        train(table, tmp_path, settings=settings(), progress=at_step(2, twice))


def test_progress_tells_loss_speed_and_time_left(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None, dict[str, float]]] = []
    train(table, tmp_path, settings=settings(), progress=lambda *call, **details: told.append((*call, details)))
    steps = [call for call in told if call[0] == "train"]
    assert [call[1] for call in steps] == list(range(1, 14))
    assert {call[2] for call in steps} == {13}
    assert all(call[3].keys() == {"epoch", "loss", "samples_per_s", "seconds_left"} for call in steps)
    assert steps[-1][3]["seconds_left"] == 0
    assert told[-1][:3] == ("score validation", 129, 129)


def test_the_journal_counts_samples_and_averages_losses(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    train(table, tmp_path / "each", settings=settings("train.epochs=2"))
    train(table, tmp_path / "some", settings=settings("train.epochs=2", "train.log_every=13"))
    each, some = (without_times(tmp_path / name, "step") for name in ("each", "some"))
    total = sum(rows.num_rows for rows in table.expand("train"))
    assert [record["samples"] for record in some] == [total, 2 * total]
    assert [record["epoch"] for record in some] == [0, 1]
    # batches weigh nearly the same, so the mean of their losses is near the weighted mean
    assert some[0]["loss"] == pytest.approx(sum(record["loss"] for record in each[:13]) / 13, rel=0.02)
    assert some[1]["loss"] < some[0]["loss"]
    assert all(record["grad_norm"] > 0 and record["rows_touched"] > 0 and record["lr"] == 1e-3 for record in each)


def test_reader_workers_train_the_same(
    table: FoldedTable, settings: Settings, differences: Callable[[Any, Any], list[str]], tmp_path: Path
) -> None:
    train(table, tmp_path / "a", settings=settings("train.eval_every=never"))
    train(table, tmp_path / "b", settings=settings("train.eval_every=never", "reader.workers=1"))
    assert differences(last_state(tmp_path / "a"), last_state(tmp_path / "b")) == []


def test_every_generator_starts_from_the_seed(table: FoldedTable, settings: Settings, tmp_path: Path) -> None:
    """What was drawn in the process before is in no file of a checkpoint."""
    before = random_state()
    for name in ("a", "b"):
        train(table, tmp_path / name, settings=settings("train.max_steps=2"))
        random.random()
        np.random.random()  # noqa: NPY002  the process-wide generator
        torch.rand(1)
    files = {path.relative_to(tmp_path / "a"): path.read_bytes() for path in (tmp_path / "a").rglob("*.safetensors")}
    assert any("random" in path.name for path in files)
    assert files == {path: (tmp_path / "b" / path).read_bytes() for path in files}
    set_random_state(before)
