"""Jobs of several ranks as a user starts them: a killed rank, bad input, ranks that differ."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recfold.checkpoint import load, saved_steps, step_path
from recfold.table import FoldedTable
from recfold.train import read_journal
from recfold.train.launch import launch

KILLS = int(os.environ.get("RECFOLD_KILLS", "50"))
SET = (
    "train.batch_size=32",
    "train.epochs=2",
    "train.checkpoint_every=5",
    "train.throughput_steps=0",
    "train.device=cpu",
    "reader.workers=0",
    "reader.block_samples=128",
    "model.options.top=[16]",
    "model.options.bottom=[8]",
    "model.options.dropout=0.2",
    "train.log_every=1",
)


@pytest.fixture(scope="module")
def folded(tables: Callable[..., FoldedTable], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tables(tmp_path_factory.mktemp("job") / "folded", units=300).path)


def start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "recfold", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train_arguments(folded: Path, out: Path, *changes: str) -> list[str]:
    sets = [part for change in (*SET, *changes) for part in ("--set", change)]
    return ["train", str(folded), "--out", str(out), "--nproc", "2", *sets]


def ranks_of(launcher: int) -> list[int]:
    """Processes that the launcher has started, oldest first."""
    return [int(pid) for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()]


def weights(run: Path) -> dict[str, Any]:
    state = load(step_path(run, saved_steps(run)[-1]))
    return {name: dict(state[name]) for name in ("model", "tables")}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the ranks under /proc")
def test_a_job_whose_rank_is_killed_goes_on_and_ends_with_the_weights_of_an_uninterrupted_one(
    folded: Path, tmp_path: Path
) -> None:
    straight = start(*train_arguments(folded, tmp_path / "straight"))
    assert straight.communicate(timeout=200)[1] is not None
    assert straight.returncode == 0
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    job = start(*train_arguments(folded, tmp_path / "killed"), TMPDIR=str(scratch))
    while not saved_steps(tmp_path / "killed"):
        assert job.poll() is None
        time.sleep(0.005)
    assert any(scratch.iterdir())
    os.kill(ranks_of(job.pid)[1], signal.SIGKILL)
    said = job.communicate(timeout=200)[1]
    assert job.returncode == 0, said
    assert "killed by signal 9; starting again from the last checkpoint (1 of 3 times)" in said
    assert "Traceback" not in said
    kept = ("pymp-", "torchinductor_")  # a killed rank's own; torch's cache of a user
    assert [path.name for path in scratch.iterdir() if not path.name.startswith(kept)] == []
    kinds = [record["kind"] for record in read_journal(tmp_path / "killed")]
    assert kinds.count("resume") == 1
    expected, found = weights(tmp_path / "straight"), weights(tmp_path / "killed")
    for part in expected:
        assert expected[part].keys() == found[part].keys()
        assert all(bool((expected[part][name] == found[part][name]).all()) for name in expected[part])


def test_ranks_share_the_cpus_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "1")
    monkeypatch.setattr("recfold.train.launch.num_cpus", lambda: 6)
    monkeypatch.setattr("recfold.train.launch._run_once", lambda arguments, nproc: (0, ""))
    assert launch([], nproc=2, restarts=0, on_restart=lambda arguments: arguments, say=print) == 0
    assert os.environ["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    "changes,line",
    [
        (["model.name=dlmr"], "unknown model 'dlmr'"),
        (["train.batch_sise=3"], "did you mean"),
        (["train.dense.options.lr=1e30", "train.dense.name=SGD", "train.clip_norm=null"], "the loss of step"),
    ],
)
def test_bad_input_is_one_line_of_one_rank_and_not_tried_again(
    folded: Path, tmp_path: Path, changes: list[str], line: str
) -> None:
    job = start(*train_arguments(folded, tmp_path / "bad", *changes))
    out, said = job.communicate(timeout=100)
    assert job.returncode == 1
    errors = [text for text in said.splitlines() if text.startswith("recfold:")]
    assert len(errors) == 1, said
    assert line in errors[0]
    assert "Traceback" not in said + out


def test_arguments_that_every_rank_refuses_are_one_line_under_torchrun(folded: Path, tmp_path: Path) -> None:
    arguments = [
        part for part in train_arguments(folded, tmp_path / "run", "train.batch_sise=3") if part not in ("--nproc", "2")
    ]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "recfold", *arguments]
    job = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=100)
    assert job.returncode == 1
    assert sum(line.startswith("recfold:") for line in job.stderr.splitlines()) == 1, job.stderr


def test_a_request_to_stop_ends_all_ranks_with_a_checkpoint(folded: Path, tmp_path: Path) -> None:
    job = start(*train_arguments(folded, tmp_path / "run", "train.epochs=500"))
    while not saved_steps(tmp_path / "run"):
        assert job.poll() is None
        time.sleep(0.005)
    job.send_signal(signal.SIGTERM)
    said = "".join(job.communicate(timeout=100))
    assert job.returncode == 130, said
    assert "interrupted after step" in said
    records = read_journal(tmp_path / "run")
    assert (records[-1]["kind"], records[-1]["reason"]) == ("end", "interrupted")
    assert saved_steps(tmp_path / "run")[-1] == records[-1]["step"]


def test_ranks_started_with_other_settings_do_not_start(
    folded: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    own = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    jobs = [
        start(*train_arguments(folded, tmp_path / "run", f"train.seed={rank}"), **own, RANK=str(rank))
        for rank in range(2)
    ]
    said = [job.communicate(timeout=100)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [1, 1]
    assert "rank 1 has another setting train.seed than rank 0; got 1; expected 0" in said[0]
    assert "recfold:" not in said[1]
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def free_port() -> Callable[[], int]:
    import socket

    def find() -> int:
        with socket.socket() as own:
            own.bind(("127.0.0.1", 0))
            return int(own.getsockname()[1])

    return find


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the ranks under /proc")
def test_a_job_goes_on_after_any_number_of_kills(folded: Path, tmp_path: Path) -> None:
    """A random rank is killed at a random moment, during steps and saves, again and again."""
    long = (f"train.epochs={max(KILLS // 2, 4)}", "train.checkpoint_every=3", "train.eval_every=never")
    straight = start(*train_arguments(folded, tmp_path / "straight", *long))
    straight.communicate(timeout=600)
    rng, run = random.Random(0), tmp_path / "killed"
    job = start(*train_arguments(folded, run, *long))
    killed = 0
    while killed < KILLS:
        steps = saved_steps(run)
        while job.poll() is None and saved_steps(run) == steps:
            time.sleep(0.01)
        time.sleep(rng.random() / 2)
        ranks = ranks_of(job.pid) if job.poll() is None else []
        if len(ranks) == 2:
            os.kill(rng.choice(ranks), signal.SIGKILL)
            killed += 1
        if job.poll() is not None:  # given up after the last restart
            said = job.communicate()[1]
            assert job.returncode != 0, f"the run has ended after {killed} kills: {said}"
            job = start(*train_arguments(folded, run, *long), "--resume")
    said = job.communicate(timeout=600)[1]
    if job.returncode != 0:
        said = start(*train_arguments(folded, run, *long), "--resume").communicate(timeout=600)[1]
    expected, found = weights(tmp_path / "straight"), weights(run)
    for part in expected:
        assert expected[part].keys() == found[part].keys()
        assert all(bool((expected[part][name] == found[part][name]).all()) for name in expected[part]), said
