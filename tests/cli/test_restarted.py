"""What ranks do that torchrun has started again: go on with a run of their job, and refuse any other."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from recfold.cli import ranks
from recfold.train import read_journal
from recfold.train.job import is_started_here, launcher

SMALL = ["--set=train.throughput_steps=0", "--set=reader.workers=0", "--set=tables.dim=4", "--set=train.max_steps=1"]


def be_started_by(monkeypatch: pytest.MonkeyPatch, logs: Path, restarts: int) -> None:
    """Have the environment that torchrun without a run id gives to its only rank."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(restarts))
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(logs / f"attempt_{restarts}" / "0" / "error.json"))


def test_a_restart_goes_on_with_the_run_of_its_job_and_with_no_other(
    cli: Any, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, arguments = tmp_path / "run", ["train", made / "folded", "--out", tmp_path / "run", *SMALL]
    be_started_by(monkeypatch, tmp_path / "one", 0)
    assert cli(*arguments).code == 0
    assert "exists already" in cli(*arguments).err
    be_started_by(monkeypatch, tmp_path / "one", 1)
    assert cli(*arguments).code == 0
    be_started_by(monkeypatch, tmp_path / "another", 1)
    ran = cli(*arguments)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "exists already" in ran.err
    assert [own["kind"] for own in read_journal(run)].count("resume") == 1


def test_a_run_that_no_torchrun_started_is_not_gone_on_with(
    cli: Any, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert launcher() is None
    shutil.copytree(made / "run", tmp_path / "run")
    be_started_by(monkeypatch, tmp_path / "one", 2)
    assert not is_started_here(tmp_path / "run")
    assert "exists already" in cli("train", made / "folded", "--out", tmp_path / "run").err


@pytest.mark.parametrize("was_there", [True, False])
def test_ranks_that_are_started_again_resume_only_what_they_began(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was_there: bool
) -> None:
    run, started_with = tmp_path / "run", []

    def launch(arguments: list[str], **options: Any) -> int:
        shutil.copytree(made / "run", run, dirs_exist_ok=True)
        started_with.extend(options["on_restart"](["train"]))
        return 0

    if was_there:
        shutil.copytree(made / "run", run)
    monkeypatch.setattr("recfold.train.launch.launch", launch)
    with pytest.raises(ranks.typer.Exit):
        ranks.start_ranks(2, out=run)
    assert started_with == (["train"] if was_there else ["train", "--resume"])
